"""The ruler's own error, and what it notices."""

import gymnasium as gym
import numpy as np
import pytest

from worldsim.evaluate.physics.clip import record_clip
from worldsim.evaluate.physics.extract import extract
from worldsim.evaluate.physics.state_metrics import truth_tracks
from worldsim.evaluate.physics.table0 import CORRUPTIONS, FAULT_STEPS, noticed, plant, table0


@pytest.fixture(scope="module")
def clip():
    env = gym.make("worldsim/Lab-v0")
    found = record_clip(env, "collision_2d", 200_001, num_context=8, horizon=32)
    env.close()
    return found


def test_the_table_has_a_row_per_picture_and_keeps_its_bars():
    table = table0(sizes=(64,), scenarios=["free_fall"], clips=1, seed=200_001)
    rows = {row["corruption"]: row for row in table["rows"]}
    assert list(rows) == list(CORRUPTIONS)
    assert rows["clean"]["position_px"] <= 0.25
    assert rows["clean"]["gravity_error"] <= 0.02
    assert rows["clean"]["position_px"] < rows["JPEG 30"]["position_px"]
    assert all(row["not found"] == 0.0 for row in rows.values())
    assert table["floors"]["64"]["free_fall"]["ade"] < 0.02
    assert {fault["fault"] for fault in table["faults"]} == {"dropped", "duplicated", "swapped", "teleported"}


@pytest.mark.parametrize("fault", ["dropped", "duplicated", "swapped"])
def test_a_planted_fault_is_noticed_where_it_is_and_nowhere_else(clip, fault):
    planted = plant(clip, fault, np.random.default_rng(1))
    assert planted is not None
    frames, where = planted
    assert where.any(axis=1).sum() == FAULT_STEPS
    truth = truth_tracks(clip)
    seen = noticed(fault, extract(frames, clip), truth)
    there = where.any(axis=1)
    assert seen.any(axis=1)[there].mean() >= 0.75
    assert not seen[~there].any()
    assert not noticed(fault, extract(clip.frames, clip), truth).any()


def test_a_jump_is_noticed_there_and_back(clip):
    planted = plant(clip, "teleported", np.random.default_rng(1))
    assert planted is not None
    frames, where = planted
    first, last = np.flatnonzero(where.any(axis=1))[[0, -1]]
    seen = np.flatnonzero(noticed("teleported", extract(frames, clip), truth_tracks(clip)).any(axis=1))
    assert first in seen and last + 1 in seen
    assert set(seen) <= {first, first + 1, last + 1, last + 2}
