"""Several processes take the steps that one process takes."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import worldsim
from tests.train.two_ranks import CONFIG, STEPS
from worldsim.collect import collect
from worldsim.train import train

ROOT = Path(__file__).parent.parent.parent
SIZES = {"alone": 1, "accumulated": 1, "copied": 2, "divided": 2}


def _free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


@pytest.fixture(scope="module")
def store_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("ranks") / "store"
    collect("tests.collect.square_world:Square-v0", 4, path, seed=0)
    return path


@pytest.fixture(scope="module")
def runs(store_path, tmp_path_factory):
    """Return the directory of each kind of run; all of their processes run at the same time."""
    root, processes = tmp_path_factory.mktemp("runs"), []
    for kind, size in SIZES.items():
        (root / kind).mkdir()
        port, second_port = _free_port(), _free_port()  # two runs, one after the other, must not meet at one port
        for rank in range(size):
            env = {
                **os.environ,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(size),
                "LOCAL_WORLD_SIZE": str(size),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
                "SECOND_PORT": second_port,
                "OMP_NUM_THREADS": "1",
            }
            command = [sys.executable, "-m", "tests.train.two_ranks", str(store_path), str(root / kind), kind]
            processes.append(subprocess.Popen(command, env=env, cwd=ROOT, stderr=subprocess.PIPE, text=True))
    for process in processes:
        _, errors = process.communicate(timeout=110)
        assert process.returncode == 0, errors
    return {kind: root / kind for kind in SIZES}


def _losses(run):
    lines = [json.loads(line) for line in (run / "run" / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == "loss"]


@pytest.mark.parametrize("kind", ["accumulated", "copied", "divided"])
def test_shares_give_the_loss_and_the_gradient_of_the_whole(runs, kind):
    alone, shared = _losses(runs["alone"]), _losses(runs[kind])
    assert len(alone) == len(shared) == STEPS  # rank 0 alone wrote
    for one, other in zip(alone, shared, strict=True):
        for name in ("total", "frame", "contrast", "reward", "terminate"):
            assert other[name] == pytest.approx(one[name], rel=1e-5, abs=1e-7), name
    told = [torch.load(runs[which] / "rank0.pt") for which in ("alone", kind)]
    assert len(told[0]["norms_true_contexts"]) == STEPS
    assert told[1]["norms_true_contexts"] == pytest.approx(told[0]["norms_true_contexts"], rel=1e-5)
    norms = [which["norms"] for which in told]
    # Own frames are rounded to whole levels: a last bit that differs with the size of a batch may move one by a level.
    assert norms[1][:1] == pytest.approx(norms[0][:1], rel=1e-5)
    assert norms[1] == pytest.approx(norms[0], rel=1e-3)
    for run in ("run", "true_contexts"):
        one, other = (torch.load(runs[which] / run / "state.pt")["networks"] for which in ("alone", kind))
        for name, value in one.items():
            torch.testing.assert_close(other[name], value, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["copied", "divided"])
def test_the_critic_the_led_weight_and_the_clock_are_the_same_on_all_ranks(runs, kind):
    one, other = (torch.load(runs[kind] / f"rank{rank}.pt") for rank in range(2))
    assert torch.equal(one["critic"], other["critic"])
    assert torch.equal(one["led"], other["led"])
    assert one["norms"] == other["norms"]


@pytest.mark.parametrize("kind", ["copied", "divided"])
def test_what_two_processes_saved_one_loads_and_resumes(runs, store_path, kind):
    run = runs[kind] / "run"
    model = worldsim.load(run)
    assert model.meta["training"]["processes"] == 2
    state = model.encode(model.starts[0].frames[None], model.starts[0].actions[None], prompts=[None], seeds=[0])
    assert model.step(state, model.starts[0].actions[:1])[1].frames.shape == (1, 32, 32, 3)
    train(store_path, run, preset="tiny", steps=STEPS + 1, resume=True, config=CONFIG, log=lambda line: None)
    assert worldsim.load(run).meta["training"]["steps_done"] == STEPS + 1
