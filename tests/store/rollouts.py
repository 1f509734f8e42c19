"""Rollouts for tests, each a pure function of its seed; run as a script it is a writer that says what it committed."""

import sys

import numpy as np

from worldsim.rollout import ActionDim, Caption, Event, Rollout
from worldsim.store import RolloutStore

BODIES = ("ego", "car0", "car1")


def make_rollout(seed, /, num_steps=None, size=32, steer=None, speed=None, **changes):
    rng = np.random.default_rng(seed)
    num_steps = num_steps or int(rng.integers(5, 30))
    state = {name: rng.normal(size=(num_steps + 1, 13)).astype(np.float32) for name in BODIES[: 1 + seed % 3]}
    state["ego"][3] = np.nan
    if speed is not None:
        state["ego"][:, 7:10] = [speed, 0, 0]
    action = rng.uniform(-1, 1, (num_steps, 2)).astype(np.float32)
    if steer is not None:
        action[:, 0] = steer
    terminated = np.zeros(num_steps, bool)
    terminated[-1] = seed % 2
    return Rollout(
        **{
            "obs": rng.integers(0, 256, (num_steps + 1, size, size, 3), np.uint8),
            "action": action,
            "reward": rng.normal(size=num_steps).astype(np.float32),
            "terminated": terminated,
            "truncated": ~terminated & (np.arange(num_steps) == num_steps - 1),
            "state": state,
            "caption": (Caption(0, "a street", "街道"), Caption(2, "a street in rain", "雨中的街道")),
            "events": (
                Event(1, {"name": "brake", "who": "car1", "en": "a car brakes", "zh": "车刹车"}),
                Event(1, {"name": "bump", "speed": 0.5}),
            ),
            "env_id": "worldsim/City-v0",
            "spec": {"size": [64, 64]},
            "control_dt": 0.1,
            "action_spec": (ActionDim(name="steer", unit="rad", low=-0.5, high=0.5),) * 2,
            "seed": seed,
            "policy": "mixture",
            "variation": {"weather": ("clear", "rain")[seed % 2], "time_of_day": "day", "density": 0.5},
            **changes,
        }
    )


def assert_same(got, want):
    for name in ("obs", "action", "reward", "terminated", "truncated"):
        a, b = getattr(got, name), getattr(want, name)
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    assert (got.state is None) == (want.state is None)
    for body in want.state or {}:
        np.testing.assert_array_equal(got.state[body], want.state[body])
    assert list(got.state or ()) == list(want.state or ())
    for name in (
        "caption", "events", "env_id", "spec", "control_dt", "action_spec", "seed", "policy", "variation", "source",
        "model",
    ):  # fmt: skip
        assert getattr(got, name) == getattr(want, name), name


def write(path, run_id, first, count, per_commit):
    """Append rollouts ``first`` to ``first + count`` and print the last of each commit once it is acknowledged."""
    store = RolloutStore.open(path)
    for start in range(first, first + count, per_commit):
        seeds = range(start, start + per_commit)
        store.append([make_rollout(seed) for seed in seeds], run_id=run_id, keys=[str(seed) for seed in seeds])
        print(seeds[-1], flush=True)


if __name__ == "__main__":
    write(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
