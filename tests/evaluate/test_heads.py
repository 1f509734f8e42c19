"""The heads' calibration and the probe of the state, on a world whose state is in its frames."""

from dataclasses import replace

import numpy as np
import pytest

from tests.model.helpers import box_spec, shaken_model
from worldsim.collect import collect
from worldsim.errors import EnvError
from worldsim.evaluate.heads import head_figures, reward_curve
from worldsim.evaluate.probe import probe_state
from worldsim.model.presets import tiny
from worldsim.store import RolloutStore


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("heads") / "store"
    collect("tests.collect.square_world:Square-v0", 24, path, seed=0)
    return RolloutStore.open(path)


@pytest.fixture(scope="module")
def model():
    return shaken_model(box_spec(height=32, width=32), replace(tiny(), dim=64))


def test_a_reward_told_at_half_its_size_has_slope_two():
    true = np.random.default_rng(0).normal(size=1000)
    figures = reward_curve(0.5 * true, true)
    assert figures["slope"] == pytest.approx(2.0)
    assert figures["r2"] == pytest.approx(0.75, abs=0.01)
    assert len(figures["curve"]) == 10
    assert reward_curve(np.zeros(5), np.zeros(5))["r2"] is None


def test_the_heads_of_a_model_are_judged_on_a_store(model, store):
    figures = head_figures(model, store, windows=30, horizon=4)
    assert sum(row["n"] for row in figures["termination"]["reliability"]) == figures["reward"]["n"] == 120
    assert figures["termination"]["rate"] > 0
    with pytest.raises(EnvError, match="at least 503 steps"):
        head_figures(model, store, horizon=500)


def test_the_probe_reads_a_state_that_the_tokens_hold(model, store):
    figures = probe_state(model, store, body="ego", windows=200)
    assert figures["tokens"]["x"] > 0.7  # the place is what the last action said
    assert figures["pixels"].keys() == figures["tokens"].keys()
    assert "z" not in figures["tokens"]  # it never varies
    with pytest.raises(EnvError, match="state of 'nobody'"):
        probe_state(model, store, body="nobody")
