"""Collection into a store: aligned in time, exactly once, resumable, and clear about what it cannot use."""

import os
import signal
import subprocess
import sys
import time

import gymnasium as gym
import numpy as np
import pytest
import square_world

from worldsim.collect import collect, policies_of, show_progress
from worldsim.errors import EnvError, StoreError
from worldsim.rollout import Event
from worldsim.store import RolloutStore, verify

SQUARE, SWITCH = "square_world:Square-v0", "square_world:Switch-v0"


def seeds(store):
    return [store.info(i).seed for i in range(len(store))]


def test_an_action_shows_in_the_next_frame_and_never_in_its_own(tmp_path):
    store = collect(SQUARE, 3, tmp_path / "s")
    for i in range(3):
        obs, action, reward = store.window(episode=i, t=0, length=store.info(i).length)
        assert obs[:, 0, 0, 2].tolist() == list(range(len(action) + 1))  # blue counts the steps
        for t in range(len(action)):
            x, y = ((action[t] + 1) * 14).round().astype(int)
            assert obs[t + 1, y, x, 0] == 255
            assert obs[t + 1, ..., 0].sum() == 16 * 255
            assert reward[t] == action[t, 0]
        assert obs[0, 14, 14, 0] == 255  # before any action


def test_everything_that_the_env_says_is_recorded(tmp_path):
    rollout = collect(SQUARE, 1, tmp_path / "s", seed=7, variation={"fog": 0.5}).episode(0)
    assert (rollout.seed, rollout.policy, rollout.env_id) == (7, "mixture", SQUARE)
    assert rollout.variation == {"weather": "rain", "fog": 0.5}
    assert rollout.action_spec == square_world.SquareEnv.action_spec and rollout.control_dt == 0.1
    assert [(caption.t, caption.zh) for caption in rollout.caption] == [(0, "早"), (5, "晚")]
    wait, late, bell, hurry = rollout.events
    assert wait == Event(0, {"name": "instruction", "en": "wait", "zh": "等"})
    assert (hurry.t, hurry.facts["zh"]) == (5, "快")  # once, when it changes
    assert late == Event(5, {"name": "late", "en": "it is late", "zh": "晚了"}) and bell == Event(5, {"name": "bell"})
    np.testing.assert_array_equal(rollout.state["ego"][1:, :2], rollout.action)
    assert rollout.state["ego"][:, 7].tolist() == list(range(len(rollout) + 1))
    assert np.isnan(rollout.state["late"][:5]).all() and np.isfinite(rollout.state["late"][5:]).all()
    assert rollout.terminated[-1] and not rollout.truncated.any()


def test_an_env_without_image_obs_is_rendered(tmp_path):
    rollout = collect(SWITCH, 1, tmp_path / "s", max_steps=30).episode(0)
    assert rollout.obs.shape == (31, 40, 48, 3) and rollout.action.dtype == np.int64
    np.testing.assert_array_equal(rollout.obs[1:, 0, 0, 0], 100 * rollout.action)
    assert len(set(rollout.action.tolist())) > 1 and rollout.control_dt == pytest.approx(1 / 20)
    assert rollout.state is None and rollout.caption == ()


def test_max_steps_truncates_at_the_last_step(tmp_path):
    rollout = collect(SQUARE, 1, tmp_path / "s", max_steps=4).episode(0)
    assert rollout.truncated.tolist() == [False, False, False, True] and not rollout.terminated.any()


def test_two_workers_collect_the_same_episodes_as_one(tmp_path):
    one, two = collect(SQUARE, 10, tmp_path / "one"), collect(SQUARE, 10, tmp_path / "two", workers=2)
    assert sorted(seeds(two)) == seeds(one) == list(range(10))
    for i, seed in enumerate(seeds(two)):
        np.testing.assert_array_equal(two.episode(i).obs, one.episode(seed).obs)
        np.testing.assert_array_equal(two.episode(i).action, one.episode(seed).action)


