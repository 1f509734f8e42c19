"""Which metrics count: those that order baselines, truths and planted corruptions rightly, on real clips."""

import gymnasium as gym
import numpy as np
import pytest

from worldsim.evaluate.physics import rows
from worldsim.evaluate.physics.cases import read_cases, record_case
from worldsim.evaluate.physics.extract import extract
from worldsim.evaluate.physics.plan import Plan
from worldsim.evaluate.physics.reference import corrupt_one
from worldsim.evaluate.physics.scoring import Ruler, loss
from worldsim.evaluate.physics.summary import NAIVE, Table, admitted, headline, summarise

SCENARIOS = ("projectile", "collision_1d")
PLAN = Plan(suite="lab", size="test", env_id="worldsim/Lab-v0", horizon=20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("cases")
    env = gym.make(PLAN.env_id, disable_env_checker=True)
    for scenario in SCENARIOS:
        for i in (0, 1):
            record_case(env, PLAN, f"{scenario}.train.{i}", scenario, "train", 200_000 + i, path / "clips")
    env.close()
    return path


@pytest.fixture(scope="module")
def cases(folder):
    return list(read_cases(folder / "clips", [f"{s}.train.{i}" for s in SCENARIOS for i in (0, 1)]))


@pytest.fixture(scope="module")
def scores(cases):
    found = {}
    for case in cases:
        clip = case.clip
        tracks = extract(clip.frames, clip)
        frames = {
            "copy_last": rows.copy_last(clip),
            "wrong_scene": case.wrong.future,
            "linear": rows.linear(clip, tracks),
            "constant_acceleration": rows.constant_acceleration(clip, tracks),
            "known_law": rows.known_law(clip, tracks),
            "truth_perturbed": case.perturbed.future,
            "truth_codec": rows.codec(clip.future),
            "truth": clip.future,
        }
        ruler = Ruler(clip, case.perturbed.future)
        found[case.key] = {row: ruler.score(seen).as_dict() for row, seen in frames.items()}
    return found


@pytest.fixture(scope="module")
def planted(folder):
    return {f"{scenario}.train.0": corrupt_one((folder / "clips", f"{scenario}.train.0")) for scenario in SCENARIOS}


def mean_loss(scores, row, metric):
    return np.mean([loss(metric, score[row]["metrics"][metric]) for score in scores.values()])


def test_a_second_take_differs_a_little_and_a_wrong_scene_much_from_the_same_colours(cases):
    for case in cases:
        apart = [np.abs(take.future.astype(int) - case.clip.future).mean() for take in (case.perturbed, case.wrong)]
        assert 0 < apart[0] < apart[1]
        assert case.wrong.variation["hue"] == case.clip.variation["hue"]
        assert np.array_equal(case.perturbed.actions, case.clip.actions)


@pytest.mark.parametrize("metric", ["ade", "velocity_rmse", "mse_moving", "iq_mse", "pisa_l2", "ssim_object"])
def test_metrics_put_the_truth_before_its_second_take_before_the_naive(scores, metric):
    truth, second = mean_loss(scores, "truth", metric), mean_loss(scores, "truth_perturbed", metric)
    assert truth < second < min(mean_loss(scores, row, metric) for row in NAIVE)
    assert admitted(Table(scores), metric, list(scores))


def test_the_codec_costs_pixels_and_hardly_any_metres(scores):
    assert mean_loss(scores, "truth", "ssim") == 0 < mean_loss(scores, "truth_codec", "ssim")
    assert mean_loss(scores, "truth_codec", "ade") < 0.05


def test_the_known_law_beats_constant_speed_where_a_law_acts(scores):
    chosen = {key: score for key, score in scores.items() if key.startswith("projectile")}
    assert mean_loss(chosen, "known_law", "ade") < 0.5 * mean_loss(chosen, "linear", "ade")


def test_a_law_is_not_offered_where_it_is_not_known(cases):
    from dataclasses import replace

    clip = replace(cases[0].clip, scenario="pendulum")
    assert rows.known_law(clip, extract(clip.frames, clip)) is None


def test_a_frozen_video_and_a_wrong_scene_score_nothing_and_a_second_take_everything(scores):
    table, clips = Table(scores), list(scores)
    assert headline(table, "copy_last", clips)["value"] < 5
    assert headline(table, "wrong_scene", clips)["value"] < 5
    assert headline(table, "truth_perturbed", clips)["value"] == pytest.approx(100)
    assert headline(table, "truth", clips)["value"] == pytest.approx(100)


def test_the_headline_lies_in_its_interval_and_counts_clips(scores):
    found = headline(Table(scores), "linear", list(scores))
    assert 0 <= found["lo"] <= found["value"] <= found["hi"] <= 100
    assert found["scenarios"] == 2 and found["n"] == 4


def test_one_clip_per_scenario_has_a_score_and_no_interval(scores):
    one = [key for key in scores if key.endswith(".0")]
    found = headline(Table(scores), "linear", one)
    assert found["value"] is not None and found["lo"] is None and found["hi"] is None


def test_a_film_costs_less_than_a_small_jpeg(cases):
    clip = cases[0].clip
    ruler = Ruler(clip, cases[0].perturbed.future)
    film, jpeg = (ruler.score(frames).metrics for frames in (rows.film(clip.future, clip.dt), rows.codec(clip.future)))
    assert 0 < film["mse"] < jpeg["mse"] and film["ade"] < 0.05


def test_every_planted_corruption_is_caught(scores, planted):
    table = summarise(scores, planted)["corruptions"]
    wanted = {*rows.CORRUPTIONS, "wrong_scene", "gravity_changed"}
    assert set(table) == wanted
    missed = {name: entry for name, entry in table.items() if entry["caught"] < entry["n"]}
    # Balls that roll on a level floor do so under any gravity.
    assert set(missed) <= {"gravity_changed"}


def test_the_truth_itself_is_not_called_corrupted(folder, cases):
    case = cases[0]
    ruler = Ruler(case.clip, case.perturbed.future)
    truth, codec = ruler.score(case.clip.future).metrics, ruler.score(rows.codec(case.clip.future)).metrics
    from worldsim.evaluate.physics.summary import caught

    assert caught(truth, truth, codec) == [] == caught(codec, truth, codec)


def test_a_row_without_frames_gets_the_worst_value_not_a_pass(scores):
    short = {key: {row: score for row, score in found.items() if row != "linear"} for key, found in scores.items()}
    first = next(iter(short))
    short[first]["linear"] = scores[first]["linear"]
    whole, part = (headline(Table(s), "linear", list(s))["value"] for s in (scores, short))
    assert part < whole
