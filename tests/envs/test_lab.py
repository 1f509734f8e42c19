"""The bench keeps the promises of the truth protocol, in all of its twenty scenarios."""

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
from worldsim_envs.lab import SCENARIOS, LabEnv
from worldsim_envs.lab.factors import drawn
from worldsim_envs.lab.paint import HUES, PALETTE, color_of
from worldsim_envs.lab.words import LAB_WORDS, lab_caption

import worldsim  # noqa: F401 - registers the ids
from worldsim.errors import ActionError, EnvError, PromptError
from worldsim.rollout import Truth

STILL = np.zeros(8, np.float32)
ACTING = {"push", "pick_place", "cart", "camera"}
PLAIN = {"change": "none"}


@pytest.fixture(scope="module")
def env():
    lab = LabEnv()
    yield lab
    lab.close()


@pytest.fixture(scope="module")
def other():
    lab = LabEnv()
    yield lab
    lab.close()


def _play(env, seed, steps, policy="mixture", options=None):
    obs, info = env.reset(seed=seed, options=options)
    act = env.policies[policy](seed)
    trace = [(obs, 0.0, info)]
    for _ in range(steps):
        obs, reward, _, _, info = env.step(act(obs, info))
        trace.append((obs, reward, info))
    return trace


def _digest(trace):
    digest = hashlib.sha256()
    for obs, reward, info in trace:
        digest.update(obs.tobytes() + np.float64(reward).tobytes())
        for name, parts in sorted(info["state"].items()):
            digest.update(name.encode() + b"".join(parts[part].tobytes() for part in ("pos", "quat", "vel", "ang")))
    return digest.hexdigest()


def _hue(colors):
    """Return unit vectors (N, 3) across the grey axis."""
    across = colors - colors.mean(axis=1, keepdims=True)
    return across / np.linalg.norm(across, axis=1, keepdims=True)


# ---- contracts


