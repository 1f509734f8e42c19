"""What is appended comes back bit for bit, as a whole, in windows, and through zarr-python."""

import json
import multiprocessing
import pickle

import numpy as np
import pytest
from rollouts import assert_same, make_rollout

from worldsim.errors import StoreError
from worldsim.store import RolloutStore
from worldsim.store.format import SEGMENTS
from worldsim.store.ingest import content_key
from worldsim.store.place import open_place
from worldsim.store.reader import ShardReader, ZarrReader, open_rows


@pytest.fixture
def store(tmp_path):
    store = RolloutStore.create(tmp_path / "rollouts")
    store.append([make_rollout(seed) for seed in range(5)])
    store.append([make_rollout(seed) for seed in range(5, 8)], run_id="second")
    return store


def test_an_episode_comes_back_as_it_was_appended(store):
    again = RolloutStore.open(store.path)
    assert len(again) == 8 and again.num_frames == sum(len(make_rollout(seed).obs) for seed in range(8))
    for seed in range(8):
        assert_same(again.episode(seed), make_rollout(seed))


def test_a_rollout_without_state_captions_or_seed_keeps_them_absent(tmp_path):
    store = RolloutStore.create(tmp_path / "s")
    bare = make_rollout(0, state=None, caption=(), seed=None, source="imagined", model="city-64", action_spec=())
    store.append([make_rollout(1), bare])
    assert_same(store.episode(1), bare)
    assert store.info(1).bodies is None and store.info(1).model == "city-64"


def test_discrete_actions_keep_their_type_and_shape(tmp_path):
    store = RolloutStore.create(tmp_path / "s")
    rollout = make_rollout(0, num_steps=6, action=np.array([0, 2, 1, 0, 2, 2]))
    store.append([rollout])
    assert_same(store.episode(0), rollout)
    assert store.window(episode=0, t=1, length=3)[1].tolist() == [2, 1, 0]


@pytest.mark.parametrize("dtype", [">f4", ">i8"])
def test_numbers_of_the_other_byte_order_keep_their_values(tmp_path, dtype):
    action = np.arange(2 * 5000).reshape(5000, 2).astype(dtype)  # more than a chunk of 4096
    swapped, native = (make_rollout(0, 5000, 4, action=a) for a in (action, action.astype(dtype[1:])))
    store = RolloutStore.create(tmp_path / "s")
    store.append([swapped, native])
    for i in range(2):
        np.testing.assert_array_equal(store.episode(i).action, action)
    assert content_key(swapped) == content_key(native) and store.verify() == []


def test_the_index_says_how_an_episode_went(store):
    for seed in range(8):
        info, rollout = store.info(seed), make_rollout(seed)
        assert (info.length, info.seed) == (len(rollout), seed)
        assert (info.terminated, info.truncated) == (bool(seed % 2), not seed % 2)
        assert info.return_ == pytest.approx(rollout.reward.sum(dtype=np.float64))
        assert info.run_id == ("second" if seed >= 5 else "")
        assert info.captions[1] == (2, "a street in rain", "雨中的街道")


def test_a_window_is_a_slice_of_its_episode_for_every_start(store):
    for episode in range(len(store)):
        rollout = make_rollout(episode)
        for t in range(len(rollout) - 3):
            obs, action, reward = store.window(episode=episode, t=t, length=4)
            np.testing.assert_array_equal(obs, rollout.obs[t : t + 5])
            np.testing.assert_array_equal(action, rollout.action[t : t + 4])
            np.testing.assert_array_equal(reward, rollout.reward[t : t + 4])


@pytest.mark.parametrize(("t", "beyond"), [(0, 1), (-1, 0), (3, -2)])
def test_a_window_never_crosses_an_episode(store, t, beyond):
    length = store.info(2).length + beyond
    with pytest.raises(StoreError, match=f"episode 2 has {store.info(2).length} steps"):
        store.window(episode=2, t=t, length=length)


def test_an_episode_that_is_not_there_is_a_clear_error(store):
    for episode in (-1, 8):
        with pytest.raises(StoreError, match="has 8 episodes, numbered from 0"):
            store.episode(episode)


