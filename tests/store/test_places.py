"""A place that could let two writers take one number is refused; the other promises of a directory."""

import errno
import multiprocessing
import os
import sys

import numpy as np
import pytest
from rollouts import assert_same, make_rollout

from worldsim.errors import MissingExtraError, StoreError
from worldsim.store import RolloutStore, Windows, merge, repair, verify
from worldsim.store.commit_log import commit_name
from worldsim.store.format import LOG, SEGMENTS
from worldsim.store.place import Folder, UnconfirmedError
from worldsim.store.races import race


@pytest.fixture
def store(tmp_path):
    store = RolloutStore.create(tmp_path / "rollouts")
    store.append([make_rollout(seed) for seed in range(4)])
    return store


def refuse_links(*args, **kwargs):
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))  # what vfat and exfat say


def test_a_directory_without_hard_links_is_refused_before_anything_is_written(store, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", refuse_links)
    with pytest.raises(StoreError, match="file system has no hard links") as error:
        RolloutStore.create(tmp_path / "stick")
    assert "\n" not in str(error.value) and "use a local disk" in str(error.value)
    moved = RolloutStore.open(store.path)  # a store that was copied to such a disk can be read
    assert_same(moved.episode(1), make_rollout(1))
    with pytest.raises(StoreError, match="file system has no hard links"):
        moved.writer()
    assert len(list((store.path / SEGMENTS).iterdir())) == 1


def test_a_directory_that_overwrites_what_is_there_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", os.replace)
    with pytest.raises(StoreError, match="overwrites names that are taken"):
        RolloutStore.create(tmp_path / "careless")


def test_an_address_without_its_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(MissingExtraError, match=r"\[s3\]"):
        RolloutStore.create("s3://bucket/rollouts")


def test_options_of_an_address_are_not_for_directories(tmp_path):
    with pytest.raises(StoreError, match="storage_options are for addresses"):
        RolloutStore.create(tmp_path / "s", storage_options={"region": "eu-west-1"})


def test_processes_that_commit_at_the_same_moment_lose_nothing(tmp_path):
    counts = race(tmp_path / "s", num_rounds=60)
    assert counts["episodes"] == counts["commits"] == 60 // 2 * 2 + 60 // 2
    for what in ("lost", "duplicated", "damaged", "faults", "died"):
        assert counts[what] == 0, what


@pytest.mark.parametrize("keys", [["1"], None])
def test_a_commit_whose_name_is_found_taken_by_its_own_first_try_is_there_once(store, monkeypatch, keys):
    create = Folder.create
    monkeypatch.setattr(Folder, "create", lambda place, name, data: create(place, name, data) and not in_log(name))
    assert store.append([make_rollout(9)], run_id="run", keys=keys) == 2
    assert_same(RolloutStore.open(store.path).episode(4), make_rollout(9))
    assert verify(store.path) == [] and store.gc(grace_s=-60) == []


@pytest.mark.parametrize("is_stored", [True, False])
def test_a_segment_whose_put_was_not_answered_stays_and_is_in_the_store_if_it_was_stored(tmp_path, is_stored):
    obstore = pytest.importorskip("obstore", reason='needs pip install "worldsim-sdk[s3]"')
    (tmp_path / "s").mkdir()
    store = RolloutStore.create(f"file://{tmp_path}/s")
    store.append([make_rollout(0)])

    class Mute:
        def __getattr__(self, name):
            return getattr(obstore, name)

        def put(self, bucket, name, data, **options):
            if is_stored or not in_log(name):
                obstore.put(bucket, name, data, **options)
            if in_log(name):
                raise obstore.exceptions.GenericError("operation timed out")

    store._place._obstore = Mute()
    if is_stored:
        assert store.append([make_rollout(1)]) == 2
        assert_same(RolloutStore.open(store.path).episode(1), make_rollout(1))
    else:
        with pytest.raises(StoreError, match="timed out"):
            store.append([make_rollout(1)])
        assert len(list((tmp_path / "s" / SEGMENTS).glob("*/zarr.json"))) == 2  # the put may still come through
    assert verify(store.path) == []


def test_a_segment_stays_where_nobody_can_say_who_took_its_number(store, monkeypatch):
    create, read = Folder.create, Folder.read

    def unread(place, name):
        if in_log(name):
            raise StoreError("cannot read")
        return read(place, name)

    def cut_off(place, name, data):
        if not in_log(name):
            return create(place, name, data)
        create(place, name, data)
        monkeypatch.setattr(Folder, "read", unread)
        return False

    monkeypatch.setattr(Folder, "create", cut_off)
    with pytest.raises(UnconfirmedError, match="cannot read"):
        store.append([make_rollout(9)])
    monkeypatch.undo()
    assert_same(RolloutStore.open(store.path).episode(4), make_rollout(9))


@pytest.mark.parametrize("codec", ["zstd", "lz4", "none"])
def test_of_a_shard_that_was_cut_off_every_episode_before_the_cut_is_read_back(tmp_path, codec):
    store = RolloutStore.create(tmp_path / "s", codec=codec)
    store.append([make_rollout(seed, num_steps=15) for seed in range(6)], run_id="run", keys=list("012345"))
    path = store.path / SEGMENTS / store.commits[0].segment / "obs/c.0.0.0.0"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * 0.6)])  # random frames: 3.6 of 6 episodes
    (done,) = repair(store.path)
    assert done.num_lost == 3 and verify(store.path) == []
    again = RolloutStore.open(store.path)
    assert [again.info(i).seed for i in range(len(again))] == [0, 1, 2]
    for seed in range(3):
        assert_same(again.episode(seed), make_rollout(seed, num_steps=15))
    assert again.keys("run") == set("012")


