"""The arm goes where it is told, within its limits, and holds by friction; tasks are paid and judged as they say."""

import numpy as np
import pytest
from worldsim_envs.tabletop import TASKS, TabletopEnv
from worldsim_envs.tabletop.arm import JOINTS, WORKSPACE, angles_for, clamped, tip_of

STILL = np.zeros(4, np.float32)
PLAIN = {"change": "none", "extra": 0, "hand_x": 0.0, "hand_y": 0.0}
LIMITS = np.array(list(JOINTS.values()))


@pytest.fixture(scope="module")
def env():
    table = TabletopEnv(height=32, width=32)
    yield table
    table.close()


def _begin(env, seed=0, **variation):
    return env.reset(seed=seed, options={"variation": {**PLAIN, **variation}})[1]


def _hold(env, action, steps):
    infos = [env.step(np.asarray(action, np.float32))[-1] for _ in range(steps)]
    return infos[-1], [event for info in infos for event in info["events"]]


def _run(env, seed, policy, steps=100, **variation):
    """Return the infos and rewards of an episode up to its end."""
    obs, info = env.reset(seed=seed, options={"variation": variation})
    act = env.policies[policy](seed)
    infos, rewards, ended = [info], [], False
    while not ended and len(rewards) < steps:
        obs, reward, ended, _, info = env.step(act(obs, info))
        infos.append(info)
        rewards.append(reward)
    return infos, rewards, ended


# ---- the arm


def test_every_point_of_the_workspace_is_reached_within_the_limits_of_the_joints():
    axes = [np.linspace(low, high, 9) for low, high in WORKSPACE]
    for tip in np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 3):
        point = clamped(tip)
        angles = angles_for(point)
        np.testing.assert_allclose(tip_of(angles), point, atol=1e-9)
        assert (LIMITS[:, 0] <= angles).all() and (angles <= LIMITS[:, 1]).all(), f"{tip} needs {np.round(angles, 2)}"


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_action_moves_the_hand_by_so_many_metres_per_step(env, axis):
    begun = _begin(env, task="reach")["state"]["hand"]["pos"]
    action = STILL.copy()
    action[axis] = -0.8
    info, _ = _hold(env, action, 4)
    way = info["state"]["hand"]["pos"] - begun
    assert way[axis] == pytest.approx(4 * 0.8 * env.action_spec[axis].low, abs=2e-3)
    assert np.abs(np.delete(way, axis)).max() < 2e-3
    stayed, _ = _hold(env, STILL, 10)
    np.testing.assert_allclose(stayed["state"]["hand"]["pos"], info["state"]["hand"]["pos"], atol=2e-3)


def test_joints_keep_their_limits_and_the_hand_its_workspace_whatever_is_asked(env):
    rng = np.random.default_rng(0)
    _begin(env, task="reach")
    for _ in range(30):
        info, _ = _hold(env, np.sign(rng.normal(size=4)), 6)
        assert (LIMITS[:, 0] - 0.02 <= info["joints"]).all() and (info["joints"] <= LIMITS[:, 1] + 0.02).all()
        for value, (low, high) in zip(info["state"]["hand"]["pos"], WORKSPACE, strict=True):
            assert low - 0.01 <= value <= high + 0.01
        x, y, z, _ = info["state"]["hand"]["quat"]
        assert max(abs(x), abs(y), abs(z)) < 0.05, "the gripper points down"


def test_an_arm_that_was_stopped_does_not_store_up_its_push(env):
    _begin(env, task="reach", hand_x=0.16)
    _hold(env, (1, 0, 0, 0), 40)  # as far as it goes
    far = env.step(STILL)[-1]["state"]["hand"]["pos"][0]
    back = _hold(env, (-1, 0, 0, 0), 3)[0]["state"]["hand"]["pos"][0]
    assert far - back == pytest.approx(0.09, abs=0.02)


def test_the_parts_of_the_arm_hang_together(env):
    state = _begin(env, task="reach")["state"]
    left, right, hand = (state[name]["pos"] for name in ("finger_left", "finger_right", "hand"))
    np.testing.assert_allclose((left + right) / 2 - hand, (0, 0, 0.05), atol=1e-3)
    gap = right[0] - left[0] - 2 * 0.012
    assert gap == pytest.approx(_begin(env, task="reach")["gap"], abs=1e-3)


# ---- holding


def _lifted(env, **factors):
    """Close on block a, lift it, and return the last info and the events."""
    info = _begin(env, task="stack", yaw=0.0, **factors)
    for height in (0.16, 0.06):
        for _ in range(30):
            way = np.array([*info["state"]["a"]["pos"][:2], height]) - info["state"]["hand"]["pos"]
            info, _ = _hold(env, [*np.clip(way / 0.03, -1, 1), -1], 1)
    _, closing = _hold(env, (0, 0, 0, 1), 6)
    info, events = _hold(env, (0, 0, 0.5, 0), 12)
    return info, closing + events


