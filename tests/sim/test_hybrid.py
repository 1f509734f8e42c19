"""A hybrid is its truth in everything but the frame, and the frame is the renderer's, bit for bit again."""

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from worldsim.errors import ActionError, CheckpointError, EnvError, PromptError
from worldsim.model import PLAIN_MODES, Renderer, RendererSpec, load_renderer, new_renderer, save_renderer
from worldsim.model import tiny_renderer as tiny
from worldsim.sim import HybridEnv, HybridSnapshot

SIZE = 32
SMALL = {"height": SIZE, "width": SIZE}
CAMERAS = ("front", "left", "right", "rear", "chase", "birds_eye")
ID, TRUTH = "worldsim/CityHybrid-v0", "worldsim/City-v0"


def _spec(**changes):
    values = {"env_id": TRUTH, "env_kwargs": SMALL, "height": SIZE, "width": SIZE, "num_kinds": 6, "num_light": 11}
    return RendererSpec(**{**values, "cameras": CAMERAS, **changes})


def _net(**changes):
    """An untrained network whose frames depend on everything: an exact copy of the plain colours would hide faults."""
    net = new_renderer(tiny(), _spec(**changes), seed=0)
    chance = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for layer in (net.head, net.modulate):
            layer.weight.normal_(std=0.05, generator=chance)
    return net


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("renderer") / "tiny"
    save_renderer(folder, _net(), metrics={}, meta={"env_fingerprint": ""})
    return str(folder)


@pytest.fixture(scope="module")
def pair(path):
    """A hybrid and the truth beside it, of two cameras and every mode."""
    seen = {"obs_modes": ("rgb", "depth", "semantic", "instance", "state"), "cameras": ("front", "birds_eye")}
    envs = gym.make(ID, model=path, lidar=True, **seen), gym.make(TRUTH, **SMALL, lidar=True, **seen)
    yield envs
    for env in envs:
        env.close()


@pytest.fixture
def env(path):
    made = gym.make(ID, model=path)
    yield made
    made.close()


def _actions(num, seed=0):
    return np.random.default_rng(seed).uniform(-0.4, 0.4, (num, 2)).astype(np.float32)


def _same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(np.all(one == other))


def test_a_hybrid_keeps_gymnasiums_rules(env):
    check_env(env.unwrapped)


def test_a_hybrid_has_the_spaces_of_its_truth(path, pair):
    assert pair[0].observation_space == pair[1].observation_space
    assert pair[0].action_space == pair[1].action_space
    one, other = gym.make(ID, model=path), gym.make(TRUTH, **SMALL)
    assert one.observation_space == other.observation_space
    assert one.unwrapped.horizon == other.spec.max_episode_steps
    one.close()
    other.close()


def test_everything_but_the_frame_is_the_truths_own(pair):
    hybrid, truth = pair
    variation = {"change": "weather=rain", "change_step": 3}
    (seen, told), (true, known) = (e.reset(seed=5, options={"variation": variation}) for e in pair)
    assert _same(told, known)
    for action in _actions(12):
        (seen, *rest), (true, *known) = hybrid.step(action), truth.step(action)
        assert _same(rest, known)  # reward, ends, info: state, events, camera, caption, costs
        for key in true:
            assert _same(seen[key], true[key]) != key.startswith("rgb")
    assert all(seen[key].dtype == true[key].dtype and seen[key].shape == true[key].shape for key in true)


def test_a_collision_ends_both_at_the_same_step(path):
    ends = []
    for made in (gym.make(ID, model=path), gym.make(TRUTH, **SMALL)):
        made.reset(seed=2)
        steps, over, info = 0, False, {}
        while not over and steps < 80:
            *_, over, _, info = made.step(np.array([1.0, 1.0], np.float32))
            steps += 1
        ends.append((steps, over, info["cost_terms"], [event["name"] for event in info["events"]]))
        made.close()
    assert ends[0] == ends[1]
    assert ends[0][1]


def test_the_same_seed_and_actions_give_the_same_bits(env):
    def run():
        frames = [env.reset(seed=3)[0]]
        return frames + [env.step(action)[0] for action in _actions(6)]

    assert _same(run(), run())


def test_a_frame_depends_on_the_frame_before_it(env, path):
    env.reset(seed=3)
    env.step(_actions(1)[0])
    upon, inner = env.unwrapped.snapshot(), env.unwrapped
    fresh, _ = gym.make(ID, model=path).reset(seed=3, options={"snapshot": upon.truth})
    assert not _same(fresh, inner.render() if inner.render_mode else upon.frames[0])