def test_many_windows_at_once_equal_one_by_one_and_fill_the_given_array(store):
    indices = np.array([[0, 0], [7, 1], [3, 2], [0, 1]])
    out = np.zeros((4, 4, 32, 32, 3), np.uint8)
    obs, action, reward = store.windows(indices, 3, out=out)
    assert obs is out
    for i, (episode, t) in enumerate(indices.tolist()):
        for got, want in zip((obs[i], action[i], reward[i]), store.window(episode=episode, t=t, length=3), strict=True):
            np.testing.assert_array_equal(got, want)
    with pytest.raises(StoreError, match="out must be"):
        store.windows(indices, 4, out=out)


def test_windows_share_no_memory_with_the_store(store):
    _, action, reward = store.window(episode=0, t=0, length=3)
    action[:], reward[:] = 9, 9
    np.testing.assert_array_equal(store.window(episode=0, t=0, length=3)[1], make_rollout(0).action[:3])


def test_zarr_python_opens_a_segment_as_it_stands(store):
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(str(store.path / SEGMENTS / store.commits[0].segment), mode="r")
    assert sorted(group.array_keys()) == ["action", "obs", "reward", "state", "terminated", "truncated"]
    for seed, entry in enumerate(group.attrs["episodes"]):
        rollout, row, num_steps = make_rollout(seed), entry["row"], entry["length"]
        np.testing.assert_array_equal(group["obs"][row : row + num_steps + 1], rollout.obs)
        for name in ("action", "reward", "terminated", "truncated"):
            assert group[name].dtype == getattr(rollout, name).dtype
            np.testing.assert_array_equal(group[name][row : row + num_steps], getattr(rollout, name))
        np.testing.assert_array_equal(group["state"][row : row + num_steps + 1, 0], rollout.state["ego"])
        assert np.isnan(group["state"][row, len(rollout.state) :]).all()
    assert group["obs"].chunks == (8, 32, 32, 3) and group["obs"].attrs["role"] == "observation"


def test_frames_with_another_codec_are_read_through_zarr_python(store, tmp_path):
    zarr = pytest.importorskip("zarr")
    obs = make_rollout(0).obs
    array = zarr.create_array(str(tmp_path / "lz4"), shape=obs.shape, dtype=obs.dtype, chunks=(4, 32, 32, 3))
    array[:] = obs
    reader, out = open_rows(open_place(tmp_path), "lz4"), np.empty((5, 32, 32, 3), np.uint8)
    reader.read(1, out)
    assert isinstance(reader, ZarrReader)
    assert isinstance(open_rows(open_place(store.path), f"{SEGMENTS}/{store.commits[0].segment}/obs"), ShardReader)
    np.testing.assert_array_equal(out, obs[1:6])


def test_shards_that_zarr_python_wrote_are_read_like_our_own(tmp_path):
    zarr = pytest.importorskip("zarr")
    obs = make_rollout(0, 20).obs
    codecs = (zarr.codecs.ZstdCodec(level=3), zarr.codecs.Crc32cCodec())
    layout = {"shape": obs.shape, "shards": (24, 32, 32, 3), "chunks": (8, 32, 32, 3), "compressors": codecs}
    zarr.create_array(str(tmp_path / "z"), dtype=obs.dtype, **layout)[:] = obs
    reader, out = open_rows(open_place(tmp_path), "z"), np.empty((12, 32, 32, 3), np.uint8)
    reader.read(5, out)
    assert isinstance(reader, ShardReader)
    np.testing.assert_array_equal(out, obs[5:17])


def test_a_reader_keeps_its_version_until_it_is_refreshed(store):
    reader = RolloutStore.open(store.path)
    assert store.append([make_rollout(8)]) == 3
    assert len(store) == 9 and len(reader) == 8
    reader.refresh()
    assert len(reader) == 9 and reader.lengths[8] == len(make_rollout(8))
    old = RolloutStore.open(store.path, version=1)
    assert (old.version, len(old)) == (1, 5)
    with pytest.raises(StoreError, match="versions 0 to 3"):
        RolloutStore.open(store.path, version=4)


