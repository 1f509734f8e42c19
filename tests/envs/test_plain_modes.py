"""What a renderer draws from: one cheap picture per camera, before weather, light, lens and shadows."""

import gymnasium as gym
import numpy as np
import pytest
from worldsim_envs.city.sight import KINDS, LIGHT, class_id

from worldsim.errors import EnvError

PLAIN = ("plain", "depth", "kind", "light")
SIZE = 48
CAMERAS = ("front", "chase")
NOON = {"sun_height": 50.0, "cloud": 0.0, "rain": 0.0, "wetness": 0.0, "fog": 0.0, "change": "none"}


def _make(modes, cameras=CAMERAS, **kwargs):
    return gym.make("worldsim/City-v0", height=SIZE, width=SIZE, obs_modes=modes, cameras=cameras, **kwargs)


@pytest.fixture(scope="module")
def env():
    made = _make(("rgb", "semantic", *PLAIN))
    yield made
    made.close()


def test_plain_modes_lie_in_their_spaces_and_change_nothing_else(env):
    alone, frames = _make(PLAIN), _make(("rgb",))
    for made in (env, alone, frames):
        made.reset(seed=3)
    for _ in range(3):
        action = np.array([0.1, 0.5], np.float32)
        both, cheap, true = (made.step(action)[0] for made in (env, alone, frames))
        assert both in env.observation_space
        assert cheap in alone.observation_space
        assert all((cheap[key] == both[key]).all() for key in cheap)
        assert all((true[key] == both[key]).all() for key in true)
    alone.close()
    frames.close()


def test_plain_colours_are_those_of_the_surfaces_whatever_the_weather_and_the_light(env):
    seen = {}
    for name, changes in {"noon": {}, "night": {"sun_height": -20.0}, "wet": {"wetness": 1.0}}.items():
        seen[name], _ = env.reset(seed=5, options={"variation": {**NOON, **changes}})
    for camera in CAMERAS:
        assert (seen["noon"][f"plain/{camera}"] == seen["night"][f"plain/{camera}"]).all()
        assert (seen["noon"][f"plain/{camera}"] == seen["wet"][f"plain/{camera}"]).all()
        assert (seen["noon"][f"rgb/{camera}"] != seen["night"][f"rgb/{camera}"]).mean() > 0.9
    palette = {tuple(color) for color in env.unwrapped.scene_card["palette"].values()}
    obs = seen["noon"]
    road = obs["plain/front"][obs["semantic/front"] == class_id("road")]
    assert {tuple(color) for color in road.tolist()} <= palette


def test_kinds_agree_with_the_semantic_masks(env):
    assert env.unwrapped.scene_card["kinds"] == list(KINDS)
    seen = set()
    for seed in range(4):
        obs, _ = env.reset(seed=seed)
        for camera in CAMERAS:
            kind, semantic, depth = (obs[f"{mode}/{camera}"] for mode in ("kind", "semantic", "depth"))
            assert ((kind == KINDS.index("nothing")) == (depth == 160)).all()
            moving = kind == KINDS.index("vehicle")  # parked cars are in their block
            assert (semantic[moving] == class_id("vehicle")).all()
            assert ((kind == KINDS.index("pedestrian")) == (semantic == class_id("pedestrian"))).mean() > 0.99
            seen |= set(np.unique(kind).tolist())
        assert (obs["kind/chase"] == KINDS.index("vehicle")).any()  # the ego itself
    assert {KINDS.index(name) for name in ("nothing", "ground", "block", "vehicle", "traffic light")} <= seen


def test_the_numbers_of_the_light_say_the_weather_of_the_moment_and_where_the_light_comes_from(env):
    assert env.unwrapped.scene_card["light"] == list(LIGHT)
    variation = {**NOON, "sun_azimuth": 0.0, "change": "weather=rain", "change_step": 1, "change_length": 4}
    obs, info = env.reset(seed=6, options={"variation": variation})
    rain = []
    for _ in range(7):
        numbers = dict(zip(LIGHT, obs["light/front"].tolist(), strict=True))
        rain.append(numbers["rain"])
        toward = np.array([numbers[name] for name in ("sun_x", "sun_y", "sun_z")])
        world = info["camera"]["front"]["c2w"][:3, :3] @ toward
        assert np.linalg.norm(toward) == pytest.approx(1, abs=1e-5)
        assert world[1] == pytest.approx(0, abs=1e-5)  # azimuth 0: the light comes from +x, and from above
        assert world[0] > 0
        assert world[2] > 0
        obs, *_, info = env.step(np.zeros(2, np.float32))
    assert rain[0] == 0
    assert rain == sorted(rain)
    assert 0 < rain[3] < rain[-1] == pytest.approx(0.8)
    assert numbers["tan_half_fov"] == pytest.approx(1)
    assert [obs[f"light/{name}"][LIGHT.index("headlights")] for name in CAMERAS] == [1, 0]


def test_without_a_frame_the_plain_colours_are_rendered():
    env = _make(PLAIN, ("front",), render_mode="rgb_array")
    obs, _ = env.reset(seed=1)
    assert (env.render() == obs["plain/front"]).all()
    assert not np.shares_memory(env.render(), obs["plain/front"])
    env.close()


def test_only_worlds_that_offer_them_have_plain_modes():
    with pytest.raises(EnvError, match="obs_modes must be one or more of rgb, depth, semantic, instance, state,"):
        gym.make("worldsim/Lab-v0", obs_modes=("plain",))
