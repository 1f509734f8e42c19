"""Killed writers, writers that race, damaged files: nothing acknowledged is lost, nothing damaged passes unnoticed."""

import os
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import rollouts
from rollouts import assert_same, make_rollout

from worldsim.errors import StoreError
from worldsim.store import RolloutStore, verify
from worldsim.store.commit_log import commit_name
from worldsim.store.format import LOG, SEGMENTS
from worldsim.store.kills import kill_writers


@pytest.fixture
def store(tmp_path):
    store = RolloutStore.create(tmp_path / "rollouts")
    store.append([make_rollout(seed) for seed in range(4)])
    store.append([make_rollout(seed) for seed in range(4, 6)])
    return store


def start_writer(store, run_id, first, count, per_commit):
    command = [sys.executable, rollouts.__file__, str(store.path), run_id, str(first), str(count), str(per_commit)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def obs_shard(store):
    return store.path / SEGMENTS / store.commits[0].segment / "obs/c.0.0.0.0"


def test_writers_that_commit_at_once_lose_nothing(tmp_path):
    store = RolloutStore.create(tmp_path / "s")
    writers = [start_writer(store, f"writer{i}", 100 * i, 20, 1) for i in range(2)]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    store.refresh()
    assert store.version == 40
    assert sorted(store.info(i).seed for i in range(len(store))) == [*range(20), *range(100, 120)]
    for i in range(len(store)):
        assert_same(store.episode(i), make_rollout(store.info(i).seed))
    assert verify(store.path) == []


@pytest.mark.parametrize("delay_s", [0.004, 0.013, 0.031])
def test_a_killed_writer_loses_nothing_that_it_acknowledged_and_shows_nothing_by_halves(tmp_path, delay_s):
    store = RolloutStore.create(tmp_path / "s")
    writer = start_writer(store, "run", 0, 5000, 5)
    acknowledged = int(writer.stdout.readline())
    time.sleep(delay_s)
    os.kill(writer.pid, signal.SIGKILL)
    acknowledged = max([acknowledged, *map(int, writer.stdout.read().split())])
    writer.wait(10)
    store.refresh()
    assert len(store) > acknowledged and len(store) % 5 == 0
    for i in range(len(store)):
        assert_same(store.episode(i), make_rollout(i))
    assert verify(store.path) == []
    assert start_writer(store, "run", 0, len(store) + 5, 5).wait(60) == 0
    num_before = len(store)
    store.refresh()
    assert [store.info(i).seed for i in range(len(store))] == list(range(num_before + 5))


def test_twenty_kills_among_four_writers_lose_damage_and_double_nothing(tmp_path):
    counts = kill_writers(tmp_path / "s", num_kills=20, num_writers=4, seed=1)
    assert counts["acknowledged"] >= 20 and counts["visible"] >= counts["acknowledged"]
    for what in ("lost", "damaged", "duplicated", "faults", "repairs", "faults_after"):
        assert counts[what] == 0, what


@pytest.mark.parametrize("limit", [0, 5_000, 60_000, 300_000])
def test_a_full_disk_is_one_clear_line_and_costs_nothing_that_was_committed(store, limit):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(StoreError, match="cannot write") as error:
            store.append([make_rollout(seed, num_steps=60) for seed in range(6, 9)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "File too large" in str(error.value) and "\n" not in str(error.value)
    assert len(list((store.path / SEGMENTS).iterdir())) == 2 and store.gc(grace_s=0) == []
    assert verify(store.path) == [] and len(RolloutStore.open(store.path)) == 6
    assert store.append([make_rollout(6)]) == 3


def test_a_writer_that_failed_half_way_takes_and_commits_nothing_more(store):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = store.writer()
    writer.add(make_rollout(6))
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(StoreError, match="cannot write"):
            writer.add(make_rollout(7, num_steps=120))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    for call in (lambda: writer.add(make_rollout(8)), lambda: writer.begin(make_rollout(8).obs[0]), writer.commit):
        with pytest.raises(StoreError, match="failed half-way; discard it and begin another"):
            call()
    writer.discard()
    assert len(list((store.path / SEGMENTS).iterdir())) == 2
    assert verify(store.path) == [] and len(RolloutStore.open(store.path)) == 6


def test_an_open_segment_is_invisible_and_garbage_only_after_its_grace(store):
    writer = store.writer()
    writer.add(make_rollout(9))
    (store.path / LOG / ".00000000000000000003.json.abc").write_text("{")
    assert len(RolloutStore.open(store.path)) == 6
    assert store.gc(dry_run=False) == []
    garbage = store.gc(grace_s=0)
    assert len(garbage) == 2 and all(path.exists() for path in garbage)
    assert store.gc(dry_run=False, grace_s=0) == garbage
    assert not any(path.exists() for path in garbage)
    assert store.gc(grace_s=0) == []
    assert verify(store.path) == [] and len(RolloutStore.open(store.path)) == 6


def test_a_flipped_byte_is_found_by_file_and_chunk(store):
    path = obs_shard(store)
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)
    (fault,) = store.verify()
    assert (fault.file, fault.problem) == (str(path.relative_to(store.path)), "its checksum does not match")
    assert fault.chunk == 0 and str(fault).startswith(f"{fault.file} chunk 0: ")
    with pytest.raises(StoreError, match=r"obs/c\.0\.0\.0\.0 chunk 0 is damaged"):
        RolloutStore.open(store.path).window(episode=0, t=0, length=2)


def test_every_flipped_byte_of_small_files_is_found(store):
    segment = store.path / SEGMENTS / store.commits[0].segment
    names = [(store.path / commit_name(1)), segment / "zarr.json", segment / "obs/zarr.json"]
    for path in names:
        good = path.read_bytes()
        for place in np.random.default_rng(0).integers(0, len(good), 8).tolist():
            bad = bytearray(good)
            bad[place] ^= 4
            path.write_bytes(bad)
            assert str(path.relative_to(store.path)) in {fault.file for fault in verify(store.path)}, place
            with pytest.raises(StoreError):
                RolloutStore.open(store.path).episode(0)
        path.write_bytes(good)
    assert verify(store.path) == []


@pytest.mark.parametrize("keep", [0, 100, -1])
def test_a_shard_that_was_cut_off_is_one_clear_error(store, keep):
    path = obs_shard(store)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(StoreError, match="is cut off or damaged") as error:
        RolloutStore.open(store.path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(StoreError, match=str(path)):  # a handle that was open before
        store.window(episode=0, t=0, length=2)
    (fault,) = verify(store.path)
    assert fault.chunk is None and "cut off" in fault.problem


def test_a_missing_file_is_named(store):
    obs_shard(store).unlink()
    with pytest.raises(StoreError, match=r"obs/c\.0\.0\.0\.0 is missing"):
        RolloutStore.open(store.path)
    assert [fault.problem for fault in verify(store.path)] == ["is missing"]


def test_a_missing_commit_is_named(store):
    (store.path / commit_name(1)).unlink()
    with pytest.raises(StoreError, match=r"commit 1 .* is missing"):
        RolloutStore.open(store.path)
    assert [(fault.file, fault.problem) for fault in verify(store.path)] == [(f"{LOG}/{1:020d}.json", "is missing")]


def test_what_is_not_a_store_is_said_in_one_line(store, tmp_path):
    with pytest.raises(StoreError, match="is not a rollout store"):
        RolloutStore.open(tmp_path / "nowhere")
    (store.path / "store.json").write_text('{"worldsim_store": 99}')
    with pytest.raises(StoreError, match="format 99; this worldsim reads format 1"):
        RolloutStore.open(store.path)
    (store.path / "store.json").write_text('{"worldsim')
    with pytest.raises(StoreError, match=r"store\.json is damaged"):
        verify(store.path)
