"""Drivers and routes of the city, without a renderer."""

import numpy as np
import pytest
from worldsim_envs.city.layout import LANE, Layout
from worldsim_envs.city.policies import POLICIES


def _route(offset=0.0, bend=0.0, speed=7.0, gap=100.0, light=(100.0, "none")):
    ahead = np.arange(2, 22, 2.0)
    points = np.stack([ahead, bend * ahead**2 / 2 - offset], axis=1)
    return {
        "route": {
            "speed": speed,
            "offset": offset,
            "heading_error": 0.0,
            "curvature": bend,
            "gap": gap,
            "points": points,
            "light": {"distance": light[0], "color": light[1]},
        }
    }


@pytest.mark.parametrize("name", list(POLICIES))
def test_a_policy_is_a_function_of_its_seed(name):
    runs = [[POLICIES[name](seed)(None, _route()) for _ in range(3)] for seed in (1, 1, 2)]
    assert np.array_equal(runs[0], runs[1])
    action = runs[0][0]
    assert action.shape == (2,) and action.dtype == np.float32 and np.abs(action).max() <= 1


def test_the_lane_follower_steers_back_brakes_for_cars_and_slows_for_turns():
    act = POLICIES["lane_follower"](0)
    assert act(None, _route(offset=1.0))[0] < -0.05 < 0.05 < act(None, _route(offset=-1.0))[0]
    assert act(None, _route(gap=6.0))[1] < -0.3
    assert act(None, _route(bend=1 / 9.25))[1] < act(None, _route())[1]
    assert act(None, _route(light=(6.0, "red")))[1] < -0.3 < 0 < act(None, _route(light=(6.0, "green")))[1]


def test_the_mixture_leans_neither_left_nor_right():
    steers = []
    for seed in range(300):
        act = POLICIES["mixture"](seed)
        steers += [act(None, _route())[0] for _ in range(30)]
    steers = np.array(steers)
    assert 0.45 < (steers > 0.02).sum() / (np.abs(steers) > 0.02).sum() < 0.55


def test_a_route_is_smooth_stays_on_the_road_and_inside_the_map():
    for seed in range(3):
        for side in (1, -1):
            layout = Layout(seed, side, "light", 1.0, 0.0)
            points = layout.route(3, 3, seed % 4, 15.0, seed).points
            steps = np.hypot(*np.diff(points[:, :2], axis=0).T)
            assert steps.max() < 1.01 and steps.min() > 0.95
            assert max(layout.off_road(x, y) for x, y in points[:, :2]) == 0
            assert np.abs(np.diff(points[:, 2])).max() < 0.2
            assert np.abs(points[:, 3]).max() == pytest.approx(1 / 5.75)


def test_keeping_left_is_the_mirror_of_keeping_right():
    right, left = Layout(0, 1, "light", 1.0, 0.0), Layout(0, -1, "light", 1.0, 0.0)
    middle = right.lines[1][3]
    assert right.street_point(3, 3, 0, 20.0)[1] == pytest.approx(middle - LANE)
    assert left.street_point(3, 3, 0, 20.0)[1] == pytest.approx(middle + LANE)