def test_a_second_call_adds_only_what_is_missing(tmp_path):
    collect(SQUARE, 5, tmp_path / "s", seed=100)
    calls = []
    store = collect(SQUARE, 8, tmp_path / "s", seed=100, progress=calls.append)
    assert seeds(store) == list(range(100, 108))
    assert (calls[-1].episodes, calls[-1].total, calls[-1].skipped) == (3, 3, 5)
    assert calls[-1].steps == sum(store.info(i).length for i in (5, 6, 7))
    version = store.version
    assert collect(SQUARE, 8, tmp_path / "s", seed=100).version == version
    assert len(collect(SQUARE, 1, tmp_path / "s", seed=100, env_kwargs={"num_steps": 6})) == 9  # another env


def test_a_process_that_drew_with_pygame_still_ends_when_it_is_told_to(tmp_path):
    code = (
        "import time\n"
        "from worldsim.collect.worker import make_image_env\n"
        "env, to_frame = make_image_env('CarRacing-v3', {})\n"
        "env.close()\n"
        "import pygame; pygame.init(); pygame.display.set_mode((8, 8))\n"
        "print('drawn', flush=True); time.sleep(60)"
    )
    env = {**os.environ, "SDL_VIDEODRIVER": "dummy"}
    env.pop("SDL_NO_SIGNAL_HANDLERS", None)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=env) as process:
        try:
            assert any(line == "drawn\n" for line in process.stdout)
            process.terminate()
            assert process.wait(timeout=10) == -signal.SIGTERM
        finally:
            process.kill()


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_commits_what_is_finished_and_the_same_call_goes_on(tmp_path, workers):
    code = (
        "import signal, sys; sys.path.insert(0, sys.argv[1])\n"
        "from worldsim.collect import collect\n"
        "if __name__ == '__main__':\n"
        "    signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a background job starts deaf to Ctrl-C
        f"    collect({SQUARE!r}, 4000, sys.argv[2], workers={workers},"
        " progress=lambda p: print(p.episodes, flush=True))"
    )
    script = tmp_path / "run.py"
    script.write_text(code)
    command = [sys.executable, str(script), os.path.dirname(square_world.__file__), str(tmp_path / "s")]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    process.stdout.readline()
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    out, errors = process.communicate(timeout=30)
    assert process.returncode != 0 and errors.strip().endswith("KeyboardInterrupt")
    store = RolloutStore.open(tmp_path / "s")
    num_reported = 1 + len(out.split())
    assert num_reported <= len(store) < 4000 and verify(store.path) == []
    assert store.gc(grace_s=0) == []
    again = collect(SQUARE, max(seeds(store)) + 1, tmp_path / "s")
    assert sorted(seeds(again)) == list(range(max(seeds(store)) + 1))


def test_a_killed_worker_loses_the_episode_it_played_and_the_same_call_goes_on(tmp_path):
    call = {"env_kwargs": {"marker": str(tmp_path / "killed")}, "workers": 2}
    reports = []
    with pytest.raises(EnvError, match=r"died \(exit code -9\).*run the same command again"):
        collect("square_world:FatalOnce-v0", 30, tmp_path / "s", progress=reports.append, **call)
    store = RolloutStore.open(tmp_path / "s")
    held = seeds(store)
    assert verify(store.path) == [] and len(set(held)) == len(held) >= reports[-1].episodes
    assert 9 not in held and 8 in held  # what the killed worker had finished is safe
    again = collect("square_world:FatalOnce-v0", 30, tmp_path / "s", **call)
    assert sorted(seeds(again)) == list(range(30)) and seeds(again)[: len(held)] == held
    one = collect(SQUARE, 10, tmp_path / "one")
    np.testing.assert_array_equal(again.episode(seeds(again).index(9)).obs, one.episode(9).obs)


