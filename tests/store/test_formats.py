"""What goes out comes back, through the real libraries, and what does not is said."""

import json

import numpy as np
import pytest
from rollouts import assert_same, make_rollout

from worldsim.errors import StoreError
from worldsim.store import RolloutStore, export_store, import_into

LOSSLESS = ["npz", "hdf5", "minari"]


@pytest.fixture
def store(tmp_path):
    store = RolloutStore.create(tmp_path / "rollouts")
    store.append([make_rollout(seed) for seed in range(3)], run_id="a", keys=["0", "1", "2"])
    store.append([make_rollout(4, seed=None, model="city-64", source="imagined")])
    return store


def path_for(tmp_path, name):
    return tmp_path / ("out.hdf5" if name == "hdf5" else "out")


def there_and_back(store, tmp_path, name):
    losses = export_store(store, path_for(tmp_path, name), to=name)
    back = RolloutStore.create(tmp_path / "back")
    assert import_into(back, path_for(tmp_path, name)) == len(store)
    assert import_into(back, path_for(tmp_path, name)) == 0
    return losses, back


@pytest.mark.parametrize("name", LOSSLESS)
def test_a_lossless_format_returns_every_byte_and_every_fact(store, tmp_path, name):
    pytest.importorskip({"hdf5": "h5py"}.get(name, "numpy" if name == "npz" else name))
    _, back = there_and_back(store, tmp_path, name)
    for i in range(len(store)):
        assert_same(back.episode(i), store.episode(i))
    assert back.keys("a") == {"0", "1", "2"}


@pytest.mark.parametrize("name", [*LOSSLESS, "diffusion-policy", "mp4"])
@pytest.mark.parametrize("actions", [np.array([0, 2, 1, 0, 2]), np.array([[0, 3]] * 5)], ids=["discrete", "multi"])
def test_actions_keep_their_type_and_shape(tmp_path, name, actions):
    pytest.importorskip({"hdf5": "h5py", "mp4": "av", "minari": "minari"}.get(name, "numpy"))
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


def test_what_cannot_be_done_is_one_clear_line(store, tmp_path):
    (tmp_path / "empty").mkdir()
    for act, message in [
        (lambda: export_store(store, tmp_path / "x", to="gif"), "must be one of npz, hdf5, minari"),
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
