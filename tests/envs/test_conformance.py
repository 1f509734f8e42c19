"""Every true world keeps Gymnasium's conventions and the promise of equal bits, whoever asks and however."""

import gc
import hashlib
import pickle
import subprocess
import sys
import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path

import gymnasium as gym
import numpy as np
import pybullet
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.utils.env_match import check_environments_match

import worldsim  # noqa: F401 - registers the ids
from worldsim._register import TRUTHS
from worldsim.errors import ActionError, EnvError
from worldsim.rollout import Truth

IDS = tuple(TRUTHS)
SMALL = {"height": 40, "width": 40}
EVERYTHING = ("rgb", "depth", "semantic", "instance", "state")
LENGTH = 9
every_world = pytest.mark.parametrize("env_id", IDS)


@cache
def _cameras(env_id):
    env = gym.make(env_id, **SMALL)
    names = tuple(env.unwrapped.scene_card["cameras"])
    env.close()
    return names


def _make(env_id, *, full=False, **kwargs):
    modes = {"obs_modes": EVERYTHING, "cameras": _cameras(env_id)[:2]} if full else {}
    return gym.make(env_id, **SMALL, **modes, **kwargs)


@pytest.fixture(scope="module", params=IDS)
def pair(request):
    """Two envs of one world that observe everything."""
    envs = [_make(request.param, full=True).unwrapped for _ in range(2)]
    yield envs
    for env in envs:
        env.close()


def _actions(env, seed):
    return np.random.default_rng(seed).uniform(-0.4, 0.4, (LENGTH, *env.action_space.shape)).astype(np.float32)


def _digest(obs, reward, info):
    digest = hashlib.sha256(np.float64(reward).tobytes())
    for key in sorted(obs) if isinstance(obs, dict) else ():
        digest.update(key.encode() + obs[key].tobytes())
    if not isinstance(obs, dict):
        digest.update(obs.tobytes())
    for name, parts in info["state"].items():
        digest.update(name.encode() + b"".join(parts[part].tobytes() for part in ("pos", "quat", "vel", "ang")))
    return digest.hexdigest()


def _begun(env, seed):
    obs, info = env.reset(seed=seed)
    return _digest(obs, 0.0, info)


def _played(env, actions):
    """Return the digest of each step, until the end of the episode at most."""
    digests = []
    for action in actions:
        obs, reward, terminated, _, info = env.step(action)
        digests.append(_digest(obs, reward, info))
        if terminated:
            break
    return digests


def trace(env_id, seed):
    """Return the digests of an episode in one text; another process calls this too."""
    env = _make(env_id, full=True)
    try:
        return " ".join([_begun(env, seed), *_played(env, _actions(env, seed))])
    finally:
        env.close()


# ---- conventions


@every_world
@pytest.mark.parametrize("full", [False, True], ids=["frame", "everything"])
def test_it_passes_gymnasiums_checks(env_id, full):
    env = _make(env_id, full=full)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)
    assert isinstance(env.unwrapped, Truth)
    env.close()
    env.close()


@every_world
def test_the_passive_checker_has_nothing_to_say(env_id):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = _make(env_id, render_mode="rgb_array", full=True)
        assert "PassiveEnvChecker" in str(env)
        env.reset(seed=1)
        for action in _actions(env, 1)[:2]:
            env.step(action)
        assert np.array_equal(env.render(), env.unwrapped.render())
    env.close()


@every_world
@pytest.mark.parametrize("full", [False, True], ids=["frame", "everything"])
def test_it_passes_the_checks_of_stable_baselines3(env_id, full):
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    env = _make(env_id, full=full)
    with warnings.catch_warnings():
        if full:  # advice about images that are no colours
            warnings.filterwarnings("ignore", category=UserWarning, message=".*")
        checker.check_env(env.unwrapped)
    env.close()


@every_world
def test_a_pickled_env_is_the_same_env_anew(env_id):
    env = _make(env_id, full=True)
    copy = pickle.loads(pickle.dumps(env.unwrapped))
    check_environments_match(env.unwrapped, copy, num_steps=LENGTH, seed=4)  # obs, rewards, ends and info
    env.close()
    copy.close()


@every_world
def test_a_spawned_vector_env_gives_the_frames_of_one_here(env_id):
    envs = gym.make_vec(env_id, num_envs=1, vectorization_mode="async", vector_kwargs={"context": "spawn"}, **SMALL)
    env = _make(env_id)
    try:
        first, _ = envs.reset(seed=[7])
        assert np.array_equal(first[0], env.reset(seed=7)[0])
        for action in _actions(env, 7)[:3]:
            assert np.array_equal(envs.step(action[None])[0][0], env.step(action)[0])
    finally:
        envs.close()
        env.close()


# ---- equal bits