@pytest.mark.parametrize("workers", [1, 2])
def test_killing_everything_loses_nothing_that_was_reported(tmp_path, workers):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from worldsim.collect import collect\n"
        "if __name__ == '__main__':\n"
        f"    collect({SQUARE!r}, 4000, sys.argv[2], workers={workers},"
        " progress=lambda p: print(p.episodes, flush=True))"
    )
    (tmp_path / "run.py").write_text(code)
    command = [
        sys.executable, str(tmp_path / "run.py"), os.path.dirname(square_world.__file__), str(tmp_path / "s")
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    for _ in range(5):
        process.stdout.readline()
    os.killpg(process.pid, signal.SIGKILL)
    out, _ = process.communicate(timeout=30)
    store = RolloutStore.open(tmp_path / "s")
    num_reported = 5 + len(out.split())
    assert num_reported <= len(store) <= num_reported + 2 * workers and verify(store.path) == []
    again = collect(SQUARE, max(seeds(store)) + 1, tmp_path / "s")
    assert sorted(seeds(again)) == list(range(max(seeds(store)) + 1))


def test_the_codec_is_chosen_once(tmp_path):
    store = collect(SQUARE, 1, tmp_path / "s", codec="lz4")
    assert store.codec == "lz4" and collect(SQUARE, 2, tmp_path / "s").codec == "lz4"
    with pytest.raises(StoreError, match="is packed with lz4; got the codec none"):
        collect(SQUARE, 3, tmp_path / "s", codec="none")
    with pytest.raises(StoreError, match="zip"):
        collect(SQUARE, 3, tmp_path / "new", codec="zip")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"env_id": "Nowhere-v0"}, "cannot make 'Nowhere-v0'"),
        ({"env_id": "no_such_module:Nowhere-v0"}, "cannot make"),
        ({"env_kwargs": {"colour": "red"}}, "colour"),
        ({"env_kwargs": {"size": 16}}, "32 to 256 pixels high and wide; .* has 16x16"),
        ({"policy": "expert"}, "has the policies mixture; got 'expert'"),
        ({"env_id": "CartPole-v1", "env_kwargs": {}}, "CartPole-v1 (cannot render|has 400x600)"),
        ({"env_id": "square_world:Blind-v0", "env_kwargs": {}}, "Blind-v0 shows no image: its obs is Discrete"),
        ({"episodes": 0}, "must be at least 1"),
        ({"engine": "threads"}, "must be local or ray; got 'threads'"),
    ],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_what_cannot_be_collected_is_one_clear_line(tmp_path, arguments, message, workers):
    call = {"env_id": SQUARE, "episodes": 4, "store_path": tmp_path / "s", "workers": workers, **arguments}
    with pytest.raises(EnvError, match=message) as error:
        collect(**call)
    assert "\n" not in str(error.value)


def test_frames_of_another_size_do_not_enter_a_store(tmp_path):
    collect(SQUARE, 1, tmp_path / "s")
    with pytest.raises(StoreError, match="holds 32x32"):
        collect(SQUARE, 1, tmp_path / "s", env_kwargs={"size": 40})


@pytest.mark.parametrize(
    "space",
    [
        gym.spaces.Box(-1, 1, (2,), np.float32),
        gym.spaces.Box(np.array([0, -3], np.float32), np.array([5, np.inf], np.float32)),
        gym.spaces.Discrete(4, start=2),
        gym.spaces.MultiDiscrete([3, 5]),
    ],
    ids=str,
)
def test_smooth_random_actions_fit_the_space_change_and_follow_the_seed(space):
    env = gym.make(SQUARE).unwrapped
    env.action_space = space
    make = policies_of(env)["mixture"]
    policy, same, other = make(3), make(3), make(4)
    actions = [policy(None, {}) for _ in range(60)]
    assert all(space.contains(a if a.ndim else a[()]) for a in actions)
    assert len({a.tobytes() for a in actions}) >= 3
    assert [a.tobytes() for a in actions] == [same(None, {}).tobytes() for _ in range(60)]
    assert [a.tobytes() for a in actions] != [other(None, {}).tobytes() for _ in range(60)]


def test_smooth_random_actions_are_smooth_and_use_the_whole_range():
    env = gym.make(SQUARE).unwrapped
    make = policies_of(env)["mixture"]
    tracks = np.array([[policy(None, {}) for _ in range(100)] for policy in map(make, range(20))])
    assert np.abs(np.diff(tracks, axis=1)).mean() < 0.3 * np.abs(tracks - np.roll(tracks, 1, axis=0)).mean() / 0.7
    assert tracks.min() < -0.9 and tracks.max() > 0.9


def test_progress_off_a_terminal_is_a_plain_line(tmp_path, capsys):
    with show_progress() as progress:
        collect(SQUARE, 2, tmp_path / "s", progress=progress)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("collect: 2/2 episodes, ") and "steps/s" in line and line.endswith("0:00 left")
