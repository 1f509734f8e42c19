"""The storage benchmark reads the same windows from every system, and says which it could not measure."""

import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from worldsim.cli import app
from worldsim.errors import EnvError, StoreError
from worldsim.evaluate.bench.storage import StorageBudget, bench_storage
from worldsim.rollout import Rollout
from worldsim.store import RolloutStore

BRIEF = StorageBudget(length=8, num_turns=1, turn_s=0.001)


def sliding_pattern(seed, num_steps=20, size=32):
    rng = np.random.default_rng(seed)
    picture = np.kron(rng.integers(0, 256, (4, 4, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    return Rollout(
        obs=np.stack([np.roll(picture, t, axis=1) for t in range(num_steps + 1)]),
        action=rng.uniform(-1, 1, (num_steps, 2)).astype(np.float32),
        reward=np.zeros(num_steps, np.float32),
        terminated=np.zeros(num_steps, bool),
        truncated=np.arange(num_steps) == num_steps - 1,
        seed=seed,
    )


@pytest.fixture
def store(tmp_path):
    store = RolloutStore.create(tmp_path / "rollouts")
    store.append([sliding_pattern(seed) for seed in range(3)])
    return store


def test_every_system_returns_the_stored_frames_and_has_a_row(store, tmp_path):
    for package in ("h5py", "av", "minari"):
        pytest.importorskip(package)
    result = bench_storage({"patterns": store}, tmp_path / "copies", budget=BRIEF)
    systems = {(row["system"], row["codec"]) for row in result["rows"]}
    assert systems == {
        *((system, codec) for system in ("worldsim", "floor", "zarr-python") for codec in ("zstd", "lz4", "none")),
        ("memmap", "none"), ("hdf5", "gzip"), ("mp4", "h264"), ("minari", "none"),
        ("png", "png"), ("jpeg q95", "jpeg q95"),
    }  # fmt: skip
    assert result["skipped"] == [] and {row["codec"] for row in result["writing"]} == {"zstd", "lz4", "none"}
    assert [row["codec"] for row in result["ratios"]] == ["zstd", "lz4", "none"]
    for row in result["ratios"]:
        assert all(row[f"over_{other}"] > 1 for other in ("zarr_python", "mp4", "minari")), row
    rows = {(row["system"], row["codec"]): row for row in result["rows"]}
    assert rows["memmap", "none"]["rel_memmap"] == 1 and rows["memmap", "none"]["bytes_per_frame"] == 32 * 32 * 3
    assert all(rows["worldsim", codec]["over_floor"] > 0 for codec in ("zstd", "lz4", "none"))
    assert rows["worldsim", "zstd"]["first_cpu_us_per_window"] > 0
    assert rows["worldsim", "none"]["bytes_per_frame"] > rows["worldsim", "lz4"]["bytes_per_frame"]


def test_the_size_of_a_store_of_many_runs_is_that_of_its_frames(tmp_path):
    store = RolloutStore.create(tmp_path / "rollouts")
    for seed in range(3):
        store.append([sliding_pattern(seed)], run_id=f"run{seed}")
    rows = bench_storage({"patterns": store}, tmp_path / "copies", budget=BRIEF)["rows"]
    sizes = [row["bytes_per_frame"] for row in rows if (row["system"], row["codec"]) == ("worldsim", "none")]
    assert len(sizes) == 1 and 1 <= sizes[0] / (32 * 32 * 3) < 1.5


def test_stores_of_one_name_are_refused_by_the_command(tmp_path):
    found = [tmp_path / part / "rollouts" for part in ("part1", "part2")]
    for path in found:
        RolloutStore.create(path).append([sliding_pattern(0)])
    result = CliRunner().invoke(app, ["bench", "storage", "--quick", *(f"--data={path}" for path in found)])
    assert isinstance(result.exception, EnvError) and "got rollouts, rollouts" in str(result.exception)


def test_a_package_that_is_missing_is_skipped_with_a_reason(store, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    (skipped,) = bench_storage({"patterns": store}, tmp_path / "copies", budget=BRIEF)["skipped"]
    assert (skipped["system"], skipped["data"]) == ("mp4", "patterns") and "pip install" in skipped["reason"]


def test_windows_longer_than_every_episode_are_refused(store, tmp_path):
    with pytest.raises(StoreError, match="no episode of 50 steps"):
        bench_storage({"patterns": store}, tmp_path / "copies", budget=StorageBudget(length=50))
