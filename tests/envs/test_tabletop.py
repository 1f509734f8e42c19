"""The table keeps the promises of the truth protocol, in its three tasks."""

import hashlib
import pickle
import subprocess
import sys
import warnings

import gymnasium as gym
import numpy as np
import pytest
import trimesh
from gymnasium.utils.env_checker import check_env
from worldsim_envs.lab.paint import HUES, PALETTE
from worldsim_envs.tabletop import TASKS, TabletopEnv
from worldsim_envs.tabletop.factors import AXES, COMMON, NUM_SHARES, OWN, PAIRS, drawn

import worldsim  # noqa: F401 - registers the ids
from worldsim.errors import ActionError, EnvError, PromptError
from worldsim.rollout import Truth

STILL = np.zeros(4, np.float32)
PLAIN = {"change": "none", "extra": 0}


@pytest.fixture(scope="module")
def env():
    table = TabletopEnv()
    yield table
    table.close()


@pytest.fixture(scope="module")
def other():
    table = TabletopEnv()
    yield table
    table.close()


def _play(env, seed, steps, policy="mixture", **variation):
    obs, info = env.reset(seed=seed, options={"variation": variation})
    act = env.policies[policy](seed)
    trace = [(obs, 0.0, info)]
    for _ in range(steps):
        obs, reward, _, _, info = env.step(act(obs, info))
        trace.append((obs, reward, info))
    return trace


def _digest(trace):
    digest = hashlib.sha256()
    for obs, reward, info in trace:
        digest.update(obs.tobytes() + np.float64(reward).tobytes() + info["joints"].tobytes())
        for name, parts in sorted(info["state"].items()):
            digest.update(name.encode() + b"".join(parts[part].tobytes() for part in ("pos", "quat", "vel", "ang")))
    return digest.hexdigest()


# ---- contracts