def test_the_same_key_is_stored_once_per_run(store):
    rollouts = [make_rollout(seed) for seed in (20, 21)]
    assert store.append(rollouts, run_id="a", keys=["20", "21"]) == 3
    assert store.append(rollouts, run_id="a", keys=["20", "21"]) == 3
    assert store.append([rollouts[1], make_rollout(22)], run_id="a", keys=["21", "22"]) == 4
    assert store.append(rollouts[:1], run_id="b", keys=["20"]) == 5
    assert [store.info(i).seed for i in range(8, len(store))] == [20, 21, 22, 20]
    assert_same(store.episode(10), make_rollout(22))
    assert store.keys("a") == {"20", "21", "22"}
    assert len(list((store.path / SEGMENTS).iterdir())) == 5  # the repeated append left no segment


def test_a_writer_that_fails_leaves_nothing_behind(store):
    with pytest.raises(StoreError):
        store.append([make_rollout(30), make_rollout(31, size=64)])
    assert len(list((store.path / SEGMENTS).iterdir())) == 2 and len(store) == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 48}, "holds 32x32 frames .* got 48x48 frames"),
        ({"num_steps": 4, "action": np.zeros((4, 3), np.float32)}, r"got .* actions of shape \(3,\)"),
        ({"num_steps": 4, "action": np.zeros(4, np.int64)}, "got .* int64 actions"),
        ({"num_steps": 4, "reward": np.zeros(4)}, "reward must be float32; got float64"),
    ],
)
def test_a_rollout_of_another_shape_is_refused_in_one_line(store, changes, message):
    with pytest.raises(StoreError, match=message) as error:
        store.append([make_rollout(0, **changes)])
    assert "\n" not in str(error.value)
    assert len(list((store.path / SEGMENTS).iterdir())) == 2


def test_two_first_writers_must_agree_on_the_frame_size(tmp_path):
    first, second = RolloutStore.create(tmp_path / "s"), RolloutStore.open(tmp_path / "s")
    first.append([make_rollout(0)])
    with pytest.raises(StoreError, match="holds 32x32"):
        second.append([make_rollout(0, size=64)])
    assert len(list((first.path / SEGMENTS).iterdir())) == 1


def test_a_store_needs_a_place_of_its_own(store, tmp_path):
    with pytest.raises(StoreError, match="is a store already"):
        RolloutStore.create(store.path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match="new or empty directory"):
        RolloutStore.create(tmp_path / "full")


def test_an_empty_store_says_that_it_is_empty(tmp_path):
    store = RolloutStore.create(tmp_path / "s")
    assert len(store) == store.num_frames == store.version == 0
    with pytest.raises(StoreError, match="holds no episodes yet"):
        _ = store.height
    with pytest.raises(StoreError, match="at least one rollout"):
        store.append([])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_an_open_store_works_in_another_process(store, method):
    store.window(episode=0, t=0, length=2)  # files are open
    with multiprocessing.get_context(method).Pool(1) as pool:
        obs, _, _ = pool.apply(_window, (store,))
    np.testing.assert_array_equal(obs, make_rollout(1).obs[:3])


def test_a_pickled_store_keeps_its_version(store):
    data = pickle.dumps(store)
    store.append([make_rollout(9)])
    assert len(pickle.loads(data)) == 8


def test_metadata_stays_plain_json(store):
    group = json.loads((store.path / SEGMENTS / store.commits[0].segment / "zarr.json").read_text())
    texts = [["a street", "街道"], ["a street in rain", "雨中的街道"], ["a car brakes", "车刹车"]]
    assert group["attributes"]["captions"] == texts  # each pair once, whoever says it
    assert group["attributes"]["episodes"][0]["events"][0] == [1, 2, {"name": "brake", "who": "car1"}]
    assert len(group["attributes"]["specs"]) == 1


def _window(store):
    return store.window(episode=1, t=0, length=2)
