"""Compaction, repair and garbage collection: nothing that can be read is lost, and episodes keep their numbers."""

import shutil

import numpy as np
import pytest
from rollouts import assert_same, make_rollout

from worldsim.errors import StoreError
from worldsim.store import RolloutStore, merge, repair, verify
from worldsim.store.commit_log import commit_name
from worldsim.store.format import SEGMENTS


@pytest.fixture
def store(tmp_path):
    return fill(RolloutStore.create(tmp_path / "rollouts"))


def fill(store):
    for first in range(0, 8, 2):
        seeds = range(first, first + 2)
        store.append([make_rollout(seed) for seed in seeds], run_id=f"run{first % 4}", keys=[str(s) for s in seeds])
    return store


def segment_of(store, number):
    return store.path / SEGMENTS / store.commits[number - 1].segment


def assert_holds(store, seeds):
    assert [store.info(i).seed for i in range(len(store))] == list(seeds)
    for i, seed in enumerate(seeds):
        assert_same(store.episode(i), make_rollout(seed))


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_compaction_keeps_every_episode_its_number_and_its_key(store):
    assert store.compact() == 4
    assert_holds(RolloutStore.open(store.path), range(8))
    assert_holds(store, range(8))
    assert store.version == 5 and verify(store.path) == []
    assert [store.info(i).run_id for i in (0, 3)] == ["run0", "run2"] and store.keys("run2") == {"2", "3", "6", "7"}
    assert store.append([make_rollout(3)], run_id="run2", keys=["3"]) == 5  # is there already
    assert store.compact() == 0


def test_compaction_goes_no_further_than_asked(store):
    frames = [commit.num_rows for commit in store.commits]
    assert store.compact(frames_per_segment=max(frames[0] + frames[1], frames[2] + frames[3])) == 4
    assert_holds(store, range(8))
    assert [commit.num_rows for commit in store.commits[4:]] == [frames[0] + frames[1], frames[2] + frames[3]]


def test_readers_and_old_versions_outlive_a_compaction_until_gc(store):
    reader, late = RolloutStore.open(store.path), RolloutStore.open(store.path)
    reader.window(episode=0, t=0, length=2)
    store.compact()
    assert_holds(reader, range(8))
    assert_holds(RolloutStore.open(store.path, version=3), range(6))
    assert store.gc(dry_run=False) == []  # its grace is not over
    assert len(store.gc(dry_run=False, grace_s=0)) == 4
    assert_holds(RolloutStore.open(store.path), range(8))
    assert verify(store.path) == []
    with pytest.raises(StoreError, match="compacted and removed by gc; open version 5 or later"):
        RolloutStore.open(store.path, version=3)
    late.refresh()
    assert_holds(late, range(8))


def test_an_append_during_a_compaction_is_kept_behind_it(store):
    appended = []

    def append_meanwhile(done, total):
        appended.append(RolloutStore.open(store.path).append([make_rollout(20 + len(appended))]))

    rows = max(
        first.num_rows + second.num_rows for first, second in zip(store.commits, store.commits[1:], strict=False)
    )
    store.compact(frames_per_segment=rows, progress=append_meanwhile)
    assert appended and [store.info(i).seed for i in range(len(store))] == [*range(8), *range(20, 20 + len(appended))]
    assert verify(store.path) == []


def test_of_two_compactions_at_once_one_is_refused(store):
    def compact_too(done, total):
        RolloutStore.open(store.path).compact()

    rows = [commit.num_rows for commit in store.commits]
    with pytest.raises(StoreError, match="another process compacted"):
        store.compact(frames_per_segment=max(rows[0] + rows[1], rows[2] + rows[3]), progress=compact_too)
    store.refresh()
    assert_holds(store, range(8))
    assert len(list((store.path / SEGMENTS).iterdir())) - len(store.gc(grace_s=0)) == 1


@pytest.mark.parametrize("codec", ["zstd", "lz4", "none"])
def test_every_codec_returns_the_same_bytes_here_and_in_zarr(tmp_path, codec):
    zarr = pytest.importorskip("zarr")
    store = fill(RolloutStore.create(tmp_path / "s", codec=codec))
    assert RolloutStore.open(store.path).codec == codec
    assert_holds(store, range(8))
    for t in range(4):
        np.testing.assert_array_equal(store.window(episode=7, t=t, length=1)[0], make_rollout(7).obs[t : t + 2])
    group = zarr.open_group(str(segment_of(store, 1)), mode="r")
    np.testing.assert_array_equal(group["obs"][: len(make_rollout(0).obs)], make_rollout(0).obs)
    np.testing.assert_array_equal(group["state"][: len(make_rollout(0).obs), 0], make_rollout(0).state["ego"])
    flip(segment_of(store, 1) / "obs/c.0.0.0.0", 4000)
    assert [fault.chunk for fault in verify(store.path)] == [0]


