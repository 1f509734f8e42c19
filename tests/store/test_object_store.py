"""A store in a bucket of a real S3 server on loopback (moto's): the same code, the same promises."""

import multiprocessing
import pickle
import threading
import urllib.request

import numpy as np
import pytest
from rollouts import assert_same, make_rollout

from worldsim.errors import StoreError
from worldsim.store import RolloutStore, Windows, merge, repair, verify
from worldsim.store.commit_log import commit_name
from worldsim.store.format import SEGMENTS
from worldsim.store.place import open_place

pytest.importorskip("obstore", reason='needs pip install "worldsim-sdk[s3]"')
pytest.importorskip("moto.server", reason="needs moto and flask: make test-s3")


class Switch:
    """The server, which can be told to forget conditions, as some that speak S3 do."""

    def __init__(self, app):
        self._app, self.honours_conditions = app, True

    def __call__(self, environ, start_response):
        if not self.honours_conditions:
            environ.pop("HTTP_IF_NONE_MATCH", None)
        return self._app(environ, start_response)


@pytest.fixture(scope="module")
def server():
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, type, message, *args):
            pass

    switch = Switch(DomainDispatcherApplication(create_backend_app))
    http = make_server("127.0.0.1", 0, switch, threaded=False, request_handler=Quiet)  # one request at a time
    threading.Thread(target=http.serve_forever, daemon=True).start()
    switch.url = f"http://127.0.0.1:{http.server_port}"
    signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request"}
    urllib.request.urlopen(urllib.request.Request(f"{switch.url}/rollouts", method="PUT", headers=signed)).close()
    yield switch
    http.shutdown()


@pytest.fixture
def options(server):
    return {
        "endpoint": server.url,
        "region": "us-east-1",
        "access_key_id": "key",
        "secret_access_key": "secret",
        "client_options": {"allow_http": True},
    }


@pytest.fixture
def store(request, options):
    store = RolloutStore.create(f"s3://rollouts/{request.node.name}", storage_options=options)
    store.append([make_rollout(seed) for seed in range(3)])
    store.append([make_rollout(seed) for seed in range(3, 5)], run_id="a", keys=["3", "4"])
    return store


def test_what_was_appended_comes_back_whole_in_windows_and_in_batches(store, options):
    again = RolloutStore.open(store.path, storage_options=options)
    for seed in range(5):
        assert_same(again.episode(seed), make_rollout(seed))
    obs, action, reward = again.window(episode=4, t=1, length=3)
    np.testing.assert_array_equal(obs, make_rollout(4).obs[1:5])
    np.testing.assert_array_equal(action, make_rollout(4).action[1:4])
    np.testing.assert_array_equal(reward, make_rollout(4).reward[1:4])
    batch = Windows(again, 4, batch_size=3).next()
    for i, (episode, t) in enumerate(batch.index.tolist()):
        np.testing.assert_array_equal(batch.obs[i], make_rollout(episode).obs[t : t + 5])
    assert verify(store.path, storage_options=options) == []


def test_two_handles_that_append_at_once_lose_nothing(store, options):
    first, second = (RolloutStore.open(store.path, storage_options=options) for _ in range(2))
    threads = [
        threading.Thread(target=lambda h=handle, s=seed: [h.append([make_rollout(s + i)]) for i in range(4)])
        for handle, seed in ((first, 20), (second, 40))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.refresh()
    assert store.version == 10
    assert sorted(store.info(i).seed for i in range(5, 13)) == [20, 21, 22, 23, 40, 41, 42, 43]


def test_versions_keys_compaction_and_gc_work_as_on_a_disk(store, options):
    assert store.append([make_rollout(3)], run_id="a", keys=["3"]) == 2  # is there already
    reader = RolloutStore.open(store.path, 1, storage_options=options)
    assert len(reader) == 3 and store.compact() == 2
    assert_same(reader.episode(2), make_rollout(2))
    for seed in range(5):
        assert_same(store.episode(seed), make_rollout(seed))
    removed = store.gc(dry_run=False, grace_s=-60)
    assert len(removed) == 2 and all(str(name).startswith(store.path) for name in removed)
    assert_same(RolloutStore.open(store.path, storage_options=options).episode(4), make_rollout(4))


def test_damage_is_named_and_repaired(store, options):
    store.append([make_rollout(5)])  # the loss of the last entry could not be seen
    place = open_place(store.path, options)
    name = f"{SEGMENTS}/{store.commits[0].segment}/obs/c.0.0.0.0"
    data = bytearray(place.read(name))
    data[100] ^= 1
    place.replace(name, bytes(data))
    place.remove(commit_name(2))
    faults = verify(store.path, storage_options=options)
    assert [(fault.file, fault.chunk) for fault in faults] == [(commit_name(2), None), (name, 0)]
    repair(store.path, storage_options=options)
    assert verify(store.path, storage_options=options) == []
    again = RolloutStore.open(store.path, storage_options=options)
    assert {1, 2, 3, 4, 5} <= {again.info(i).seed for i in range(len(again))}


def test_a_directory_and_a_bucket_merge_into_each_other(store, options, tmp_path):
    local = RolloutStore.create(tmp_path / "local")
    assert merge(local, store) == 5 and merge(local, store) == 0
    assert_same(local.episode(4), make_rollout(4))


def test_a_spawned_process_reads_a_pickled_handle(store):
    assert len(pickle.loads(pickle.dumps(store))) == 5
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(_first_frame, (store,)), make_rollout(1).obs[0])


def test_a_server_that_forgets_conditions_is_refused(server, options):
    server.honours_conditions = False
    try:
        with pytest.raises(StoreError, match="overwrites names that are taken"):
            RolloutStore.create("s3://rollouts/careless", storage_options=options)
    finally:
        server.honours_conditions = True


def test_zarr_python_opens_a_segment_in_the_bucket(store, options):
    zarr = pytest.importorskip("zarr")
    place = open_place(store.path, options)
    group = zarr.open_group(place.zarr_store(f"{SEGMENTS}/{store.commits[0].segment}"), mode="r")
    np.testing.assert_array_equal(group["obs"][: len(make_rollout(0).obs)], make_rollout(0).obs)


def test_what_is_not_there_is_one_clear_line(options):
    with pytest.raises(StoreError, match="is not a rollout store") as error:
        RolloutStore.open("s3://rollouts/nowhere", storage_options=options)
    assert "\n" not in str(error.value)


def _first_frame(store):
    return store.window(episode=1, t=0, length=1)[0][0]