@pytest.mark.parametrize(
    ("env_id", "task"),
    [("Tabletop", None), ("TabletopReach", "reach"), ("TabletopPush", "push"), ("TabletopStack", "stack")],
)
def test_every_id_passes_gymnasiums_checks_and_has_its_task(env_id, task):
    made = gym.make(f"worldsim/{env_id}-v0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(made.unwrapped)
    assert made.spec.max_episode_steps == 100
    assert isinstance(made.unwrapped, Truth)
    assert task in (None, made.reset(seed=0)[1]["task"]["name"])
    made.close()
    made.close()


def test_it_passes_the_checks_of_stable_baselines3(env):
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        checker.check_env(env)


def test_vector_envs_in_other_processes_agree_with_one_here(env):
    make = {"vectorization_mode": "async", "vector_kwargs": {"context": "spawn"}}
    envs = gym.make_vec("worldsim/Tabletop-v0", num_envs=2, **make)
    try:
        first, _ = envs.reset(seed=[3, 4])
        then, *_ = envs.step(np.ones((2, 4), np.float32))
    finally:
        envs.close()
    for index, seed in enumerate((3, 4)):
        obs, _ = env.reset(seed=seed)
        assert np.array_equal(first[index], obs)
        assert np.array_equal(then[index], env.step(STILL + 1)[0])


def test_another_process_gives_the_same_bits(env):
    code = (
        "import sys; sys.path.insert(0, 'tests/envs')\n"
        "from test_tabletop import TabletopEnv, _digest, _play\n"
        "print(_digest(_play(TabletopEnv(), 11, 20, 'expert', task='stack', extra=1)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split()[-1] == _digest(_play(env, 11, 20, "expert", task="stack", extra=1))


@pytest.mark.parametrize("at", [0, 9, 30])
@pytest.mark.parametrize("task", TASKS)
def test_a_restored_episode_continues_bit_for_bit_in_another_env(env, other, task, at):
    setting = {"task": task, "change": "gravity", "change_step": 8, "change_length": 6}
    whole = _play(env, 5, 36, "clumsy", **setting)
    act = env.policies["clumsy"](5)
    obs, info = env.reset(seed=5, options={"variation": setting})
    for _ in range(at):
        obs, _, _, _, info = env.step(act(obs, info))
    other.reset(seed=99)  # whatever it did before does not matter
    other.restore(pickle.loads(pickle.dumps(env.snapshot())))
    rest = [(obs, whole[at][1], info)]
    for _ in range(36 - at):
        obs, reward, _, _, info = other.step(act(obs, info))
        rest.append((obs, reward, info))
    assert _digest(rest) == _digest(whole[at:])
    assert [info["events"] for *_, info in rest[1:]] == [info["events"] for *_, info in whole[at + 1 :]]


def test_branches_agree_until_their_actions_differ(env):
    _play(env, 2, 5, "random")
    one, two = env.branch(2)
    assert np.array_equal(one.step(STILL)[0], two.step(STILL)[0])
    up = one.step(np.array([0, 0, 1, 0], np.float32))[-1]["state"]["hand"]["pos"]
    assert up[2] > two.step(STILL)[-1]["state"]["hand"]["pos"][2] + 0.02
    one.close()
    two.close()


def test_a_prompt_in_mid_episode_is_part_of_the_snapshot(env, other):
    bright = _play(env, 1, 1, "noop", light=1.0, **PLAIN)[-1]
    assert env.set_prompt("dim light on the moon") == []
    for _ in range(12):
        obs, *_, info = env.step(STILL)
    assert info["gravity"] == pytest.approx(1.62) and info["light"] < 0.7
    assert obs.mean() < 0.8 * bright[0].mean()
    assert info["caption"] != bright[-1]["caption"]
    other.restore(env.snapshot())
    assert np.array_equal(other.step(STILL)[0], env.step(STILL)[0])
    with pytest.raises(PromptError, match="light"):
        env.set_prompt("stack the blocks")


def test_pickled_envs_are_made_anew():
    table = TabletopEnv(height=32, width=48, task="push", reward="sparse")
    copy = pickle.loads(pickle.dumps(table))
    assert copy.observation_space.shape == (32, 48, 3)
    assert np.array_equal(copy.reset(seed=4)[0], table.reset(seed=4)[0])
    table.close()
    copy.close()


def test_what_is_wrong_is_said(env):
    with pytest.raises(EnvError, match="reset"):
        TabletopEnv().step(STILL)
    for wrong in (
        {"task": "juggle"},
        {"reward": "kind"},
        {"height": 16},
        {"cameras": ("top",)},
        {"render_mode": "tv"},
    ):
        with pytest.raises(EnvError, match=next(iter(wrong))):
            TabletopEnv(**wrong)
    env.reset(seed=0)
    for action in (np.full(4, np.nan), np.full(4, 1.1), np.zeros(7)):
        with pytest.raises(ActionError, match="dx"):
            env.step(action)
    with pytest.raises(EnvError, match="reach or push or stack"):
        env.reset(options={"variation": {"task": "juggle"}})
    with pytest.raises(EnvError, match="goal_x"):
        env.reset(options={"variation": {"task": "reach", "mass": 0.5}})
    with pytest.raises(EnvError, match="no task has all"):
        env.reset(options={"variation": {"height": 0.2, "mass": 0.5}})
    with pytest.raises(EnvError, match="train, low, high"):
        env.reset(options={"variation": {"split": "test"}})
    with pytest.raises(EnvError, match=r"from 1\.6 to 25"):
        env.reset(options={"variation": {"gravity": 100.0}})
    with pytest.raises(EnvError, match="TabletopSnapshot"):
        env.restore({})
    env.reset(seed=0, options={"variation": {"task": "reach"}})
    pusher = TabletopEnv(task="push")
    with pytest.raises(EnvError, match="push"):
        pusher.restore(env.snapshot())
    with pytest.raises(EnvError, match="push"):
        pusher.reset(options={"variation": {"task": "reach"}})
    pusher.close()


# ---- what is on the table


def test_every_task_is_drawn_about_equally_often_and_three_in_ten_episodes_change():
    table = TabletopEnv(height=32, width=32)
    seen = [table.reset(seed=seed)[1]["variation"] for seed in range(150)]
    table.close()
    assert all(30 < sum(v["task"] == task for v in seen) < 70 for task in TASKS)
    assert 30 < sum(v["change"] != "none" for v in seen) < 62


@pytest.mark.parametrize("task", TASKS)
def test_blocks_are_saturated_wide_enough_and_told_apart_by_hue(env, task):
    colors = np.array([PALETTE[name] for name in HUES], float)
    colors -= colors.mean(axis=1, keepdims=True)
    for seed in (0, 1, 2):
        setting = {"task": task, "extra": 1, "light": 1.0, "change": "none"}
        obs, info = env.reset(seed=seed, options={"variation": setting})
        masks, seen = env.masks(), obs.astype(float)
        blocks = [name for name in info["state"] if name in "abcd"]
        chroma = np.ptp(seen, axis=2) / np.maximum(seen.max(axis=2), 1)
        hues = set()
        for name in blocks:
            columns = np.flatnonzero(masks[name].any(axis=0))
            assert np.ptp(columns) + 1 >= 6, f"{name} is {np.ptp(columns) + 1} px wide"
            pixels = seen[masks[name]]
            across = (pixels - pixels.mean(axis=1, keepdims=True)) @ colors.T / np.linalg.norm(colors, axis=1)
            assert len(set(np.argmax(across, axis=1))) == 1
            assert (chroma[masks[name]] > 0.6).all()
            hues.add(int(np.argmax(across[0])))
        assert len(hues) == len(blocks)
        rest = ~np.any([masks[name] for name in blocks], axis=0)
        assert (chroma[rest] < 0.25).all()
        assert masks["hand"].sum() > 10 and masks["forearm"].sum() > 20


def test_what_does_not_move_keeps_its_pixels(env):
    trace = _play(env, 3, 30, "random", task="reach", **PLAIN)
    frames = np.stack([obs for obs, *_ in trace])
    assert (np.ptp(frames.astype(int), axis=0).max(axis=-1) == 0).mean() > 0.5


def test_splits_keep_to_their_ranges():
    rng = np.random.default_rng(0)
    for task in TASKS:
        factors = {**COMMON, **OWN[task]}
        axis, pair = factors[AXES[task]], [(name, factors[name]) for name in PAIRS[task]]
        draw = lambda split, t=task: drawn(t, split, rng.random(NUM_SHARES))  # noqa: E731
        for split in ("low", "high"):
            low, high = getattr(axis, split)
            assert all(low <= draw(split)[AXES[task]] <= high for _ in range(20))
        is_corner = lambda v, p=pair: all(  # noqa: E731
            v[name] > f.train[0] + 0.702 * (f.train[1] - f.train[0]) for name, f in p
        )
        assert not any(is_corner(draw("train")) for _ in range(200))
        assert sum(is_corner(draw("combination")) for _ in range(200)) > 150


def test_the_scene_card_names_every_factor_and_joint(env):
    card = env.scene_card
    assert set(card["tasks"]) == set(TASKS)
    assert card["tasks"]["push"]["factors"]["friction"]["high"] == [1.1, 1.5]
    assert len(card["joints"]) == 5 and set(card["cameras"]) == {"side", "wrist"}
    named = {*card["factors"], *card["tasks"]["stack"]["factors"]}
    assert set(env.reset(seed=0, options={"variation": {"task": "stack"}})[1]["variation"]) == named


def test_the_scene_is_exported_as_glb(env, tmp_path):
    env.reset(seed=0, options={"variation": {"task": "stack"}})
    env.export_scene(str(tmp_path / "table.glb"))
    nodes = trimesh.load(tmp_path / "table.glb").geometry
    assert {"a", "b", "forearm", "finger_left", "table"} <= {name.rsplit("_", 2)[0] for name in nodes}


def test_side_and_wrist_show_one_instant_in_every_mode(env):
    rig = TabletopEnv(cameras=("side", "wrist"), obs_modes=("rgb", "depth", "semantic", "instance", "state"))
    obs, info = rig.reset(seed=6, options={"variation": {"task": "stack", **PLAIN}})
    plain, _ = env.reset(seed=6, options={"variation": {"task": "stack", **PLAIN}})
    assert np.array_equal(obs["rgb/side"], plain)
    act = rig.policies["expert"](6)
    for _ in range(14):
        obs, *_, info = rig.step(act(obs, info))
    names = {row["name"]: row["id"] for row in rig.scene_card["semantic"]}
    for view in ("side", "wrist"):
        for name in ("gripper", "block"):
            assert (obs[f"semantic/{view}"] == names[name]).sum() > 8, f"{view} does not see the {name}"
        assert (obs[f"instance/{view}"] == info["instances"]["a"]).any()
    is_a = obs["instance/wrist"] == info["instances"]["a"]
    way = np.linalg.norm(info["state"]["a"]["pos"] - info["camera"]["wrist"]["c2w"][:3, 3])
    assert abs(obs["depth/wrist"][is_a].mean() - way) < 0.1
    rig.close()


# ---- words of the state


def test_the_caption_changes_when_the_light_does(env):
    setting = {"light": 1.05, "change": "light", "change_light": 0.62, "change_step": 5, "change_length": 6}
    trace = _play(env, 0, 12, "noop", task="reach", **setting)
    captions = [info["caption"]["en"] for *_, info in trace]
    assert len(set(captions[:6])) == 1 and len(set(captions[6:])) == 1 and captions[5] != captions[6]
    assert [e["factor"] for e in trace[6][2]["events"]] == ["light"]
    assert trace[-1][2]["light"] == 0.62
    means = [obs.mean() for obs, *_ in trace]
    assert means[5] > means[8] > means[11] and means[11] == means[12]


def test_prompts_in_both_languages_set_what_they_name(env):
    for text, task in (("push the red block in dim light", "push"), ("昏暗灯光下推动红色方块", "push")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            _, info = env.reset(seed=0, options={"prompt": text})
        assert info["task"]["name"] == task
        assert info["variation"]["hue"] == 0 and info["variation"]["light"] == 0.62
        assert info["variation"]["change"] == "none"
    with pytest.raises(PromptError):
        env.reset(options={"prompt": "zebra"})
    pusher = TabletopEnv(task="push")
    with pytest.warns(UserWarning, match="stack"):
        _, info = pusher.reset(seed=0, options={"prompt": "stack the red block"})
    assert info["task"]["name"] == "push" and info["prompt_unknown"]
    pusher.close()
