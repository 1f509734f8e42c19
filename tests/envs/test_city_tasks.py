"""Tasks, costs, events and cameras of the city."""

import math
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from worldsim_envs.city import CityEnv
from worldsim_envs.city.lights import CYCLE, colors
from worldsim_envs.city.state import WHEELBASE, middle

import worldsim  # noqa: F401 - registers the ids
from worldsim.errors import EnvError

PLAIN = {
    "change": "none", "time_of_day": "day", "weather": "clear", "traffic": "light", "pedestrians": "none", "bend": 0.0
}  # fmt: skip
REST = np.zeros(2, np.float32)


@pytest.fixture
def env():
    city = CityEnv(height=32, width=32)
    yield city
    city.close()


def _put(env, **changes):
    """Continue from the present moment with parts of the state changed."""
    snapshot = env.snapshot()
    env.restore(replace(snapshot, state=replace(snapshot.state, **changes)))


def _put_on_street(env, i, j, direction, skip, **changes):
    x, y, yaw, _ = env._layout.street_point(i, j, direction, skip)
    half = WHEELBASE / 2
    _put(
        env,
        x=x - half * math.cos(yaw),
        y=y - half * math.sin(yaw),
        yaw=yaw,
        route=(i, j, direction, round(skip, 3), 1),
        progress=0.0,
        cars=(),
        walkers=(),
        **changes,
    )


def test_tasks_have_the_citys_own_spaces_and_names():
    city = gym.make("worldsim/City-v0")
    for name, steps in (("CityLaneFollow", 400), ("CityRoute", 800)):
        task = gym.make(f"worldsim/{name}-v0")
        assert (task.observation_space, task.action_space) == (city.observation_space, city.action_space)
        assert task.spec.max_episode_steps == steps
        _, info = task.reset(seed=1)
        assert info["task"]["distance_left"] > 50 and info["is_success"] is False and info["instruction"]["zh"]
        task.close()
    city.close()
    with pytest.raises(EnvError, match="lane_follow, route"):
        CityEnv(task="park")


def test_keeping_the_lane_at_the_target_speed_earns_one_per_step():
    env = CityEnv(height=32, width=32, task="lane_follow")
    env.reset(seed=11, options={"variation": {**PLAIN, "start_speed": 6.0, "target_speed": 6.0}})
    _, reward, *_, info = env.step(np.array([0.0, 0.06], np.float32))
    assert reward == pytest.approx(1.0, abs=0.02) == sum(info["reward_terms"].values())
    _put(env, x=env._state.x - math.sin(env._state.yaw), y=env._state.y + math.cos(env._state.yaw), speed=3.0)
    *_, info = env.step(REST)
    assert info["route"]["offset"] == pytest.approx(1.0, abs=0.1)
    assert info["reward_terms"]["lane"] == pytest.approx(0.5 * math.exp(-((1 / 0.6) ** 2)), abs=0.02)
    assert info["reward_terms"]["speed"] == pytest.approx(0.25, abs=0.01)
    env.close()


def test_lane_keeping_succeeds_after_a_hundred_metres_without_a_fault():
    env = CityEnv(height=32, width=32, task="lane_follow")
    env.reset(seed=11, options={"variation": PLAIN})
    for faults, succeeds in ((0.0, True), (1.0, False)):
        _put(env, travelled=99.9, faults=faults, is_done=False)
        *_, info = env.step(REST)
        assert info["is_success"] is succeeds
        assert ("goal" in [event["name"] for event in info["events"]]) == succeeds
    env.close()


def test_a_route_ends_at_its_goal_with_ten_more():
    env = CityEnv(height=32, width=32, task="route")
    _, info = env.reset(seed=4, options={"variation": PLAIN})
    stops = env._layout.route(*env._state.route).stops
    assert info["task"]["distance_left"] == pytest.approx(stops[2, 1] + 15 - 2)
    assert info["task"]["next_turn"] == {1: "left", -1: "right", 0: "straight"}[int(stops[0, 5])]
    _put(env, goal=env._state.progress + 1.2)
    for _ in range(6):
        _, reward, terminated, _, info = env.step(REST)
        if terminated:
            break
    assert terminated and info["is_success"] and info["reward_terms"]["goal"] == 10.0 and reward > 10
    assert info["task"]["distance_left"] == 0.0
    env.close()


def test_a_lost_route_ends_without_success():
    env = CityEnv(height=32, width=32, task="route")
    env.reset(seed=4, options={"variation": PLAIN})
    x, y, yaw, _ = env._layout.street_point(6, 6, 2, 20.0)
    _put(env, x=x, y=y, yaw=yaw, cars=())
    *_, terminated, _, info = env.step(REST)
    assert terminated and not info["is_success"] and info["reward_terms"]["lost"] == -5.0
    env.close()


def test_a_snapshot_of_one_task_is_refused_by_another(env):
    env.reset(seed=1)
    other = CityEnv(height=32, width=32, task="route")
    with pytest.raises(EnvError, match="task none"):
        other.restore(env.snapshot())
    other.close()


