"""Scores of the state: a perfect eye has no error, a frozen film has, and what is missing is never dropped."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest

from worldsim.evaluate.physics.clip import record_clip
from worldsim.evaluate.physics.extract import HIDDEN, MISSING, SEEN, extract
from worldsim.evaluate.physics.sheet import FAST
from worldsim.evaluate.physics.state_metrics import METRICS, score_clip, truth_tracks


@pytest.fixture(scope="module")
def clips():
    env = gym.make("worldsim/Lab-v0")
    names = ("projectile", "collision_1d", "pendulum", "occlusion", "dominoes")
    found = {name: record_clip(env, name, 200_002, num_context=8, horizon=32) for name in names}
    wall = {"change": "none", "opening": "closed", "speed": 1.8, "side": "left"}
    found["solid_wall"] = record_clip(env, "solid_wall", 200_002, num_context=8, horizon=32, variation=wall)
    env.close()
    return found


def frozen(clip):
    """Return tracks of a film that shows the last context frame again and again."""
    true = truth_tracks(clip)
    px, world, status = true.px.copy(), true.world.copy(), true.status.copy()
    last = clip.num_context - 1
    px[last:], world[last:], status[last:] = px[last], world[last], status[last]
    return replace(true, px=px, world=world, status=status)


def without(tracks, k, first):
    """Return tracks in which object k is gone from a frame on."""
    px, world, status = tracks.px.copy(), tracks.world.copy(), tracks.status.copy()
    px[first:, k], world[first:, k], status[first:, k] = np.nan, np.nan, MISSING
    return replace(tracks, px=px, world=world, status=status)


def shifted(tracks, by):
    return replace(tracks, world=tracks.world + np.array(by))


def values(score):
    return {name: metric.value for name, metric in score.metrics.items()}


def test_a_perfect_eye_makes_no_error(clips):
    for name, clip in clips.items():
        for metric, found in score_clip(clip, truth_tracks(clip)).metrics.items():
            best = 0.0 if found.better == "low" else 1.0
            slack = 0.015 if metric == "contact_time_error" else 1e-6
            assert abs(found.value - best) <= slack, (name, metric, found)
            assert not found.failed


def test_the_extractor_is_near_a_perfect_eye_and_a_frozen_film_is_not(clips):
    for name in ("projectile", "collision_1d", "pendulum"):
        clip = clips[name]
        floor = values(score_clip(clip, extract(clip.frames, clip)))
        still = values(score_clip(clip, frozen(clip)))
        for metric in ("ade", "fde", "velocity_rmse", "energy_residual", "event_agreement"):
            worse = still[metric] - floor[metric]
            assert (worse if METRICS[metric][1] == "low" else -worse) > 0, (name, metric)
        assert floor["ade_px"] < 0.25 and floor["ade"] < 0.02
        assert still["permanence"] == 1.0  # it keeps what it shows; other metrics tell that it is still


def test_gravity_bounce_and_period_are_read_from_frames(clips):
    thrown = values(score_clip(clips["projectile"], extract(clips["projectile"].frames, clips["projectile"])))
    assert thrown["gravity_error"] < 0.05
    assert thrown["restitution_error"] < 0.05
    assert thrown["contact_time_error"] < 0.015
    swung = values(score_clip(clips["pendulum"], extract(clips["pendulum"].frames, clips["pendulum"])))
    assert swung["period_error"] < 0.01
    assert swung["length_error"] < 0.01


def test_a_ball_that_rolls_loses_nothing_and_one_that_is_braked_does():
    env = gym.make("worldsim/Lab-v0")
    clip = record_clip(env, "rolling", 200_001, num_context=16, horizon=24, variation={"change": "none", "speed": 0.9})
    env.close()
    true = truth_tracks(clip)
    assert values(score_clip(clip, extract(clip.frames, clip)))["friction_error"] < 0.01
    t = np.maximum(np.arange(len(clip)) - 15, 0) * clip.dt
    braked = true.world.copy()
    braked[:, 0, 0] -= 0.5 * 0.05 * 9.81 * t**2 * np.sign(true.world[-1, 0, 0] - true.world[0, 0, 0])
    gravity = float(clip.gravity.mean())
    found = values(score_clip(clip, replace(true, world=braked)))["friction_error"]
    assert found == pytest.approx(0.05 * 9.81 / gravity, abs=0.002)


def test_a_frozen_film_fails_the_laws(clips):
    assert score_clip(clips["projectile"], frozen(clips["projectile"])).metrics["gravity_error"].value == 1.0
    assert score_clip(clips["pendulum"], frozen(clips["pendulum"])).metrics["period_error"].value == 1.0
    met = score_clip(clips["collision_1d"], frozen(clips["collision_1d"])).metrics["contact_time_error"]
    assert met.failed and met.value == met.worst


def test_what_is_missing_has_the_worst_value_and_stays_in_the_mean(clips):
    for name, clip in clips.items():
        whole, gone = (score_clip(clip, without(truth_tracks(clip), 0, t)) for t in (len(clip), clip.num_context))
        assert set(whole.metrics) == set(gone.metrics), name
        one_of = 1 / len(clip.objects)
        assert gone.metrics["ade"].failed
        assert gone.metrics["ade"].value > 0.5 * one_of * gone.metrics["ade"].worst
        assert gone.metrics["permanence"].value < 1.0
    lost = score_clip(clips["projectile"], without(truth_tracks(clips["projectile"]), 0, 8)).metrics
    for metric in ("ade", "velocity_rmse", "gravity_error", "restitution_error", "contact_time_error", "penetration",
                   "event_agreement"):  # fmt: skip
        assert lost[metric].value == lost[metric].worst and lost[metric].failed, metric


def test_what_is_lost_half_way_counts_in_velocity_identity_and_rigidity(clips):
    clip = clips["collision_1d"]
    true = truth_tracks(clip)
    half = clip.num_context + clip.horizon // 2
    for first, share in ((clip.num_context, 0.5), (half, 0.25)):  # of two objects one is gone for all, or half, of it
        found = score_clip(clip, without(true, 0, first)).metrics
        assert all(found[name].failed for name in ("velocity_error", "identity", "rigidity"))
        assert found["identity"].value == pytest.approx(1 - share)
        assert found["rigidity"].value == pytest.approx(share)
        assert share * FAST <= found["velocity_error"].value + 0.1 <= (share + 0.15) * FAST


def test_velocity_is_taken_as_phyworld_takes_it(clips):
    clip = clips["collision_1d"]
    true = truth_tracks(clip)
    drift = np.zeros((len(clip), 1, 3))
    drift[:, 0, 0] = 0.3 * np.arange(len(clip)) * clip.dt  # both balls 0.3 m/s faster along x
    found = values(score_clip(clip, replace(true, world=true.world + drift)))
    assert found["velocity_error"] == pytest.approx(0.3, rel=1e-6)
    assert found["velocity_rmse"] == pytest.approx(0.3, rel=1e-6)
    assert found["momentum_residual"] > 0.05


def test_what_never_comes_out_from_behind_a_screen_is_noted(clips):
    clip = clips["occlusion"]
    true = truth_tracks(clip)
    hidden = np.flatnonzero(true.status[:, 0] == HIDDEN)
    assert len(hidden) >= 3
    lost = without(true, 0, hidden[-1])
    found = score_clip(clip, lost).metrics
    assert found["reappearance"].value == 0.0 and found["reappearance"].failed
    assert score_clip(clip, true).metrics["reappearance"].value == 1.0
    late = true.status.copy()
    late[hidden[-1] + 1 : hidden[-1] + 3, 0] = HIDDEN
    found = score_clip(clip, replace(true, status=late)).metrics
    assert found["reappearance_time_error"].value == pytest.approx(2 * clip.dt)


def test_a_ball_inside_a_wall_is_seen_to_be_there(clips):
    clip = clips["solid_wall"]
    true = truth_tracks(clip)
    assert score_clip(clip, true).metrics["tunnelling"].value == 0.0
    through = score_clip(clip, shifted(true, (1.5, 0.0, 0.0))).metrics
    assert through["tunnelling"].value == 1.0
    assert through["event_agreement"].value < 1.0
    assert score_clip(clip, shifted(true, (0.15, 0.0, -0.1))).metrics["penetration"].value > 0.15


def test_doubles_strangers_and_exchanged_colours_count(clips):
    clip = clips["collision_1d"]
    true = truth_tracks(clip)
    swapped = true.swapped.copy()
    swapped[clip.num_context :, 0] = True
    found = values(score_clip(clip, replace(true, ghosts=true.ghosts + 1, swapped=swapped)))
    assert found["ghosts"] == 1.0 and found["count_error"] == 1.0
    assert found["identity"] == pytest.approx(0.5)


def test_dominoes_fall_in_an_order(clips):
    clip = clips["dominoes"]
    true = truth_tracks(clip)
    fallen = score_clip(clip, true).metrics
    assert fallen["order_tau"].value == 1.0 and fallen["event_agreement"].value == 1.0
    start = true.world[clip.num_context - 1]
    rate = np.linspace(1.0, 0.05, len(true.names))  # in another order: the last one soonest
    world = true.world.copy()
    for t in range(clip.num_context, len(clip)):
        world[t, :, 2] = start[:, 2] - 0.01 * (t - clip.num_context) / rate
    assert score_clip(clip, replace(true, world=world)).metrics["order_tau"].value < 0.0


def test_curves_have_one_value_per_step_and_know_where_nothing_is_shown(clips):
    clip = clips["occlusion"]
    score = score_clip(clip, truth_tracks(clip))
    assert {len(curve) for curve in score.curves.values()} == {clip.horizon}
    hidden = truth_tracks(clip).status[clip.num_context :, 0] != SEEN
    assert np.array_equal(np.isnan(score.curves["position_error_m"]), hidden)