def test_the_fingers_hold_a_block_by_friction(env):
    info, events = _lifted(env, mass=0.8, friction=0.4, size=0.12)
    assert info["state"]["a"]["pos"][2] > 0.15
    assert info["gap"] == pytest.approx(0.12, abs=4e-3)
    assert [e["name"] for e in events if e.get("body") == "a"] == ["grasp"]
    held, _ = _hold(env, STILL, 20)
    assert info["state"]["a"]["pos"][2] - held["state"]["a"]["pos"][2] < 0.01
    let_go, events = _hold(env, (0, 0, 0, -1), 12)
    assert let_go["state"]["a"]["pos"][2] < 0.07
    assert next(e["name"] for e in events if e.get("body") == "a") == "drop"


def test_what_is_heavy_and_slippery_stays_on_the_table(env):
    info, _ = _lifted(env, mass=2.5, friction=0.1, size=0.12)
    assert info["state"]["a"]["pos"][2] < 0.08


@pytest.mark.parametrize(("friction", "gravity"), [(0.1, 9.81), (0.2, 9.81), (0.3, 4.0)])
def test_a_block_that_was_flicked_slows_down_by_friction_times_gravity(env, friction, gravity):
    setting = {"side": "left", "bearing": 0.0, "yaw": 0.0, "centre_y": 0.0, "friction": friction, "gravity": gravity}
    info = _begin(env, task="push", **setting)
    for target in ((-0.16, 0.0, 0.2), (-0.16, 0.0, 0.06)):
        for _ in range(20):
            way = np.clip((np.array(target) - info["state"]["hand"]["pos"]) / 0.03, -1, 1)
            info, _ = _hold(env, [*way, 1], 1)
    _hold(env, (1, 0, 0, 1), 4)
    _hold(env, (-1, 0, 0, 1), 2)
    speeds = [env.step(STILL)[-1]["state"]["a"]["vel"][0] for _ in range(3)]
    slowing = -np.diff(speeds) / env.control_dt
    assert speeds[-1] > 0
    np.testing.assert_allclose(slowing, friction * gravity, rtol=0.03)


# ---- tasks


@pytest.mark.parametrize("task", TASKS)
def test_experts_succeed_and_chance_does_not(env, task):
    done = {"expert": 0, "random": 0}
    for policy in done:
        for seed in range(3):
            infos, rewards, _ = _run(env, seed, policy, task=task)
            done[policy] += infos[-1]["is_success"]
            assert infos[-1]["is_success"] == infos[-1]["task"]["is_success"]
            assert all(set(i["reward_terms"]) == {"approach", "nearer", "success"} for i in infos)
            gain = {k: sum(info["reward_terms"][k] for info in infos) for k in ("nearer", "success")}
            assert gain["nearer"] == pytest.approx(infos[0]["task"]["distance"] - infos[-1]["task"]["distance"])
            assert gain["success"] == infos[-1]["is_success"] - infos[0]["is_success"]
            assert sum(rewards) == pytest.approx(sum(sum(info["reward_terms"].values()) for info in infos))
    assert done["expert"] == 3
    assert done["random"] <= 1


def test_stacking_is_told_in_order(env):
    infos, *_ = _run(env, 1, "expert", task="stack", **PLAIN)
    names = [event["name"] for info in infos for event in info["events"] if event.get("body", "a") == "a"]
    assert [name for name in names if name in ("grasp", "release", "drop", "success")][:3] == [
        "grasp",
        "release",
        "success",
    ]
    assert all(event["en"] and event["zh"] for info in infos for event in info["events"])


def test_sparse_reward_is_one_while_the_task_is_done():
    table = TabletopEnv(height=32, width=32, task="reach", reward="sparse")
    infos, rewards, _ = _run(table, 0, "expert", 30)
    table.close()
    assert rewards == [float(info["is_success"]) for info in infos[1:]]
    assert rewards[0] == 0.0 and rewards[-1] == 1.0


def test_a_block_of_the_task_that_is_swept_off_the_table_ends_the_episode(env):
    infos, _, ended = _run(env, 0, "sweep", task="push", **PLAIN)
    assert ended and len(infos) < 100
    assert infos[-1]["state"]["a"]["pos"][2] < -0.03
    assert [event["name"] for event in infos[-1]["events"]][-1] == "fall"
    assert infos[-1]["cost"] == 1.0 and not infos[-1]["is_success"]
    _, _, ended = _run(env, 0, "sweep", task="reach", **PLAIN)
    assert not ended, "a block that stands by may fall"


@pytest.mark.parametrize("task", TASKS)
def test_skill_orders_the_policies(env, task):
    """The mean return of five episodes ranks expert before random, and random does not finish what it began."""
    returns = {p: np.mean([sum(_run(env, s, p, 60, task=task)[1]) for s in range(5)]) for p in ("expert", "random")}
    assert returns["expert"] > returns["random"] + 0.3
