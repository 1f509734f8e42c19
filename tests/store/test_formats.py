"""What goes out comes back, through the real libraries, and what does not is said."""

import json

import numpy as np
import pytest
from rollouts import assert_same, make_rollout

from worldsim.errors import StoreError
from worldsim.store import RolloutStore, export_store, import_into

LOSSLESS = ["npz", "hdf5", "minari", "swm", "swm-lance"]
LIBRARY = {
    "hdf5": "h5py", "minari": "minari", "swm": "h5py", "swm-lance": "lance", "lerobot": "pyarrow",
    "lerobot-mp4": "av", "mp4": "av", "diffusion-policy": "zarr", "npz": "numpy",
}  # fmt: skip
ENDING = {"hdf5": ".hdf5", "swm": ".h5", "swm-lance": ".lance"}


@pytest.fixture
def store(tmp_path):
    store = RolloutStore.create(tmp_path / "rollouts")
    store.append([make_rollout(seed) for seed in range(3)], run_id="a", keys=["0", "1", "2"])
    store.append([make_rollout(4, seed=None, model="city-64", source="imagined")])
    return store


def path_for(tmp_path, name):
    return tmp_path / f"out{ENDING.get(name, '')}"


def there_and_back(store, tmp_path, name):
    losses = export_store(store, path_for(tmp_path, name), to=name)
    back = RolloutStore.create(tmp_path / "back")
    assert import_into(back, path_for(tmp_path, name)) == len(store)
    assert import_into(back, path_for(tmp_path, name)) == 0
    return losses, back


@pytest.mark.parametrize("name", LOSSLESS)
def test_a_lossless_format_returns_every_byte_and_every_fact(store, tmp_path, name):
    pytest.importorskip(LIBRARY[name])
    _, back = there_and_back(store, tmp_path, name)
    for i in range(len(store)):
        assert_same(back.episode(i), store.episode(i))
    assert back.keys("a") == {"0", "1", "2"}


@pytest.mark.parametrize("name", LIBRARY)
@pytest.mark.parametrize("actions", [np.array([0, 2, 1, 0, 2]), np.array([[0, 3]] * 5)], ids=["discrete", "multi"])
def test_actions_keep_their_type_and_shape(tmp_path, name, actions):
    pytest.importorskip(LIBRARY[name])
    store = RolloutStore.create(tmp_path / "rollouts")
    store.append([make_rollout(0, num_steps=5, action=actions, action_spec=())])
    _, back = there_and_back(store, tmp_path, name)
    assert back.actions(0).dtype == actions.dtype
    np.testing.assert_array_equal(back.actions(0), actions)


def test_npz_says_that_nothing_is_lost_and_needs_numpy_only(store, tmp_path):
    assert export_store(store, tmp_path / "out", to="npz") == []
    with np.load(tmp_path / "out" / "episode_000001.npz") as data:
        np.testing.assert_array_equal(data["obs"], make_rollout(1).obs)
        np.testing.assert_array_equal(data["state/car0"], make_rollout(1).state["car0"])


def test_robomimic_finds_what_it_looks_for(store, tmp_path):
    h5py = pytest.importorskip("h5py")
    export_store(store, tmp_path / "out.hdf5", to="hdf5")
    with h5py.File(tmp_path / "out.hdf5") as file:
        data, rollout = file["data"], make_rollout(2)
        assert data.attrs["total"] == store.lengths.sum()
        assert json.loads(data.attrs["env_args"])["env_name"] == "worldsim/City-v0"
        assert data["demo_2"].attrs["num_samples"] == len(rollout)
        np.testing.assert_array_equal(data["demo_2/obs/image"][:], rollout.obs[:-1])
        np.testing.assert_array_equal(data["demo_2/next_obs/image"][:], rollout.obs[1:])
        np.testing.assert_array_equal(data["demo_2/actions"][:], rollout.action)
        assert data["demo_2/dones"][:].tolist() == [0] * (len(rollout) - 1) + [1]


def test_minari_opens_what_was_exported(store, tmp_path, monkeypatch):
    minari = pytest.importorskip("minari")
    losses = export_store(store, tmp_path / "root" / "street-v0", to="minari")
    assert any("worldsim.jsonl" in loss for loss in losses)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "root"))
    dataset = minari.load_dataset("street-v0")
    assert (dataset.total_episodes, dataset.total_steps) == (4, store.lengths.sum())
    assert dataset.observation_space.shape == (32, 32, 3) and dataset.env_spec.id == "worldsim/City-v0"
    episode, rollout = dataset[1], make_rollout(1)
    np.testing.assert_array_equal(episode.observations, rollout.obs)
    np.testing.assert_array_equal(episode.actions, rollout.action)
    np.testing.assert_array_equal(episode.infos["state"]["car0"], rollout.state["car0"])
    assert dataset.storage.get_episode_metadata([1]).__next__()["seed"] == 1