@pytest.mark.parametrize("codec", ["zstd", "lz4", "none"])
def test_a_shard_that_lost_only_its_index_loses_no_episode(tmp_path, codec):
    store = RolloutStore.create(tmp_path / "s", codec=codec)
    store.append([make_rollout(seed) for seed in range(4)])
    path = store.path / SEGMENTS / store.commits[0].segment / "obs/c.0.0.0.0"
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(data)
    assert [done.num_lost for done in repair(store.path)] == [0] and verify(store.path) == []
    for seed in range(4):
        assert_same(RolloutStore.open(store.path).episode(seed), make_rollout(seed))


def test_a_chunk_is_checked_when_it_is_first_read_and_verify_always_reads(store):
    store.window(episode=0, t=0, length=2)
    path = store.path / SEGMENTS / store.commits[0].segment / "obs/c.0.0.0.0"
    with open(path, "r+b") as file:
        file.seek(200)
        byte = file.read(1)[0]
        file.seek(200)
        file.write(bytes([byte ^ 1]))
    assert [fault.chunk for fault in store.verify()] == [0]
    with pytest.raises(StoreError, match="chunk 0 is damaged"):
        RolloutStore.open(store.path).window(episode=0, t=0, length=2)


def test_licence_and_version_of_the_code_stay_with_an_episode(store, tmp_path):
    store.append([make_rollout(9)], run_id="me", keys=["9"], licence="CC-BY-4.0")
    store.compact()
    other = RolloutStore.create(tmp_path / "other")
    merge(other, store)
    for held in (store, other):
        assert held.info(4).licence == "CC-BY-4.0" and held.info(0).licence is None
        assert held.info(4).code_version == held.commits[0].code_version
        assert "CC-BY-4.0" in {part.get("licence") for part in held.card["parts"]}


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_windows_go_on_in_a_process_that_was_started_amid_them(store, method):
    windows = Windows(store, 3, batch_size=2)
    windows.next()
    state = windows.state()
    with multiprocessing.get_context(method).Pool(1) as pool:
        there = pool.apply(_next_frames, (store, state))
    np.testing.assert_array_equal(there, windows.next().obs)


def test_a_lost_entry_of_the_log_is_named(store):
    store.append([make_rollout(5)])
    (store.path / commit_name(1)).unlink()
    with pytest.raises(StoreError, match=r"commit 1 of .* is missing"):
        RolloutStore.open(store.path)


def in_log(name):
    return name.startswith(f"{LOG}/")


def _next_frames(store, state):
    windows = Windows(store, 3, batch_size=2)
    windows.restore(state)
    return windows.next().obs