def test_a_restored_snapshot_goes_on_bit_for_bit_frames_included(env, path):
    env.reset(seed=4)
    for action in _actions(4):
        env.step(action)
    kept = pickle.loads(pickle.dumps(env.unwrapped.snapshot()))
    expected = [env.step(action) for action in _actions(5, seed=1)]
    env.unwrapped.restore(kept)
    assert _same([env.step(action) for action in _actions(5, seed=1)], expected)
    other = gym.make(ID, model=path)
    frame, _ = other.reset(seed=0, options={"snapshot": kept})
    assert _same(frame, kept.frames[0])
    assert _same([other.step(action) for action in _actions(5, seed=1)], expected)
    other.close()


def test_branches_agree_with_where_they_come_from_and_a_rewind_with_what_was(env):
    env.reset(seed=4)
    for action in _actions(3):
        env.step(action)
    branches = env.unwrapped.branch(2)
    expected = [env.step(action) for action in _actions(4, seed=2)]
    for branch in branches:
        assert _same([branch.step(action) for action in _actions(4, seed=2)], expected)
        branch.close()
    assert _same(env.unwrapped.rewind(2), expected[1][0])
    assert _same([env.step(action) for action in _actions(4, seed=2)[2:]], expected[2:])


def test_an_episode_ends_at_its_horizon_however_it_came_there(path):
    env = gym.make(ID, model=path, horizon=4)
    inner, action = env.unwrapped, np.zeros(2, np.float32)

    def ends(env, num):
        return [env.step(action)[3] for _ in range(num)]

    env.reset(seed=3)
    env.step(action)
    kept = pickle.loads(pickle.dumps(inner.snapshot()))
    assert ends(env, 3) == [False, False, True]
    inner.rewind(2)
    assert ends(env, 2) == [False, True]
    inner.restore(kept)
    (branch,) = inner.branch(1)
    assert ends(env, 3) == ends(branch, 3) == [False, False, True]
    env.reset(options={"snapshot": kept})
    begun = inner.snapshot()
    assert ends(env, 4) == [False, False, False, True], "a reset begins another episode"
    inner.restore(begun)
    assert ends(env, 4) == [False, False, False, True]
    for made in (env, branch):
        made.close()


def test_sampling_in_several_steps_takes_noise_keyed_by_seed_and_time(path):
    env = gym.make(ID, model=path, sampler_steps=3)
    first = env.reset(seed=6)[0]
    env.step(_actions(1)[0])
    kept = env.unwrapped.snapshot()
    expected = [env.step(action)[0] for action in _actions(3)]
    env.unwrapped.restore(kept)
    assert _same([env.step(action)[0] for action in _actions(3)], expected)
    assert _same(env.reset(seed=6)[0], first)
    plain = {mode: env.unwrapped.truth.reset(seed=6)[0][f"{mode}/front"][None] for mode in PLAIN_MODES}
    draw = env.unwrapped.model.draw
    frames = [draw(plain, seeds=np.array([k]), steps=np.array([0]), sampler_steps=3) for k in (1, 2)]
    assert not _same(*frames)
    env.close()


def test_a_prompt_changes_what_is_drawn(env):
    shown = {}
    for prompt in ("a clear day", "雨夜", "thick fog at noon"):
        frame, info = env.reset(seed=7, options={"prompt": prompt})
        shown[prompt] = frame.astype(int)
        assert info["caption"]["en"]
    assert len({frame.tobytes() for frame in shown.values()}) == 3
    env.reset(seed=7, options={"prompt": "a clear day"})
    kept = env.unwrapped.snapshot()
    unchanged = [env.step(np.zeros(2, np.float32)) for _ in range(12)]
    env.unwrapped.restore(kept)
    assert env.unwrapped.set_prompt("rain at night") == []
    changed = [env.step(np.zeros(2, np.float32)) for _ in range(12)]
    assert [_same(a[0], b[0]) for a, b in zip(changed, unchanged, strict=True)][-1] is False
    assert changed[-1][4]["caption"]["en"] != unchanged[-1][4]["caption"]["en"]
    with pytest.raises(PromptError):
        env.unwrapped.set_prompt("qwxz")


@pytest.mark.parametrize("camera", CAMERAS)
def test_every_camera_is_drawn(path, camera):
    env = gym.make(ID, model=path, cameras=(camera,), render_mode="rgb_array")
    frame, info = env.reset(seed=1)
    assert frame.shape == (SIZE, SIZE, 3)
    assert frame.std() > 5
    assert _same(env.render(), frame)
    assert set(info["camera"]) == {"K", "c2w"}
    env.close()


