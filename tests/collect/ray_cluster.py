"""Collection by Ray actors, on a real Ray that starts here with two CPUs: ``make test-ray``."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import square_world

from worldsim.collect import collect
from worldsim.errors import EnvError
from worldsim.store import RolloutStore, verify

ray = pytest.importorskip("ray")

SQUARE, FATAL = "square_world:Square-v0", "square_world:FatalOnce-v0"


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """One Ray for all tests but the last; its processes find the worlds beside this file."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    folder = os.path.dirname(square_world.__file__)
    env = {"env_vars": {"PYTHONPATH": folder}}
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=10**8, runtime_env=env)
    yield
    ray.shutdown()


def seeds(store):
    return [store.info(i).seed for i in range(len(store))]


def test_two_actors_collect_the_same_episodes_as_one_process(tmp_path):
    reports = []
    store = collect(SQUARE, 12, tmp_path / "ray", workers=2, engine="ray", progress=reports.append)
    one = collect(SQUARE, 12, tmp_path / "one")
    assert sorted(seeds(store)) == list(range(12)) and verify(store.path) == []
    for i, seed in enumerate(seeds(store)):
        np.testing.assert_array_equal(store.episode(i).obs, one.episode(seed).obs)
        np.testing.assert_array_equal(store.episode(i).action, one.episode(seed).action)
    assert [report.episodes for report in reports] == list(range(1, 13))
    version = store.version
    again = collect(SQUARE, 12, tmp_path / "ray", workers=2, engine="ray")
    assert again.version == version
    assert len(collect(SQUARE, 14, tmp_path / "ray")) == 14  # either engine goes on where the other stopped


def test_a_killed_actor_loses_the_episode_it_played_and_the_same_call_goes_on(tmp_path):
    call = {"env_kwargs": {"marker": str(tmp_path / "killed")}, "workers": 2, "engine": "ray"}
    reports = []
    with pytest.raises(EnvError, match=r"an actor of .* died; what was committed is safe"):
        collect(FATAL, 30, tmp_path / "s", progress=reports.append, **call)
    store = RolloutStore.open(tmp_path / "s")
    held = seeds(store)
    assert verify(store.path) == [] and len(set(held)) == len(held) == reports[-1].episodes
    assert 9 not in held and set(range(9)) <= set(held)
    again = collect(FATAL, 30, tmp_path / "s", **call)
    assert sorted(seeds(again)) == list(range(30)) and seeds(again)[: len(held)] == held
    assert verify(again.path) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"env_id": "Nowhere-v0"}, "cannot make 'Nowhere-v0'"),
        ({"policy": "expert"}, "has the policies mixture; got 'expert'"),
        ({"workers": 3}, "3 workers need as many CPUs of the Ray cluster; it has 2"),
    ],
)
def test_what_cannot_be_collected_is_one_clear_line(tmp_path, arguments, message):
    with pytest.raises(EnvError, match=message) as error:
        collect(
            **{"env_id": SQUARE, "episodes": 4, "store_path": tmp_path / "s", "workers": 2, "engine": "ray"} | arguments
        )
    assert "\n" not in str(error.value)


def test_ctrl_c_lets_the_episodes_end_and_a_cluster_of_its_own_goes_down(tmp_path):
    ray.shutdown()
    code = (
        "import signal, sys\n"
        "from worldsim.collect import collect\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a background job starts deaf to Ctrl-C
        f"collect({SQUARE!r}, 4000, sys.argv[1], workers=2, engine='ray',"
        " progress=lambda p: print(p.episodes, flush=True))"
    )
    env = {**os.environ, "PYTHONPATH": os.path.dirname(square_world.__file__)}
    command = [sys.executable, "-c", code, str(tmp_path / "s")]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, start_new_session=True
    )
    for _ in range(4):
        process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert process.returncode != 0 and errors.strip().endswith("KeyboardInterrupt")
    store = RolloutStore.open(tmp_path / "s")
    assert 4 + len(out.split()) <= len(store) < 4000 and verify(store.path) == [] and store.gc(grace_s=0) == []
