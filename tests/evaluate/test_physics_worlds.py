"""Control in City and Tabletop, whose state is not read from frames: the truth's own branches are the ruler."""

import gymnasium as gym
import numpy as np
import pytest

from worldsim.evaluate.physics.clip import record_clip
from worldsim.evaluate.physics.control import PROBES, Probe, probe_requests, record_sweep, score_probe

DOSES = (-1.0, 0.0, 1.0)
STEER = Probe(
    dimension="steer", doses=(-0.4, 0.0, 0.4), hold=10, horizon=10, lateral=("steer",), loops=True, body="ego"
)
REACH = Probe(dimension="dx", doses=DOSES, hold=10, horizon=10, lateral=("dx",), loops=True, body="hand")


@pytest.fixture(scope="module")
def steer():
    env = gym.make("worldsim/City-v0", disable_env_checker=True)
    yield record_sweep(env, STEER, 0, seed=208_000, num_context=4)
    env.close()


@pytest.fixture(scope="module")
def reach():
    env = gym.make("worldsim/Tabletop-v0", disable_env_checker=True)
    yield record_sweep(env, REACH, 0, seed=208_000, num_context=4)
    env.close()


def truth_of(sweep):
    answers = {sweep.key(f"dose{k}"): clip.future for k, clip in enumerate(sweep.branches)}
    return {**answers, sweep.key("loop"): sweep.loop.future, sweep.key("late"): sweep.branches[1].future}


def frozen(sweep):
    return {r.key: np.repeat(r.frames[-1:], len(r.actions), axis=0) for r in probe_requests(sweep)}


def test_a_perfect_driver_s_poses_are_exact_and_a_still_one_s_are_not(steer):
    exact, still = score_probe([steer], truth_of(steer)), score_probe([steer], frozen(steer))
    assert exact["identified"] == exact["sign"] == 1 and exact["gain"] == pytest.approx(1)
    assert exact["yaw_error_deg"] == pytest.approx(0, abs=1e-6) and exact["place_error_m"] == pytest.approx(0, abs=1e-6)
    turned = np.degrees(np.arctan2(*steer.branches[2].c2w[-1, [1, 0], 2]))
    begun = np.degrees(np.arctan2(*steer.branches[2].c2w[3, [1, 0], 2]))
    assert abs((turned - begun + 180) % 360 - 180) > 10
    assert still["yaw_error_still_deg"] > 5 and still["place_error_still_m"] > 3
    assert still["permutation_p"] > 0.5 and still["delta_error"] == pytest.approx(1)


def test_the_city_is_seen_turning_away_and_back(steer):
    heading = np.unwrap(np.arctan2(steer.loop.c2w[3:, 1, 2], steer.loop.c2w[3:, 0, 2]))
    away = np.abs(heading - heading[0])
    assert away.max() > np.radians(5) and away[-1] < 0.6 * away.max()
    assert score_probe([steer], truth_of(steer))["loop_return"] == 1
    assert score_probe([steer], frozen(steer))["loop_return"] < 0.2


def test_the_hand_s_place_is_read_from_the_arm_s_own_branches(reach):
    exact, still = score_probe([reach], truth_of(reach)), score_probe([reach], frozen(reach))
    assert exact["body_error_m"] == pytest.approx(0, abs=1e-6) and exact["spearman"] == pytest.approx(1)
    assert still["body_error_still_m"] > 0.05  # the hand has gone 0.3 m to either side at most
    assert exact["yaw_error_deg"] is None and exact["state_gain"] is None  # the camera stands, no state is read


def test_actions_of_another_branch_and_no_actions_cost_the_truth_everything(steer, reach):
    for sweep in (steer, reach):
        swapped = truth_of(sweep)
        first, last = sweep.key("dose0"), sweep.key("dose2")
        swapped[first], swapped[last] = swapped[last], swapped[first]
        found = score_probe([sweep], swapped)
        assert found["gain"] == pytest.approx(-1) and found["sign"] == 0
        assert found["shuffled_ratio"] < 1 and found["zeroed_ratio"] < 1


def test_mirrored_requests_turn_the_lateral_dimension_round(steer, reach):
    for sweep, signs in ((steer, (-1, 1)), (reach, (-1, 1, 1, 1))):
        asked = {request.key: request for request in probe_requests(sweep, np.array(signs, np.float32))}
        mirrored, plain = asked[sweep.key("mirror2")], asked[sweep.key("dose2")]
        assert np.array_equal(mirrored.frames, plain.frames[:, :, ::-1])
        assert mirrored.actions[0, 0] == -plain.actions[0, 0] != 0


def test_every_suite_probes_doses_about_zero_with_a_mirror_and_one_looks_away_and_back():
    for probes in PROBES.values():
        assert any(probe.loops for probe in probes) and all(probe.lateral for probe in probes)
        for probe in probes:
            assert probe.doses[len(probe.doses) // 2] == 0 and probe.hold <= probe.horizon


def test_a_body_that_leaves_the_city_is_away_not_an_error():
    env = gym.make("worldsim/City-v0", disable_env_checker=True)
    clip = record_clip(env, None, 208_001, num_context=4, horizon=40)
    env.close()
    away = {name: np.isnan(rows).any(axis=1) for name, rows in clip.state.items()}
    assert not away["ego"].any() and any(flags.any() for flags in away.values())
    assert all(rows.shape == (44, 13) for rows in clip.state.values())