def test_the_true_frame_comes_only_if_it_is_asked_for(path, env):
    assert "truth_obs" not in env.reset(seed=8)[1]
    made, truth = gym.make(ID, model=path, truth_obs=True), gym.make(TRUTH, **SMALL)
    drawn, info = made.reset(seed=8)
    assert _same(info["truth_obs"]["rgb/front"], truth.reset(seed=8)[0])
    assert not _same(drawn, info["truth_obs"]["rgb/front"])
    action = _actions(1)[0]
    assert _same(made.step(action)[4]["truth_obs"]["rgb/front"], truth.step(action)[0])
    made.close()
    truth.close()


def test_a_task_is_the_truths(path):
    env = gym.make(ID, model=path, task="route")
    _, info = env.reset(seed=1)
    assert info["task"]
    assert info["instruction"]
    env.close()


def test_a_batch_of_hybrids_is_hybrids(path, env):
    envs = gym.make_vec(ID, num_envs=2, model=path)
    frames, _ = envs.reset(seed=[5, 9])
    assert frames.shape == (2, SIZE, SIZE, 3)
    actions = _actions(3)
    for action in actions:
        frames, *_ = envs.step(np.stack([action] * 2))
    env.reset(seed=9)
    for action in actions:
        alone, *_ = env.step(action)
    assert _same(frames[1], alone)
    envs.close()


def test_five_hundred_steps_are_finite_and_show_something(env):
    env.reset(seed=0)
    env.action_space.seed(0)
    num_ends = 0
    for _ in range(500):
        frame, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        assert np.isfinite(reward)
        assert frame.std() > 2
        if terminated or truncated:
            num_ends += 1
            env.reset()
    assert num_ends > 0


def test_an_env_is_pickled_and_copied_as_its_arguments(env):
    for other in (pickle.loads(pickle.dumps(env.unwrapped)), copy.deepcopy(env.unwrapped)):
        assert _same(other.reset(seed=3)[0], env.reset(seed=3)[0])
        other.close()


def test_returned_arrays_are_the_callers(env):
    env.reset(seed=3)
    expected = [env.step(action)[0] for action in _actions(2)]
    env.reset(seed=3)[0][:] = 0
    env.step(_actions(2)[0])[0][:] = 0
    assert _same(env.step(_actions(2)[1])[0], expected[1])


def test_wrong_use_is_said_and_changes_nothing(env, path):
    fresh = gym.make(ID, model=path).unwrapped
    for call in (fresh.render, fresh.snapshot, fresh.rewind, lambda: fresh.step(np.zeros(2, np.float32))):
        with pytest.raises(EnvError, match="reset"):
            call()
    fresh.close()
    env.reset(seed=3)
    kept = env.unwrapped.snapshot()
    with pytest.raises(ActionError):
        env.step(np.array([np.nan, 0], np.float32))
    assert _same(env.unwrapped.snapshot().frames, kept.frames)
    with pytest.raises(EnvError, match="HybridSnapshot"):
        env.unwrapped.restore(kept.truth)
    values = {name: getattr(kept, name) for name in HybridSnapshot.__dataclass_fields__}
    with pytest.raises(EnvError, match="drawn anew"):
        env.unwrapped.restore(HybridSnapshot(**{**values, "renderer_sha": "another"}))
    with pytest.raises(EnvError, match="reset options"):
        env.reset(options={"start": 1})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": "no-such-renderer"}, CheckpointError, "no renderer"),
        ({"model": "city-64"}, CheckpointError, "no renderer"),
        ({"render_mode": "human"}, EnvError, "render_mode"),
        ({"precision": "float16"}, EnvError, "precision"),
        ({"sampler_steps": 0}, EnvError, "sampler_steps"),
        ({"horizon": 0}, EnvError, "horizon"),
        ({"device": "tpu"}, EnvError, "device"),
        ({"cameras": ("roof",)}, EnvError, "cameras"),
        ({"obs_modes": ()}, EnvError, "obs_modes"),
        ({"obs_modes": ("rgb", "rgb")}, EnvError, "each once"),
        ({"height": 48}, EnvError, "32x32"),
        ({"env_id": "CartPole-v1"}, EnvError, "cannot be drawn"),
        ({"env_id": "worldsim/Lab-v0"}, EnvError, "obs_modes"),
    ],
)
def test_arguments_that_cannot_be_are_said(path, arguments, error, message):
    with pytest.raises(error, match=message):
        HybridEnv(**{"model": path, **arguments})


def test_a_loaded_renderer_draws_what_the_saved_one_draws(path):
    one = HybridEnv(Renderer(load_renderer(path).net), precision="float32")
    other = HybridEnv(path, precision="float32")
    assert _same(one.reset(seed=2)[0], other.reset(seed=2)[0])
    one.close()
    other.close()
