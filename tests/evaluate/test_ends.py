"""Probabilities of an end are fitted on some clips, judged on others, and then hold better."""

import json
from dataclasses import replace

import numpy as np
import pytest
from rolling_world import ENV_ID, SIZE
from scipy.special import expit
from tiny_models import make_spec, write_checkpoint

from worldsim.errors import EnvError
from worldsim.evaluate.ends import _agreement, calibrate_ends, fit_logit, reliability
from worldsim.model import load


def test_a_head_that_is_too_sure_is_found_out():
    rng = np.random.default_rng(0)
    true = rng.normal(-2, 1.5, 20_000)
    ends = rng.random(len(true)) < expit(true)
    said = 3 * true + 1
    scale, bias = fit_logit(said, ends)
    assert scale == pytest.approx(1 / 3, abs=0.02)
    assert bias == pytest.approx(-1 / 3, abs=0.06)
    before, after = reliability(expit(said), ends), reliability(expit(scale * said + bias), ends)
    assert after["calibration_error"] < 0.01 < before["calibration_error"]
    assert after["log_loss"] < before["log_loss"]
    assert after["brier"] < before["brier"]


def test_reliability_counts_every_step_once():
    ends = np.array([False, False, True, True])
    found = reliability(np.array([0.001, 0.2, 0.2, 1.0]), ends)
    assert [(row["n"], row["true"]) for row in found["reliability"]] == [(1, 0.0), (2, 0.5), (1, 1.0)]
    assert found["calibration_error"] == pytest.approx((0.001 + 2 * 0.3 + 0) / 4)
    assert found["brier"] == pytest.approx((0.001**2 + 0.2**2 + 0.8**2) / 4)


def test_a_rare_large_reward_does_not_decide_the_correlation_of_ranks():
    true = np.linspace(0, 1, 100)
    said, crash = true + 0.5, np.where(np.arange(100) == 70, -50.0, true)
    assert _agreement(said, true) == pytest.approx({"correlation": 1, "rank_correlation": 1, "mean_error": 0.5})
    found = _agreement(said, crash)
    assert abs(found["correlation"]) < 0.2 < 0.9 < found["rank_correlation"]


def untrained(path, life):
    return load(
        write_checkpoint(
            path, make_spec(height=SIZE, width=SIZE, env_id=ENV_ID, env_kwargs={"life": life}), end_logit=0.0
        )
    )


def test_a_model_that_cries_the_end_learns_how_seldom_it_comes(tmp_path):
    model = untrained(tmp_path / "m", [30, 80])
    found = calibrate_ends(model, episodes=8, horizon=24)
    figures = found["figures"]
    assert figures["fitted_ends"] > 0 and figures["judged_ends"] > 0
    assert figures["after"]["log_loss"] < figures["before"]["log_loss"]
    assert figures["after"]["calibration_error"] < figures["before"]["calibration_error"]
    assert figures["before"]["ends"]["true_ends"] == figures["judged_ends"]
    again = replace(model, terminate_scale=7.0, terminate_bias=-3.0)
    assert calibrate_ends(again, episodes=8, horizon=24)["scale"] == found["scale"]
    json.dumps(found)


def test_a_truth_without_ends_cannot_calibrate(tmp_path):
    with pytest.raises(EnvError, match="more than 4 episodes"):
        calibrate_ends(untrained(tmp_path / "m", 1000), episodes=4, horizon=2)