@pytest.mark.filterwarnings("ignore:.*env.* is.* None:UserWarning")
def test_a_dataset_that_minari_made_is_imported(tmp_path, monkeypatch):
    minari = pytest.importorskip("minari")
    import gymnasium as gym

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "root"))
    rollouts = [make_rollout(seed, state=None) for seed in range(2)]
    buffers = [
        minari.data_collector.EpisodeBuffer(
            observations=rollout.obs,
            actions=rollout.action,
            rewards=rollout.reward,
            terminations=rollout.terminated,
            truncations=rollout.truncated,
        )
        for rollout in rollouts
    ]
    minari.create_dataset_from_buffers(
        "street-v0",
        buffers,
        observation_space=gym.spaces.Box(0, 255, (32, 32, 3), np.uint8),
        action_space=gym.spaces.Box(-1, 1, (2,), np.float32),
        algorithm_name="a",
        author="b",
        author_email="c",
        code_permalink="d",
        description="e",
        jpeg_encoding=False,
    )
    store = RolloutStore.create(tmp_path / "s")
    assert import_into(store, tmp_path / "root" / "street-v0") == 2
    for i, rollout in enumerate(rollouts):
        np.testing.assert_array_equal(store.episode(i).obs, rollout.obs)
        np.testing.assert_array_equal(store.episode(i).reward, rollout.reward)


def test_diffusion_policy_finds_rows_per_step_and_only_states_are_lost(store, tmp_path):
    zarr = pytest.importorskip("zarr")
    losses, back = there_and_back(store, tmp_path, "diffusion-policy")
    assert losses == ["the states of bodies have no place in it"]
    root = zarr.open_group(str(tmp_path / "out"), mode="r")
    ends = root["meta/episode_ends"][:]
    assert ends.tolist() == np.cumsum(store.lengths).tolist()
    assert {array.shape[0] for _, array in root["data"].arrays()} == {ends[-1]}
    np.testing.assert_array_equal(root["data/img"][ends[0] : ends[1]], make_rollout(1).obs[:-1])
    for i in range(3):
        assert_same(back.episode(i), make_rollout(i, state=None))


def test_a_foreign_replay_buffer_loses_the_step_without_a_next_frame(tmp_path):
    zarr = pytest.importorskip("zarr")
    rollout = make_rollout(0, num_steps=9)
    root = zarr.open_group(str(tmp_path / "buffer"), mode="w", zarr_format=2)
    root.create_array("data/img", data=rollout.obs[:-1])
    root.create_array("data/action", data=rollout.action)
    root.create_array("meta/episode_ends", data=np.array([4, 9]))
    store = RolloutStore.create(tmp_path / "s")
    assert import_into(store, tmp_path / "buffer") == 2
    assert store.lengths.tolist() == [3, 4]
    np.testing.assert_array_equal(store.episode(1).obs, rollout.obs[4:9])
    np.testing.assert_array_equal(store.actions(1), rollout.action[4:8])
    assert store.info(1).truncated and store.info(0).run_id == "import/diffusion-policy"


def test_films_say_how_far_they_are_from_the_frames(tmp_path):
    pytest.importorskip("av")
    ramp = np.linspace(0, 200, 48, dtype=np.uint8)
    still = (
        np.broadcast_to(ramp[None, :, None, None], (8, 48, 48, 3)) + np.arange(8, dtype=np.uint8)[:, None, None, None]
    )
    rollout = make_rollout(0, num_steps=7, obs=np.ascontiguousarray(still))
    store = RolloutStore.create(tmp_path / "rollouts")
    store.append([rollout])
    losses, back = there_and_back(store, tmp_path, "mp4")
    decibels = float(losses[0].split(": ")[1].split()[0])
    error = back.episode(0).obs.astype(float) - rollout.obs
    assert decibels == pytest.approx(10 * np.log10(255**2 / (error**2).mean()), abs=0.1) and decibels > 35
    assert_same(back.episode(0), make_rollout(0, num_steps=7, obs=back.episode(0).obs, state=None))


def ramp(num_frames, first):
    """Return frames that a film keeps well: a slope that grows brighter from frame to frame."""
    slope = np.linspace(0, 120, 48)[None, :, None, None] + np.linspace(0, 40, 48)[None, None, :, None]
    return (np.broadcast_to(slope, (1, 48, 48, 3)) + first + np.arange(num_frames)[:, None, None, None]).astype(
        np.uint8
    )


