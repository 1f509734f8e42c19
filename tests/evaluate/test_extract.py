"""States read from frames, beside the simulator's own."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from tiny_models import make_spec, write_checkpoint

from worldsim.errors import EnvError
from worldsim.evaluate.physics.clip import imagine_clips, record_clip, record_from
from worldsim.evaluate.physics.extract import HIDDEN, MISSING, SEEN, extract, reference_pixels
from worldsim.evaluate.physics.table0 import CORRUPTIONS
from worldsim.model import load


@pytest.fixture(scope="module")
def lab():
    env = gym.make("worldsim/Lab-v0")
    yield env
    env.close()


@pytest.fixture(scope="module")
def clips(lab):
    names = ("projectile", "collision_2d", "occlusion")
    return {name: record_clip(lab, name, 200_001, num_context=8, horizon=32) for name in names}


def off(tracks, clip, k=0):
    """Return how far object k is read from its true place, pixels, (F,)."""
    return np.linalg.norm(tracks.px[:, k] - reference_pixels(clip, clip.objects[k]), axis=1)


def rms(values):
    return float(np.sqrt(np.nanmean(values**2)))


def test_balls_are_read_to_a_quarter_of_a_pixel(clips):
    for name in ("projectile", "collision_2d"):
        tracks = extract(clips[name].frames, clips[name])
        assert (tracks.status == SEEN).all()
        for k in range(len(tracks.names)):
            assert rms(off(tracks, clips[name], k)) < 0.25
            true = clips[name].state[tracks.names[k]][:, :3]
            assert rms(np.linalg.norm(tracks.world[:, k] - true, axis=1)) < 0.02


@pytest.mark.parametrize(("corruption", "bound"), [("noise 30", 0.4), ("blur", 0.3), ("JPEG 30", 0.6)])
def test_bad_pictures_cost_parts_of_a_pixel(clips, corruption, bound):
    clip = clips["collision_2d"]
    tracks = extract(CORRUPTIONS[corruption](clip.frames, np.random.default_rng(0)), clip)
    assert tracks.visible.all()
    assert max(rms(off(tracks, clip, k)) for k in range(2)) < bound
    assert tracks.ghosts.sum() == 0


def test_a_ball_behind_a_screen_is_hidden_and_nothing_is_filled_in(clips):
    clip = clips["occlusion"]
    tracks = extract(clip.frames, clip)
    covered = clip.mask("a").sum(axis=(1, 2)) == 0
    assert covered.sum() >= 3
    assert (tracks.status[covered, 0] == HIDDEN).all()
    assert np.isnan(tracks.px[covered]).all() and np.isnan(tracks.world[covered]).all()
    assert not (tracks.status == MISSING).any()
    partly = tracks.visible[:, 0] & (tracks.area[:, 0] < 0.85 * tracks.area[0, 0])
    assert partly.any()
    assert off(tracks, clip)[partly].max() < 0.8  # the centroid of what is left would be 2 pixels off


def test_an_object_that_vanishes_in_the_open_is_missing(clips):
    clip = clips["collision_2d"]
    frames = clip.frames.copy()
    empty = np.median(frames, axis=0).astype(np.uint8)
    gone = clip.mask("a")[20:]
    frames[20:] = np.where(gone[..., None], empty, frames[20:])
    tracks = extract(frames, clip)
    assert (tracks.status[20:, 0] == MISSING).all()
    assert (tracks.status[:, 1] == SEEN).all()


def test_nothing_of_the_truth_behind_the_context_is_read(clips):
    clip = clips["collision_2d"]
    state = {name: rows.copy() for name, rows in clip.state.items()}
    for rows in state.values():
        rows[clip.num_context :] = 7.0
    lie = replace(clip, state=state, fine={}, contacts=(), masks=None, mask_names=())
    a, b = extract(clip.frames, clip), extract(clip.frames, lie)
    assert np.array_equal(a.px, b.px, equal_nan=True) and np.array_equal(a.world, b.world, equal_nan=True)
    assert np.array_equal(a.status, b.status)


def test_boxes_that_turn_and_hide_each_other_are_read_to_a_pixel(lab):
    clip = record_clip(lab, "dominoes", 200_002, num_context=4, horizon=24)
    tracks = extract(clip.frames, clip)
    assert np.nanmax([rms(off(tracks, clip, k)) for k in range(len(tracks.names))]) < 1.0
    ramp = record_clip(lab, "ramp", 200_001, num_context=4, horizon=40)
    assert ramp.objects[0].shape == "box"
    assert rms(off(extract(ramp.frames, ramp), ramp)) < 0.25


def test_boxes_behind_boxes_keep_their_names(lab):
    clip = record_clip(lab, "stack", 200_001, num_context=4, horizon=12)
    tracks = extract(clip.frames, clip)
    assert tracks.visible.all() and not tracks.swapped.any() and tracks.ghosts.sum() == 0
    for k, name in enumerate(tracks.names):
        assert (tracks.labels[-1] == k + 1).sum() == pytest.approx(clip.mask(name)[-1].sum(), rel=0.1)


def test_a_clip_keeps_its_context_when_its_actions_change(lab, clips):
    clip = clips["projectile"]
    other = record_from(lab, clip, np.tile(np.eye(8, dtype=np.float32)[0], (12, 1)))
    assert np.array_equal(other.context, clip.context)
    assert not np.array_equal(other.future, clip.future[:12])
    assert len(other) == 20 and other.horizon == 12
    with pytest.raises(EnvError, match="time limit"):
        record_clip(lab, "projectile", 200_001, num_context=8, horizon=120)


def test_a_model_continues_clips_and_sees_their_contexts_only(tmp_path):
    spec = make_spec(
        action_shape=(8,), action_low=(-1.0,) * 8, action_high=(1.0,) * 8, action_spec=(), env_id="worldsim/Lab-v0"
    )
    model = load(str(write_checkpoint(tmp_path / "lab", spec)))
    env = gym.make("worldsim/Lab-v0", height=36, width=36)
    context = model.config.num_context
    clips = [record_clip(env, "rolling", 200_001, num_context=context, horizon=2)]
    env.close()
    blind = [replace(c, frames=np.concatenate([c.context, np.zeros_like(c.future)])) for c in clips]
    options = {"samples": (0, 1), "prompts": ["a clear day"], "sampler_steps": 2}
    frames = imagine_clips(model, clips, **options)
    assert frames.shape == (2, 1, 2, 36, 36, 3)
    assert np.array_equal(frames, imagine_clips(model, blind, **options))
    assert not np.array_equal(frames[0], frames[1])
    with pytest.raises(EnvError, match=f"num_context={context}"):
        imagine_clips(model, [replace(clips[0], num_context=context - 1)])


def test_what_cannot_be_read_is_refused(clips):
    clip = clips["projectile"]
    with pytest.raises(EnvError, match="uint8 frames"):
        extract(clip.frames[:5], clip)
    with pytest.raises(EnvError, match="no coloured bodies"):
        extract(clip.frames, replace(clip, bodies={}))
    lost = {name: np.full_like(rows, np.nan) for name, rows in clip.state.items()}
    with pytest.raises(EnvError, match="must be known"):
        extract(clip.frames, replace(clip, state=lost))
    with pytest.raises(EnvError, match="masks of"):
        clip.mask("nobody")