def test_crossing_the_stop_line_on_red_costs_one_and_on_green_nothing(env):
    env.reset(seed=2, options={"variation": PLAIN})
    layout = env._layout
    i, j = next((i, j) for i in range(1, 6) for j in range(1, 6) if layout.offsets[i + 1][j] >= 0)
    offset = layout.offsets[i + 1][j]
    for color, cost in (("red", 1.0), ("green", 0.0)):
        step = next(s for s in range(CYCLE) if {colors(offset, s + k)[0] for k in range(14)} == {color})
        _put_on_street(env, i, j, 0, layout.street_length(i, j, 0) - 18.0, speed=8.0, step=step)
        costs, names = [], []
        for _ in range(9):
            *_, info = env.step(REST)
            costs.append(info["cost_terms"]["red_light"])
            names += [event["name"] for event in info["events"]]
        assert sum(costs) == cost and info["cost"] == info["cost_terms"]["red_light"] == costs[-1]
        assert ("red_light" in names) == (color == "red")


def test_turning_aside_before_a_red_light_is_no_fault(env):
    env.reset(seed=2, options={"variation": PLAIN})
    layout = env._layout
    i, j = next((i, j) for i in range(1, 6) for j in range(1, 6) if layout.offsets[i + 1][j] >= 0)
    offset = layout.offsets[i + 1][j]
    step = next(s for s in range(CYCLE) if {colors(offset, s + k)[0] for k in range(30)} == {"red"})
    for steer in (-1.0, 1.0):
        _put_on_street(env, i, j, 0, layout.street_length(i, j, 0) - 38.0, speed=4.0, step=step)
        for _ in range(25):
            *_, terminated, _, info = env.step(np.array([steer, -0.05], np.float32))
            assert info["cost_terms"]["red_light"] == 0.0
            if terminated:
                break


def test_a_lidar_meets_the_same_solids_whatever_the_cameras_see():
    envs = [
        CityEnv(height=32, width=32, lidar=True, cameras=names) for names in (("front",), ("front", "rear", "left"))
    ]
    for seed in range(3):
        for env in envs:
            env.reset(seed=seed, options={"variation": {"change": "none"}})
        for _ in range(5):
            one, other = (env.step(REST)[0]["lidar"] for env in envs)
            np.testing.assert_array_equal(one, other)
            assert (one[96:160] < 60).any()  # there are houses behind it, which the front camera does not see
    for env in envs:
        env.close()


def test_people_are_in_the_state_and_walk_at_their_own_height(env):
    _, info = env.reset(seed=5, options={"variation": {**PLAIN, "pedestrians": "many"}})
    people = {name: body for name, body in info["state"].items() if name.startswith("pedestrian")}
    assert len(people) >= 4
    assert {round(body["pos"][2], 2) for body in people.values()} <= {0.9, 1.07}
    *_, info = env.step(REST)
    paces = [np.linalg.norm(info["state"][name]["vel"]) for name in people]
    assert 1.2 < max(paces) < 2.0


def test_leaving_ones_lane_and_coming_back_are_events(env):
    env.reset(seed=2, options={"variation": {**PLAIN, "side": "right"}})
    _put_on_street(env, 3, 3, 0, 16.0, speed=7.0)
    changes = []
    for steer in [0.3] * 8 + [-0.3] * 16:
        *_, terminated, _, info = env.step(np.array([steer, 0.0], np.float32))
        changes += [event["to"] for event in info["events"] if event["name"] == "lane_change"]
        assert not terminated
    assert changes[:2] == ["oncoming", "own"]


def test_the_ego_is_seen_from_outside_and_not_from_within():
    names = ("front", "left", "right", "rear", "chase", "birds_eye")
    env = CityEnv(cameras=names, obs_modes=("rgb", "depth", "semantic", "instance"), lidar=True)
    obs, info = env.reset(seed=3, options={"variation": PLAIN})
    assert set(info["camera"]) == set(names) and env.observation_space.contains(obs)
    ego = info["instances"]["ego"]
    share = {name: (obs[f"instance/{name}"] == ego).mean() for name in names}
    assert share["chase"] > 0.02 and share["birds_eye"] > 0.002
    assert all(share[name] == 0 for name in names[:4])
    alone = CityEnv()
    frame, _ = alone.reset(seed=3, options={"variation": PLAIN})
    assert np.array_equal(frame, obs["rgb/front"])
    for city in (env, alone):
        city.close()


def test_masks_depth_and_ranges_tell_of_the_same_things():
    env = CityEnv(obs_modes=("rgb", "depth", "semantic", "instance"), lidar=True)
    classes = [row["name"] for row in env.scene_card["semantic"]]
    found = 0
    for seed in range(6):
        obs, info = env.reset(seed=seed, options={"variation": {**PLAIN, "traffic": "heavy"}})
        x, y, yaw = middle(env._state)
        assert classes.index("road") == np.bincount(obs["semantic/front"][50:].ravel()).argmax()
        assert (obs["depth/front"][obs["semantic/front"] == classes.index("sky")] > 159).all()
        for name, body in info["state"].items():
            seen = obs["instance/front"] == info["instances"][name]
            if name == "ego" or seen.sum() < 12:
                continue
            dx, dy, _ = body["pos"] - (x, y, 0)
            ahead = dx * math.cos(yaw) + dy * math.sin(yaw)
            assert np.median(obs["depth/front"][seen]) == pytest.approx(ahead, abs=3.0)
            assert (obs["semantic/front"][seen] == classes.index("vehicle")).mean() > 0.9
            beam = round((math.atan2(dy, dx) - yaw) / (2 * math.pi) * 256) % 256
            assert obs["lidar"][beam] == pytest.approx(math.hypot(dx, dy), abs=3.0)
            found += 1
    assert found >= 1
    env.close()
