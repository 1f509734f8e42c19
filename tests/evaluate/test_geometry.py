"""Pixels and metres, and where a renderer's pixels are."""

import gymnasium as gym
import numpy as np
import pytest

from worldsim.evaluate.physics.clip import record_clip
from worldsim.evaluate.physics.geometry import (
    ball_to_pixel,
    ball_to_world,
    depth_of,
    outline_radius,
    pixel_middles,
    project,
    to_world,
)

K = np.array([[88.0, 0.0, 32.5], [0.0, 88.0, 31.5], [0.0, 0.0, 1.0]])


def camera(rng):
    """Return a pose a few metres from the origin that looks at it roughly."""
    eye = rng.normal(size=3) + np.array([0.0, -5.0, 2.0])
    ahead = -eye / np.linalg.norm(eye)
    right = np.cross(ahead, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    c2w = np.eye(4)
    c2w[:3, 0], c2w[:3, 1], c2w[:3, 2], c2w[:3, 3] = right, np.cross(ahead, right), ahead, eye
    return c2w


def test_a_place_in_a_plane_comes_back_from_its_pixel():
    rng = np.random.default_rng(0)
    for normal in ([0.0, 0.0, 1.0], [0.0, 1.0, 0.0]):
        c2w = camera(rng)
        point = np.array([0.1, 0.2, 0.3])
        places = rng.normal(size=(50, 3))
        places -= ((places - point) @ np.array(normal))[:, None] * np.array(normal)
        back = to_world(project(places, K, c2w), K, c2w, point, np.array(normal))
        assert np.abs(back - places).max() < 1e-9


def test_a_ray_that_leaves_the_plane_behind_meets_it_nowhere():
    c2w = camera(np.random.default_rng(1))
    above = project(c2w[:3, 3] + c2w[:3, 2] * 3 + np.array([0, 0, 9.0]), K, c2w)
    assert np.isnan(to_world(above, K, c2w, np.zeros(3), np.array([0.0, 0.0, 1.0]))).all()
    assert np.isnan(project(c2w[:3, 3] - c2w[:3, 2], K, c2w)).all()


def test_the_middle_of_a_ball_s_outline_is_that_of_its_ellipse():
    rng = np.random.default_rng(2)
    c2w, radius = camera(rng), 0.4
    centre = np.array([1.2, 0.3, 0.8])
    around = rng.normal(size=(200_000, 3))
    shell = centre + radius * around / np.linalg.norm(around, axis=1, keepdims=True)
    seen = project(shell, K, c2w)
    box = (seen.max(axis=0) + seen.min(axis=0)) / 2  # an ellipse's middle is that of its bounding box
    assert np.abs(ball_to_pixel(centre, radius, K, c2w) - box).max() < 0.01
    assert np.linalg.norm(project(centre, K, c2w) - box) > 0.05
    back = ball_to_world(box, radius, K, c2w, centre, np.array([0.0, 0.0, 1.0]))
    assert np.linalg.norm(back - centre) < 1e-3
    height = np.ptp(project(centre + radius * np.array([[0, 0, 1], [0, 0, -1.0]]), K, c2w)[:, 1])
    assert 2 * outline_radius(depth_of(centre, c2w), radius, K) == pytest.approx(height, rel=0.2)


@pytest.mark.parametrize("size", [64, 128])
def test_true_masks_lie_where_true_places_are_seen(size):
    """The convention of pixel middles, held against a renderer: half a pixel of error would show as 0.5 here."""
    env = gym.make("worldsim/Lab-v0", height=size, width=size)
    clip = record_clip(env, "projectile", 200_001, num_context=4, horizon=20)
    env.close()
    u, v = pixel_middles(size, size)
    mask = clip.mask("a")
    count = mask.sum(axis=(1, 2))
    seen = np.stack([(mask * u).sum(axis=(1, 2)), (mask * v).sum(axis=(1, 2))], axis=1) / count[:, None]
    true = ball_to_pixel(clip.state["a"][:, :3], clip.bodies["a"].radius, clip.K, clip.c2w)
    assert np.abs((seen - true).mean(axis=0)).max() < 0.1
    assert np.abs(seen - true).max() < 0.3