def test_compaction_changes_the_codec_where_asked(store):
    store.compact()
    assert store.compact(codec="none") == 1
    assert_holds(store, range(8))
    frames = store.num_frames * 32 * 32 * 3
    last = store.path / SEGMENTS / store.commits[-1].segment
    assert (last / "obs/c.0.0.0.0").stat().st_size >= frames
    with pytest.raises(StoreError, match="codec must be zstd, lz4, none; got 'png'"):
        store.compact(codec="png")


def test_a_whole_store_needs_no_repair(store):
    assert repair(store.path) == [] and RolloutStore.open(store.path).version == 4


def test_repair_keeps_what_is_undamaged_and_frees_the_keys_of_the_rest(store):
    flip(segment_of(store, 2) / "obs/c.0.0.0.0", 100)  # in the first frames of seed 2
    (dry,) = repair(store.path, dry_run=True)
    assert verify(store.path) != []
    (done,) = repair(store.path)
    assert dry == done and done.num_lost == 1 and "1 episodes kept, 1 lost" in str(done)
    assert verify(store.path) == [] and repair(store.path) == []
    again = RolloutStore.open(store.path)
    assert_holds(again, [0, 1, 3, 4, 5, 6, 7])
    assert again.keys("run2") == {"3", "6", "7"}
    again.append([make_rollout(seed) for seed in (2, 3)], run_id="run2", keys=["2", "3"])
    assert_holds(again, [0, 1, 3, 4, 5, 6, 7, 2])


@pytest.mark.parametrize("name", ["zarr.json", "obs/c.0.0.0.0", "reward/c.0", ""])
def test_repair_lets_go_of_a_segment_of_which_nothing_is_left(store, name):
    store.compact(frames_per_segment=sum(commit.num_rows for commit in store.commits[:2]))
    path = segment_of(store, 5) / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    (done,) = repair(store.path)
    assert done.num_lost == 4 and verify(store.path) == []
    again = RolloutStore.open(store.path)
    assert_holds(again, [4, 5, 6, 7])
    assert again.keys("run0") == {"4", "5"} and again.keys("run2") == {"6", "7"}


@pytest.mark.parametrize("name", ["obs/zarr.json", "action/zarr.json", "state/zarr.json", "terminated/zarr.json"])
def test_metadata_that_can_be_written_again_loses_nothing(store, name):
    flip(segment_of(store, 1) / name, 30)
    (done,) = repair(store.path)
    assert done.num_lost == 0 and verify(store.path) == []
    assert_holds(RolloutStore.open(store.path), range(8))


@pytest.mark.parametrize("numbers", [[1], [2], [1, 3], [2, 3], [1, 2, 3]])
@pytest.mark.parametrize("is_missing", [True, False])
def test_lost_entries_of_the_log_are_written_again_from_their_segments(store, numbers, is_missing):
    for number in numbers:
        path = store.path / commit_name(number)
        path.unlink() if is_missing else path.write_bytes(path.read_bytes()[:-40])
    assert repair(store.path, dry_run=True) and len(verify(store.path)) == len(numbers)
    assert sum(done.num_lost for done in repair(store.path)) == 0
    assert verify(store.path) == [] and repair(store.path) == []
    again = RolloutStore.open(store.path)
    assert sorted(again.info(i).seed for i in range(len(again))) == list(range(8))
    for i in range(len(again)):
        assert_same(again.episode(i), make_rollout(again.info(i).seed))
    assert again.keys("run0") == {"0", "1", "4", "5"}


def test_a_lost_compaction_is_found_again(store):
    store.compact()
    store.append([make_rollout(8)])
    (store.path / commit_name(5)).unlink()
    assert [done.num_lost for done in repair(store.path)] == [0]
    again = RolloutStore.open(store.path)
    assert_holds(again, range(9))
    assert len(again.gc(grace_s=0)) == 4 and verify(store.path) == []


def test_a_store_of_which_nothing_can_be_read_says_so(store):
    for folder in ("log", SEGMENTS):
        for path in (store.path / folder).iterdir():
            shutil.rmtree(path) if path.is_dir() else path.write_text("{")
    with pytest.raises(StoreError, match="cannot be repaired"):
        repair(store.path)


def test_merging_twice_adds_an_episode_once_with_its_provenance(store, tmp_path):
    other = RolloutStore.create(tmp_path / "other", codec="lz4")
    other.append([make_rollout(0)], run_id="run0", keys=["0"])
    other.append([make_rollout(seed) for seed in (30, 31)])
    assert merge(other, store) == 7 and merge(other, store) == 0
    assert_holds(other, [0, 30, 31, *range(1, 8)])
    assert other.keys("run2") == {"2", "3", "6", "7"}
    assert merge(store, other) == 2 and merge(store, other) == 0
    assert_holds(store, [*range(8), 30, 31])
    assert verify(other.path) == verify(store.path) == []


def test_stores_of_different_frames_do_not_merge(store, tmp_path):
    other = RolloutStore.create(tmp_path / "other")
    other.append([make_rollout(0, size=48)])
    with pytest.raises(StoreError, match=r"holds 32x32 frames .* got 48x48"):
        merge(store, other)
    assert len(list((store.path / SEGMENTS).iterdir())) == 4