def test_one_seed_and_the_same_actions_give_the_same_bits_in_one_process(pair):
    env, other = pair
    for seed in (2, 11):
        actions = _actions(env, seed)
        first = [_begun(env, seed), *_played(env, actions)]
        assert [_begun(env, seed), *_played(env, actions)] == first
        assert [_begun(other, seed), *_played(other, actions)] == first
    assert _begun(env, 12) != first[0]


def test_another_process_gives_the_same_bits():
    folder = str(Path(__file__).parent)
    code = f"import sys; sys.path.insert(0, {folder!r}); from test_conformance import IDS, trace\n" + (
        "for env_id in IDS: print('TRACE', trace(env_id, 21))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    theirs = [line.removeprefix("TRACE ") for line in out.splitlines() if line.startswith("TRACE")]
    assert theirs == [trace(env_id, 21) for env_id in IDS]


@pytest.mark.parametrize("at", [0, 4])
def test_a_snapshot_continues_bit_for_bit_whatever_the_env_did_before(pair, at):
    env, other = pair
    actions = _actions(env, 5)
    whole = [_begun(env, 5), *_played(env, actions)]
    _begun(env, 5)
    _played(env, actions[:at])
    snapshot = pickle.loads(pickle.dumps(env.snapshot()))
    before = hashlib.sha256(pickle.dumps(env.np_random.bit_generator.state)).digest()
    _begun(other, 99)
    _played(other, actions[:3])
    for target in (other, env):
        target.restore(snapshot)
        assert _played(target, actions[at:]) == whole[at + 1 :]
        assert hashlib.sha256(pickle.dumps(target.np_random.bit_generator.state)).digest() == before
    obs, _ = other.reset(options={"snapshot": snapshot})
    assert other.observation_space.contains(obs)
    assert _played(other, actions[at:]) == whole[at + 1 :]


def test_branches_see_the_same_until_their_actions_differ(pair):
    env, _ = pair
    actions = _actions(env, 3)
    _begun(env, 3)
    _played(env, actions[:2])
    one, two = env.branch(2)
    try:
        assert one.observation_space == env.observation_space
        rest = _played(env, actions[2:5])
        assert _played(one, actions[2:5]) == rest
        assert _played(two, actions[2:5]) == rest  # what one did is nothing to the other
        assert _played(one, np.ones_like(actions[:1])) != _played(two, -np.ones_like(actions[:1]))
    finally:
        one.close()
        two.close()


def test_what_was_returned_does_not_change_afterwards(pair):
    env, _ = pair
    obs, info = env.reset(seed=8)
    digest = _digest(obs, 0.0, info)
    assert not any(np.shares_memory(a, b) for k, a in obs.items() for j, b in obs.items() if k != j)
    _played(env, _actions(env, 8)[:2])
    assert _digest(obs, 0.0, info) == digest
    for value in obs.values():
        value[:] = 0
    assert env.observation_space.contains(env.step(np.zeros(env.action_space.shape, np.float32))[0])


def test_a_replay_that_ends_elsewhere_is_refused(pair):
    env, other = pair
    env.reset(seed=6)
    _played(env, _actions(env, 6)[:2])
    snapshot = env.snapshot()
    if not hasattr(snapshot, "rows"):  # its state is plain data: nothing is played again, so nothing can end elsewhere
        other.restore(snapshot)
        assert other.snapshot() == snapshot
        return
    nudged = tuple((row[0] + 1e-12, *row[1:]) for row in snapshot.rows)  # as another build of Bullet would have it
    with pytest.raises(EnvError, match="bit for bit"):
        other.restore(replace(snapshot, rows=nudged))
    other.restore(snapshot)


@every_world
def test_what_moves_is_of_shapes_that_bullet_solves_alike_every_time(env_id):
    env = _make(env_id)
    env.reset(seed=1)
    simple = {pybullet.GEOM_BOX, pybullet.GEOM_SPHERE, pybullet.GEOM_CYLINDER}
    clients = [k for k in range(64) if pybullet.getConnectionInfo(k)["isConnected"]]
    assert clients
    for client in clients:
        for index in range(pybullet.getNumBodies(physicsClientId=client)):
            body = pybullet.getBodyUniqueId(index, physicsClientId=client)
            for link in range(-1, pybullet.getNumJoints(body, physicsClientId=client)):
                if pybullet.getDynamicsInfo(body, link, physicsClientId=client)[0] > 0:
                    shapes = pybullet.getCollisionShapeData(body, link, physicsClientId=client)
                    assert len(shapes) <= 1  # no compounds
                    assert {shape[2] for shape in shapes} <= simple  # no meshes, no decompositions
    env.close()


def test_what_is_no_snapshot_is_refused(pair):
    env, _ = pair
    env.reset(seed=0)
    for wrong in ({}, None, env):
        with pytest.raises(EnvError, match="snapshot"):
            env.restore(wrong)


@every_world
def test_what_is_asked_wrongly_is_refused_in_words(env_id):
    env = gym.make(env_id, **SMALL).unwrapped
    env.reset(seed=1)
    snapshot = env.snapshot()
    for options, message in (
        ({"snapshot": snapshot, "prompt": "rain"}, "snapshot holds all"),
        ({"snapshot": snapshot, "variation": {"nonsense": 1}}, "snapshot holds all"),
        ({"variation": [1]}, "variation must be a dict"),
        ([1], "reset options are"),
        ({"nonsense": 1}, "reset options are"),
    ):
        with pytest.raises(EnvError, match=message):
            env.reset(options=options)
    before = env.snapshot()
    with pytest.raises(ActionError, match="got shape"):
        env.step(np.zeros((1, *env.action_space.shape), np.float32))
    assert env.snapshot() == before
    env.close()
    for kwargs in ({"height": 64.0}, {"width": "64"}, {"height": None}, {"obs_modes": None}, {"cameras": [["front"]]}):
        with pytest.raises(EnvError):
            gym.make(env_id, **kwargs)


@every_world
def test_a_closed_env_says_so_and_can_be_closed_again(env_id):
    env = gym.make(env_id, **SMALL).unwrapped
    with pytest.raises(EnvError, match="reset"):
        env.redraw()
    env.reset(seed=1)
    env.close()
    env.close()
    for act in (lambda: env.reset(seed=1), lambda: env.step(np.zeros(env.action_space.shape, np.float32))):
        with pytest.raises(EnvError, match="closed"):
            act()


@every_world
def test_an_env_that_nobody_holds_is_freed(env_id):
    def live():
        gc.collect()
        return sum(pybullet.isConnected(client) for client in range(200))

    env = gym.make(env_id, **SMALL).unwrapped
    env.reset(seed=1)
    before, files = live(), []
    for branch in env.branch(3):
        branch.step(np.zeros(env.action_space.shape, np.float32))
        files.append(Path((branch._stage.scene if "City" in env_id else branch._scene)._atlas_path))
        assert files[-1].exists()
    del branch
    assert live() == before and not any(file.exists() for file in files)
    env.close()


def test_names_may_come_from_any_iterable():
    for env_id in IDS:
        camera = _cameras(env_id)[0]
        env = gym.make(env_id, **SMALL, obs_modes=iter(["rgb"]), cameras=iter([camera])).unwrapped
        env.reset(seed=0)
        env.branch(1)[0].close()
        pickle.loads(pickle.dumps(env)).close()
        env.close()


@pytest.mark.parametrize(("env_id", "factor"), [("worldsim/City-v0", "map_seed"), ("worldsim/Lab-v0", "hue")])
def test_a_fraction_is_no_whole_number(env_id, factor):
    env = gym.make(env_id, **SMALL).unwrapped
    with pytest.raises(EnvError, match="whole number"):
        env.reset(seed=0, options={"variation": {factor: 1.5}})
    env.close()


@pytest.mark.parametrize("env_id", ["worldsim/Lab-v0", "worldsim/Tabletop-v0"])
def test_an_episode_that_cannot_be_restored_is_not_gone_on_with(env_id):
    env = gym.make(env_id, **SMALL).unwrapped
    env.reset(seed=1)
    env.step(np.zeros(env.action_space.shape, np.float32))
    rows = env.snapshot().rows
    broken = replace(env.snapshot(), rows=tuple(tuple(v + 1 for v in row) for row in rows))
    with pytest.raises(EnvError, match="bit for bit"):
        env.restore(broken)
    with pytest.raises(EnvError, match="reset"):
        env.step(np.zeros(env.action_space.shape, np.float32))
    env.close()


@pytest.mark.parametrize("env_id", ["worldsim/Lab-v0", "worldsim/Tabletop-v0"])
def test_a_prompt_in_mid_episode_is_not_undone_by_the_episodes_own_change(env_id):
    env = gym.make(env_id, **SMALL).unwrapped
    variation = {"change": "gravity", "change_step": 10, "change_length": 5}
    variation |= {"change_to": 24.0} if "Lab" in env_id else {"change_gravity": 24.0}
    rest = np.zeros(env.action_space.shape, np.float32)
    env.reset(seed=1, options={"variation": variation})
    env.set_prompt("on the moon")
    for _ in range(20):
        *_, info = env.step(rest)
    assert info["gravity"] < 2
    other = gym.make(env_id, **SMALL).unwrapped
    other.restore(env.snapshot())
    assert other.step(rest)[-1]["gravity"] == env.step(rest)[-1]["gravity"]
    env.reset(seed=1, options={"variation": variation})
    for _ in range(20):
        *_, info = env.step(rest)
    assert info["gravity"] == 24.0
    env.close()
    other.close()