def test_lerobot_with_pictures_loses_the_states_only(store, tmp_path):
    pytest.importorskip("pyarrow")
    losses, back = there_and_back(store, tmp_path, "lerobot")
    assert any("states of bodies" in loss for loss in losses) and not any("lossy" in loss for loss in losses)
    for i in range(3):
        assert_same(back.episode(i), make_rollout(i, state=None))
    assert back.keys("a") == {"0", "1", "2"}


def test_lerobot_finds_rows_tasks_and_statistics_where_it_looks_for_them(store, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    export_store(store, tmp_path / "out", to="lerobot")
    info = json.loads((tmp_path / "out/meta/info.json").read_text())
    total = int(store.lengths.sum())
    assert (info["codebase_version"], info["total_episodes"], info["total_frames"], info["fps"]) == (
        "v3.0",
        4,
        total,
        10,
    )
    assert info["features"]["observation.image"]["shape"] == [32, 32, 3]
    rows = parquet.read_table(tmp_path / "out/data/chunk-000/file-000.parquet")
    assert set(rows.column_names) == set(info["features"]) and len(rows) == total
    assert rows["index"].to_pylist() == list(range(total))
    assert rows["timestamp"].to_pylist()[:3] == pytest.approx([0, 0.1, 0.2])
    episodes = parquet.read_table(tmp_path / "out/meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [row["length"] for row in episodes] == store.lengths.tolist()
    assert episodes[1]["dataset_from_index"] == episodes[0]["dataset_to_index"] == store.lengths[0]
    assert episodes[0]["tasks"] == ["a street", "a street in rain"]
    tasks = parquet.read_table(tmp_path / "out/meta/tasks.parquet")
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["__index_level_0__"]
    assert rows["task_index"].to_pylist()[:4] == [0, 0, 1, 1]
    stats = json.loads((tmp_path / "out/meta/stats.json").read_text())
    actions = np.concatenate([store.actions(i) for i in range(4)])
    np.testing.assert_allclose(stats["action"]["mean"], actions.mean(0), atol=1e-6)
    np.testing.assert_allclose(stats["action"]["std"], actions.std(0), atol=1e-6)
    np.testing.assert_allclose(stats["action"]["max"], actions.max(0), atol=1e-6)
    assert stats["action"]["count"] == [total] and np.shape(stats["observation.image"]["mean"]) == (3, 1, 1)


def test_lerobot_films_hold_many_episodes_and_give_each_its_own_frames(tmp_path):
    pytest.importorskip("pyarrow")
    pytest.importorskip("av")
    store = RolloutStore.create(tmp_path / "rollouts")
    rollouts = [make_rollout(i, num_steps=7 + i, obs=ramp(8 + i, 25 * i), state=None) for i in range(3)]
    store.append(rollouts)
    losses, back = there_and_back(store, tmp_path, "lerobot-mp4")
    assert len(list((tmp_path / "out").rglob("*.mp4"))) == 1
    decibels, squared, count = float(losses[0].split(": ")[1].split()[0]), 0.0, 0
    for i, rollout in enumerate(rollouts):
        error = back.episode(i).obs.astype(float) - rollout.obs
        assert np.abs(error).mean() < 3 and not error[-1].any()  # the last frame stands apart, as a picture
        squared, count = squared + (error[:-1] ** 2).sum(), count + error[:-1].size
        assert_same(back.episode(i), make_rollout(i, num_steps=7 + i, obs=back.episode(i).obs, state=None))
    assert decibels == pytest.approx(10 * np.log10(255**2 * count / squared), abs=0.1) and decibels > 35


@pytest.mark.parametrize("name", ["lerobot", "lerobot-mp4"])
def test_a_foreign_lerobot_dataset_loses_the_step_without_a_next_frame(tmp_path, name):
    pytest.importorskip("pyarrow")
    pytest.importorskip("av")
    store = RolloutStore.create(tmp_path / "rollouts")
    store.append([make_rollout(i, num_steps=6 + i, obs=ramp(7 + i, 0)) for i in range(2)])
    export_store(store, tmp_path / "out", to=name)
    (tmp_path / "out/meta/worldsim.parquet").unlink()
    back = RolloutStore.create(tmp_path / "back")
    assert import_into(back, tmp_path / "out") == 2
    assert back.lengths.tolist() == [5, 6] and back.info(0).control_dt == 0.1
    assert [caption.en for caption in back.episode(1).caption] == ["a street", "a street in rain"]
    np.testing.assert_array_equal(back.actions(1), store.actions(1)[:-1])
    assert np.abs(back.episode(1).obs.astype(int) - store.episode(1).obs[:-1]).mean() < (3 if "mp4" in name else 1e-9)
    assert back.info(1).truncated and back.info(1).run_id == "import/lerobot"


def test_lerobot_data_that_cannot_be_read_is_one_clear_line(store, tmp_path):
    pytest.importorskip("pyarrow")
    export_store(store, tmp_path / "out", to="lerobot")
    info = json.loads((tmp_path / "out/meta/info.json").read_text())

    def refused(message):
        with pytest.raises(StoreError, match=message) as error:
            import_into(RolloutStore.open_or_create(tmp_path / "back"), tmp_path / "out")
        assert "\n" not in str(error.value)

    for change, message in [
        ({"codebase_version": "v2.1"}, "is a LeRobotDataset of v2.1; convert it"),
        ({"features": {"action": info["features"]["action"]}}, "needs a camera and an action"),
    ]:
        (tmp_path / "out/meta/info.json").write_text(json.dumps({**info, **change}))
        refused(message)
    (tmp_path / "out/meta/info.json").write_text(json.dumps(info))
    file = tmp_path / "out/data/chunk-000/file-000.parquet"
    file.write_bytes(file.read_bytes()[:1000])
    refused("is not a whole LeRobotDataset")
    assert len(RolloutStore.open(tmp_path / "back")) == 0


def test_stable_worldmodel_finds_a_row_per_frame(store, tmp_path):
    h5py = pytest.importorskip("h5py")
    export_store(store, tmp_path / "out.h5", to="swm")
    with h5py.File(tmp_path / "out.h5", "r", swmr=True) as file:  # as its reader opens it
        lengths, offsets = file["ep_len"][:], file["ep_offset"][:]
        assert lengths.tolist() == (store.lengths + 1).tolist() and offsets.tolist()[1] == lengths[0]
        assert all(len(file[name]) == lengths.sum() for name in file if name not in {"ep_len", "ep_offset"})
        rows, rollout = slice(offsets[1], offsets[1] + lengths[1]), make_rollout(1)
        np.testing.assert_array_equal(file["pixels"][rows], rollout.obs)
        np.testing.assert_array_equal(file["action"][rows][:-1], rollout.action)
        np.testing.assert_array_equal(file["reward"][rows][1:], rollout.reward)
        assert np.isnan(file["action"][rows][-1]).all() and np.isnan(file["reward"][rows][0])
        assert file["terminated"][rows][-1] and np.isnan(file["state_car1"][rows]).all()


def test_a_foreign_table_of_stable_worldmodel_is_imported_without_its_last_action(tmp_path):
    h5py = pytest.importorskip("h5py")
    rollout = make_rollout(0, num_steps=9)
    with h5py.File(tmp_path / "expert.h5", "w", libver="latest") as file:
        file["pixels"], file["ep_len"], file["ep_offset"] = rollout.obs, np.array([4, 6]), np.array([0, 4])
        file["action"] = np.concatenate([rollout.action, rollout.action[:1]])  # it turns the first one to the end
        file["id"] = np.array(["x"] * 10, dtype=object)
    store = RolloutStore.create(tmp_path / "s")
    assert import_into(store, tmp_path / "expert.h5") == 2
    assert store.lengths.tolist() == [3, 5] and store.info(1).run_id == "import/swm"
    np.testing.assert_array_equal(store.episode(1).obs, rollout.obs[4:])
    np.testing.assert_array_equal(store.actions(1), rollout.action[4:])
    assert not store.rewards(1).any() and store.info(1).truncated


def test_more_facts_than_an_hdf5_header_holds_come_back(tmp_path):
    pytest.importorskip("h5py")
    store = RolloutStore.create(tmp_path / "rollouts")
    store.append([make_rollout(i, num_steps=5, variation={"note": "x" * 40_000}) for i in range(4)])
    _, back = there_and_back(store, tmp_path, "swm")
    assert back.info(3).variation == {"note": "x" * 40_000}


def test_what_cannot_be_done_is_one_clear_line(store, tmp_path):
    (tmp_path / "empty").mkdir()
    for act, message in [
        (lambda: export_store(store, tmp_path / "x", to="gif"), "must be one of npz, swm, "),
        (lambda: export_store(store, tmp_path / "empty", to="npz"), "exists already"),
        (lambda: import_into(store, tmp_path / "empty"), "looks like none of"),
        (lambda: import_into(store, tmp_path / "nowhere"), "does not exist"),
    ]:
        with pytest.raises(StoreError, match=message) as error:
            act()
        assert "\n" not in str(error.value)


def test_a_missing_package_is_named_with_what_installs_it(store, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(ValueError, match=r"h5py is needed to read and write HDF5; .*\[hdf5\]"):
        export_store(store, tmp_path / "out.hdf5", to="hdf5")