def test_it_passes_gymnasiums_checks():
    made = gym.make("worldsim/Lab-v0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(made.unwrapped)
    assert made.spec.max_episode_steps == 96
    assert isinstance(made.unwrapped, Truth)
    made.close()
    made.close()


def test_it_passes_the_checks_of_stable_baselines3(env):
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        checker.check_env(env)


def test_vector_envs_in_other_processes_agree_with_one_here(env):
    envs = gym.make_vec("worldsim/Lab-v0", num_envs=2, vectorization_mode="async", vector_kwargs={"context": "spawn"})
    try:
        first, _ = envs.reset(seed=[3, 4])
        then, *_ = envs.step(np.zeros((2, 8), np.float32))
    finally:
        envs.close()
    for index, seed in enumerate((3, 4)):
        obs, _ = env.reset(seed=seed)
        assert np.array_equal(first[index], obs)
        assert np.array_equal(then[index], env.step(STILL)[0])


def test_another_process_gives_the_same_bits(env):
    code = (
        "import sys; sys.path.insert(0, 'tests/envs'); from test_lab import *; from test_lab import _digest, _play\n"
        "print(_digest(_play(LabEnv(), 11, 12, 'random', {'scenario': 'clutter'})))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split()[-1] == _digest(_play(env, 11, 12, "random", {"scenario": "clutter"}))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_restored_episode_continues_bit_for_bit_in_another_env(env, other, scenario):
    options = {"scenario": scenario, "variation": {"change": "gravity", "change_step": 4, "change_length": 6}}
    whole = _play(env, 5, 16, "random", options)
    act = env.policies["random"](5)
    obs, info = env.reset(seed=5, options=options)
    for _ in range(9):
        obs, _, _, _, info = env.step(act(obs, info))
    other.reset(seed=99)  # whatever it did before does not matter
    other.restore(pickle.loads(pickle.dumps(env.snapshot())))
    assert np.array_equal(other._obs, obs)
    rest = [(obs, whole[9][1], info)]
    for _ in range(7):
        obs, reward, _, _, info = other.step(act(obs, info))
        rest.append((obs, reward, info))
    assert _digest(rest) == _digest(whole[9:])
    assert [info["events"] for *_, info in rest[1:]] == [info["events"] for *_, info in whole[10:]]


def test_branches_agree_until_their_actions_differ(env):
    env.reset(seed=2, options={"scenario": "rolling"})
    env.step(STILL)
    one, two = env.branch(2)
    assert np.array_equal(one.step(STILL)[0], two.step(STILL)[0])
    kick = STILL.copy()
    kick[0] = 1.0
    one.step(kick)
    two.step(STILL)
    assert one.trajectory["a"][-1, 7] > two.trajectory["a"][-1, 7]
    one.close()
    two.close()


def test_a_prompt_in_mid_episode_is_part_of_the_snapshot(env, other):
    env.reset(seed=1, options={"scenario": "pendulum", "variation": PLAIN})
    env.step(STILL)
    before = env._caption
    with pytest.warns(UserWarning, match="purple"):
        assert env.set_prompt("on jupiter, purple") == ["purple"]
    for _ in range(12):
        *_, info = env.step(STILL)
    assert info["gravity"] == pytest.approx(24.79)
    assert info["caption"] != before and info["prompt_unknown"] == ["purple"]
    other.restore(env.snapshot())
    assert np.array_equal(other.step(STILL)[0], env.step(STILL)[0])
    with pytest.raises(PromptError, match="gravity"):
        env.set_prompt("dominoes")


def test_looking_back_at_240_hz_changes_nothing(env, other):
    for lab, looks in ((env, True), (other, False)):
        lab.reset(seed=9, options={"scenario": "dominoes", "variation": PLAIN})
        lab.step(STILL)
        if looks:
            before = lab.trajectory
        lab.step(STILL)
    after = env.trajectory
    assert all(np.array_equal(after[name][: len(rows)], rows) for name, rows in before.items())
    assert all(np.array_equal(rows[-1], other.trajectory[name][-1]) for name, rows in after.items())
    assert np.array_equal(after["a"][-1][:3], env._info([], 0.0)["state"]["a"]["pos"])


def test_pickled_envs_are_made_anew():
    lab = LabEnv(height=32, width=48)
    copy = pickle.loads(pickle.dumps(lab))
    assert copy.observation_space.shape == (32, 48, 3)
    assert np.array_equal(copy.reset(seed=4)[0], lab.reset(seed=4)[0])
    lab.close()
    copy.close()


def test_what_is_wrong_is_said(env):
    with pytest.raises(EnvError, match="reset"):
        LabEnv().step(STILL)
    env.reset(seed=0)
    for action in (np.full(8, np.nan), np.full(8, 1.1), np.zeros(7)):
        with pytest.raises(ActionError, match="impulse"):
            env.step(action)
    with pytest.raises(EnvError, match="free_fall"):
        env.reset(options={"scenario": "falling"})
    with pytest.raises(EnvError, match="restitution"):
        env.reset(options={"scenario": "free_fall", "variation": {"friction": 0.5}})
    with pytest.raises(EnvError, match="train, low, high"):
        env.reset(options={"variation": {"split": "test"}})
    with pytest.raises(EnvError, match=r"from 1\.6 to 25"):
        env.reset(options={"variation": {"gravity": 100.0}})
    with pytest.raises(EnvError, match="LabSnapshot"):
        env.restore({})
    with pytest.raises(EnvError, match="pixels"):
        LabEnv(height=16)


# ---- what is on the bench


def test_every_scenario_is_drawn_about_equally_often():
    lab = LabEnv(height=32, width=32)
    seen = [lab.reset(seed=seed)[1]["variation"]["scenario"] for seed in range(120)]
    lab.close()
    assert set(seen) == set(SCENARIOS)
    assert max(seen.count(name) for name in SCENARIOS) < 18


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_objects_are_saturated_wide_enough_and_told_apart_by_hue(env, scenario):
    for seed in (0, 1):
        obs, info = env.reset(seed=seed, options={"scenario": scenario, "variation": {"side": "left"}})
        masks = env.masks()
        movers = [name for name in info["state"] if name in "abcdefgh"]
        hues = {name: color_of(info["variation"]["hue"], "abcdefgh".index(name)) for name in movers}
        assert len(set(hues.values())) == len(movers)
        seen = obs.astype(float)
        chroma = np.ptp(seen, axis=2) / np.maximum(seen.max(axis=2), 1)
        colors = np.array([PALETTE[name] for name in HUES], float)
        for name in movers:
            mask = masks[name]
            columns = np.flatnonzero(mask.any(axis=0))
            assert np.ptp(columns) + 1 >= 8, f"{name} is {np.ptp(columns) + 1} px wide"
            pixels = seen[mask & (chroma > 0.5)]
            assert len(pixels) > 0.5 * mask.sum()  # the rest is a rod
            nearest = np.argmax(_hue(pixels) @ _hue(colors).T, axis=1)
            assert np.median(nearest == HUES.index(hues[name])) == 1
        rest = ~np.any([masks[name] for name in movers], axis=0)
        assert (chroma[rest] < 0.25).all()


@pytest.mark.parametrize(("speed", "hidden_steps"), [(0.8, 3), (1.0, 12), (1.5, 6), (1.8, 24)])
def test_a_screen_hides_the_ball_for_as_long_as_it_says(env, speed, hidden_steps):
    setting = {"speed": speed, "hidden_steps": hidden_steps, "side": "left", **PLAIN}
    env.reset(seed=0, options={"scenario": "occlusion", "variation": setting})
    hidden = []
    for _ in range(60):
        env.step(STILL)
        hidden.append(not env.masks()["a"].any())
    first = hidden.index(True)
    assert abs(hidden[first:].index(False) - hidden_steps) <= 2


def test_left_and_right_are_mirror_images(env):
    for scenario in ("ramp", "collision_2d", "containment", "pendulum"):
        ends = []
        for side in ("left", "right"):
            trace = _play(env, 3, 40, "noop", {"scenario": scenario, "variation": {"side": side, **PLAIN}})
            ends.append(trace[-1][2]["state"]["a"]["pos"])
        np.testing.assert_allclose(ends[0] * (-1, 1, 1), ends[1], atol=1e-3)


def test_a_counterfactual_pair_differs_in_one_factor_and_begins_alike(env):
    pair = []
    for gravity in (7.0, 12.0):
        trace = _play(env, 8, 6, "noop", {"scenario": "two_drops", "variation": {"gravity": gravity, **PLAIN}})
        pair.append(trace)
    (first, _, info), (second, _, changed) = pair[0][0], pair[1][0]
    assert np.array_equal(first, second)
    assert {k for k in info["variation"] if info["variation"][k] != changed["variation"][k]} == {"gravity"}
    assert pair[0][-1][2]["state"]["a"]["pos"][2] > pair[1][-1][2]["state"]["a"]["pos"][2]


def test_splits_keep_to_their_ranges():
    rng = np.random.default_rng(0)
    for scenario in SCENARIOS.values():
        axis, pair = scenario.all_factors[scenario.axis], [scenario.factors[name] for name in scenario.pair]
        draw = lambda split, s=scenario: drawn(s.factors, s.axis, s.pair, split, rng.random(31))  # noqa: E731
        for split in ("low", "high"):
            low, high = getattr(axis, split)
            assert all(low <= draw(split)[scenario.axis] <= high for _ in range(20))
        is_corner = lambda v, p=pair, s=scenario: all(  # noqa: E731
            v[name] > f.train[0] + 0.72 * (f.train[1] - f.train[0]) for name, f in zip(s.pair, p, strict=True)
        )
        if any(f.is_integer for f in pair):
            continue  # shares, not values, have the corner's border
        assert not any(is_corner(draw("train")) for _ in range(200))
        assert sum(is_corner(draw("combination")) for _ in range(200)) > 100


def test_the_scene_card_names_every_scenario_and_range(env):
    card = env.scene_card
    assert len(card["scenarios"]) == 20
    assert card["scenarios"]["free_fall"]["factors"]["restitution"]["high"] == [0.9, 0.98]
    assert card["ground_plane"] == {"normal": [0.0, 0.0, 1.0], "offset_m": 0.0}


def test_the_scene_is_exported_as_glb(env, tmp_path):
    env.reset(seed=0, options={"scenario": "pick_place"})
    env.export_scene(str(tmp_path / "bench.glb"))
    nodes = trimesh.load(tmp_path / "bench.glb").geometry
    assert any(name.startswith("a_") for name in nodes) and any(name.startswith("hand") for name in nodes)


# ---- acting


@pytest.mark.parametrize(
    ("scenario", "index"),
    [
        ("free_fall", 0),
        ("push", 1),
        ("push", 2),
        ("push", 3),
        ("pick_place", 4),
        ("cart", 5),
        ("cart", 6),
        ("camera", 7),
    ],
)
def test_an_action_shows_in_the_next_frame_and_not_before(env, scenario, index):
    action = STILL.copy()
    action[index] = 1.0
    frames = []
    for then in (STILL, action):
        env.reset(seed=1, options={"scenario": scenario, "variation": PLAIN})
        frames.append([env.step(STILL)[0], *(env.step(then)[0] for _ in range(8))])
    assert np.array_equal(frames[0][0], frames[1][0])
    assert not np.array_equal(frames[0][-1], frames[1][-1])


def test_actions_that_a_scenario_lacks_do_nothing(env):
    for scenario, live in (("rolling", 0), ("camera", 7)):
        action = np.ones(8, np.float32)
        action[live] = 0.0
        ends = []
        for then in (STILL, action):
            env.reset(seed=1, options={"scenario": scenario})
            ends.append([env.step(then)[0] for _ in range(3)][-1])
        assert np.array_equal(*ends)


@pytest.mark.parametrize("scenario", ["push", "pick_place", "cart"])
def test_experts_reach_the_mark_and_chance_does_not(env, scenario):
    reached = {"expert": 0, "random": 0}
    for policy in reached:
        for seed in range(3):
            trace = _play(env, seed, 96, policy, {"scenario": scenario, "variation": PLAIN})
            reached[policy] += trace[-1][2]["task"]["is_success"]
            gain = trace[0][2]["task"]["distance"] - trace[-1][2]["task"]["distance"]
            assert sum(reward for _, reward, _ in trace) == pytest.approx(gain)
    assert reached["expert"] == 3
    assert reached["random"] <= 1


# ---- words


def test_prompts_in_both_languages_set_what_they_name(env):
    for text, scenario, gravity in (
        ("dominoes on the moon", "dominoes", 1.62),
        ("木星上的钟摆", "pendulum", 24.79),
        ("a double pendulum", "double_pendulum", None),
    ):
        _, info = env.reset(seed=0, options={"prompt": text})
        assert info["variation"]["scenario"] == scenario and info["prompt_unknown"] == []
        assert gravity is None or info["variation"]["gravity"] == gravity


@pytest.mark.parametrize(
    "prompt", ["a heavy bouncy ball on ice", "沉重有弹性的球在冰面上", "a small slippery bouncy ball"]
)
def test_words_that_no_scenario_has_together_are_handed_back(env, prompt):
    with pytest.warns(UserWarning, match="cannot express"):
        _, info = env.reset(seed=1, options={"prompt": prompt})
    assert info["prompt_unknown"]


def test_words_that_fit_no_scenario_are_reported(env):
    with pytest.warns(UserWarning, match="slippery"):
        _, info = env.reset(seed=0, options={"prompt": "a slippery pendulum"})
    assert "slippery" in info["prompt_unknown"]
    _, info = env.reset(seed=0, options={"prompt": "slippery"})
    assert info["prompt_unknown"] == [] and "friction" in info["variation"]
    with pytest.raises(PromptError):
        env.reset(options={"prompt": "zebra"})


def test_a_prompt_sets_colour_side_and_size_and_the_task_is_said_in_words(env):
    _, info = env.reset(seed=0, options={"prompt": "push a heavy blue block from the right"})
    v = info["variation"]
    assert (v["scenario"], v["hue"], v["side"]) == ("push", 5, "right") and v["mass"] > 1.5
    assert info["prompt_unknown"] == [] and "blue block" in info["instruction"]["en"]
    _, info = env.reset(seed=0, options={"prompt": "一个小的红色球自由落体"})
    assert info["variation"]["hue"] == 0 and "红色" in info["caption"]["zh"]
    assert "instruction" not in info


def test_the_caption_changes_when_gravity_does(env):
    setting = {"gravity": 9.81, "change": "gravity", "change_to": 2.0, "change_step": 5, "change_length": 6}
    trace = _play(env, 0, 12, "noop", {"scenario": "free_fall", "variation": setting})
    captions = [info["caption"]["en"] for *_, info in trace]
    assert len(set(captions[:6])) == 1 and len(set(captions[6:])) == 1 and captions[5] != captions[6]
    event = trace[6][2]["events"][0]
    assert (event["name"], event["factor"], event["to"], event["band"]) == ("change", "gravity", 2.0, "weak")
    assert trace[-1][2]["gravity"] == 2.0


def test_held_out_wordings_are_never_used_in_training():
    for name in SCENARIOS:
        texts = {
            held: {lab_caption({"scenario": name}, "red", "weak", held, (k,))["en"] for k in range(200)}
            for held in (False, True)
        }
        assert len(texts[False]) > 100 and len(texts[True]) > 20
        assert not texts[False] & texts[True]


def test_the_vocabulary_names_every_scenario_in_both_languages():
    for name in SCENARIOS:
        phrases = LAB_WORDS.phrases["scenario", name]
        assert any(p.isascii() for p in phrases) and not all(p.isascii() for p in phrases)


def test_contacts_and_falls_are_events_with_times_within_their_step(env):
    env.reset(seed=0, options={"scenario": "dominoes", "variation": {"missing": 0, **PLAIN}})
    for step in range(20):
        *_, info = env.step(STILL)
        for event in info["events"]:
            if event["name"] == "contact":
                assert step * 0.05 < event["time_s"] <= (step + 1) * 0.05 + 1e-4
                assert event["en"] and event["zh"]
    assert len(env.trajectory["a"]) == 1 + 20 * 12
    assert {("a", "b")} <= {(c.first, c.second) for c in env.contacts}
