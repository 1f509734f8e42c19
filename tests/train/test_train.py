import json
import shutil
import signal
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch

import worldsim
from tests.model.helpers import box_spec, shaken_model
from worldsim.collect import collect
from worldsim.errors import CheckpointError, StoreError, WorldsimError
from worldsim.model import spec_of
from worldsim.model.sampler import schedule
from worldsim.store import RolloutStore
from worldsim.train import TrainConfig, train
from worldsim.train.critic import Critic
from worldsim.train.data import Batch, Dataset
from worldsim.train.draws import Draws
from worldsim.train.objective import make_inputs
from worldsim.train.rollout_context import with_own_frames
from worldsim.train.world import world_of

ENV = "tests.collect.square_world:Square-v0"
QUICK = TrainConfig(
    batch=4,
    length=6,
    report_s=0.0,
    validate_s=1e9,
    save_s=1e9,
    own_frames_from=0.5,
    deep_steps=2,
    learning_rate=5e-3,
    warmup_steps=5,
)

PARTS = ("networks", "ema", "critic")


@pytest.fixture(scope="module")
def store_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("square") / "store"
    collect(ENV, 12, path, seed=0)
    return path


@pytest.fixture(scope="module")
def run(store_path, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    train(store_path, path, preset="tiny", steps=60, config=QUICK, log=lambda line: None)
    return path


def _records(run, kind):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def test_the_loss_falls_and_the_run_can_be_loaded(run):
    losses = [record["reward"] for record in _records(run, "loss")]  # the reward is the action: quickly learned
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])
    model = worldsim.load(run)
    assert model.spec.env_id == ENV
    assert model.meta["training"]["steps_done"] == 60
    assert model.meta["training"]["frames_seen"] == 60 * 4 * 6
    assert model.card["episodes"] == 12
    assert (model.starts[0].frames.shape[0], len(model.starts[0].actions)) == (4, 3)
    assert list((run / "strips").glob("*.png"))


def test_the_order_in_which_workers_ended_changes_nothing(store_path, tmp_path):
    store = RolloutStore.open(store_path)
    other = RolloutStore.create(tmp_path / "other")
    for i in (5, 0, *range(len(store) - 1, 5, -1), 3, 1, 2, 4):
        other.append([store.episode(i)])
    runs = [tmp_path / "one", tmp_path / "two"]
    for path, run in zip((store_path, tmp_path / "other"), runs, strict=True):
        train(path, run, preset="tiny", steps=5, config=QUICK, log=lambda line: None)
    assert _same_state(*runs)
    one, two = (worldsim.load(run) for run in runs)
    for start, as_well in zip(one.starts, two.starts, strict=True):
        assert np.array_equal(start.frames, as_well.frames)


def test_a_resumed_run_ends_at_the_same_bits(store_path, run, tmp_path):
    stopped = tmp_path / "stopped"

    def stop_at_25(line):
        if line.startswith("step 25 "):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(store_path, stopped, preset="tiny", steps=60, config=QUICK, log=stop_at_25)
    train(store_path, stopped, preset="tiny", steps=60, resume=True, config=QUICK, log=lambda line: None)
    assert _same_state(run, stopped)


def test_ctrl_c_in_mid_step_saves_a_whole_step(store_path, run, tmp_path, monkeypatch):
    stopped, before = tmp_path / "stopped", signal.signal(signal.SIGINT, signal.default_int_handler)
    learn, calls = Critic.learn, []

    def interrupted(self, *args, **kwargs):
        calls.append(None)
        if len(calls) == 10:
            signal.raise_signal(signal.SIGINT)
        return learn(self, *args, **kwargs)

    monkeypatch.setattr(Critic, "learn", interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(store_path, stopped, preset="tiny", steps=60, config=QUICK, log=lambda line: None)
    finally:
        signal.signal(signal.SIGINT, before)
    assert worldsim.load(stopped).meta["training"]["steps_done"] == 40  # the critic learns from step 30 on
    train(store_path, stopped, preset="tiny", steps=60, resume=True, config=QUICK, log=lambda line: None)
    assert _same_state(run, stopped)


def _same_state(*runs):
    one, other = (torch.load(path / "state.pt", weights_only=True) for path in runs)
    return all(torch.equal(value, other[part][name]) for part in PARTS for name, value in one[part].items())


def test_a_run_is_neither_overwritten_nor_resumed_by_mistake(store_path, run, tmp_path):
    with pytest.raises(WorldsimError, match="already holds a run"):
        train(store_path, run, preset="tiny", steps=1)
    with pytest.raises(CheckpointError, match="no run to resume"):
        train(store_path, tmp_path / "none", preset="tiny", steps=1, resume=True)
    with pytest.raises(WorldsimError, match="unknown preset"):
        train(store_path, tmp_path / "none", preset="huge", steps=1)
    with pytest.raises(WorldsimError, match="budget"):
        train(store_path, tmp_path / "none", preset="tiny")
    for budget in ({"minutes": 0.0}, {"minutes": -1.0}, {"minutes": float("nan")}, {"steps": 0}, {"steps": -1}):
        with pytest.raises(WorldsimError, match=r"(minutes|steps) must be a number above 0"):
            train(store_path, tmp_path / "none", preset="tiny", **budget)
    with pytest.raises(StoreError, match="at least 500 steps"):
        train(store_path, tmp_path / "none", preset="tiny", steps=1, config=TrainConfig(length=500))


def _first_steps(store_path, num, into):
    """Write a store whose three episodes are the first steps of the first one."""
    whole = RolloutStore.open(store_path).episode(0)
    parts = {name: getattr(whole, name)[:num] for name in ("action", "reward", "terminated", "truncated")}
    short = replace(whole, obs=whole.obs[: num + 1], **parts, state=None, caption=(), events=())
    RolloutStore.create(into).append([short] * 3)
    return into


def test_episodes_too_short_to_start_from_are_refused_before_the_first_step(store_path, tmp_path):
    _first_steps(store_path, 4, tmp_path / "short")
    config = replace(QUICK, length=3)  # for which four steps would do
    with pytest.raises(StoreError, match="at least 5 steps; the longest here has 4"):
        train(tmp_path / "short", tmp_path / "run", preset="tiny", steps=1, config=config, log=lambda line: None)
    assert not (tmp_path / "run").exists()


def test_a_store_that_cannot_be_validated_on_is_told_before_the_first_step(store_path, tmp_path):
    collect("tests.train.lamp_world:OneLamps-v0", 1, tmp_path / "lamps", seed=0)
    with pytest.raises(StoreError, match=r"lamps holds frames of 40x50 .* 32x32"):
        train(store_path, tmp_path / "run", preset="tiny", steps=1, val=tmp_path / "lamps", log=lambda line: None)
    assert not (tmp_path / "run").exists()
    short, lines = _first_steps(store_path, 3, tmp_path / "short"), []
    train(store_path, tmp_path / "run", preset="tiny", steps=1, val=short, config=QUICK, log=lines.append)
    assert "nothing is validated: no held-out episode has 4 steps" in lines


def test_a_truncated_state_is_one_clear_error(store_path, run, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(run, damaged)
    data = (damaged / "state.pt").read_bytes()
    for content in (data[: len(data) // 2], b"nonsense" * 99):
        (damaged / "state.pt").write_bytes(content)
        with pytest.raises(CheckpointError, match="damaged") as caught:
            train(store_path, damaged, preset="tiny", steps=70, resume=True)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("env_id", "spec"), [("no_such_module:Square-v0", {}), (ENV, {"flavour": "sour"})])
def test_a_world_that_cannot_be_made_here_is_one_clear_error(store_path, tmp_path, env_id, spec):
    rollout = replace(RolloutStore.open(store_path).episode(0), env_id=env_id, spec=spec)
    RolloutStore.create(tmp_path / "far").append([rollout])
    with pytest.raises(StoreError, match="cannot be made here"):
        train(tmp_path / "far", tmp_path / "run", preset="tiny", steps=1)


def test_a_marker_action_shows_in_the_next_frame(store_path):
    store = RolloutStore.open(store_path)
    spec = spec_of(gym.make(ENV, disable_env_checker=True), height=32, width=32, control_dt=0.1)
    data = Dataset(store, spec)
    batch = data.take(data.windows(5)[:7], 5)
    for action, frames in zip(batch.action, batch.frames, strict=True):
        for t in range(5):
            place = ((action[t].numpy() + 1) * 14).round().astype(int)
            rows, columns = np.nonzero(frames[t + 1, ..., 0].numpy() == 255)
            assert (columns.min(), rows.min()) == tuple(place)


def test_own_frames_enter_as_context_with_their_age_and_nothing_else_changes():
    model = shaken_model()
    networks = model.networks.float()
    frames = torch.randint(0, 256, (2, 7, 32, 40, 3), dtype=torch.uint8)
    batch_like = type("Batch", (), {})()
    batch_like.frames, batch_like.action = frames, torch.rand(2, 6, box_spec().action_dim)
    batch_like.reward = batch_like.terminated = torch.zeros(2, 6)
    batch_like.factors, batch_like.caption = torch.zeros(2, 6, 0), torch.zeros(2, 6, dtype=torch.long)
    batch_like.is_changed = torch.zeros(2, dtype=torch.bool)
    inputs = make_inputs(batch_like, torch.zeros(2, 6, 1, dtype=torch.long), Draws([0, 1]))
    text = torch.zeros(2, 6, model.config.text_dim)
    networks.denoiser.config = replace(networks.denoiser.config, sampler_steps=1)
    mixed = with_own_frames(networks.denoiser, inputs, text, 2, Draws([0, 1]))
    assert mixed.age[0].tolist() == [0, 0, 0, 1, 2, 3]
    assert torch.equal(mixed.previous[:, :3], inputs.previous[:, :3])
    assert torch.equal(mixed.target, inputs.target)
    pure = torch.zeros(2, 3)
    with torch.no_grad():
        first = networks.denoiser(
            None, pure, inputs.previous[:, :3], inputs.action[:, :3], inputs.age[:, :3], text[:, :3]
        ).frame[:, 2]
    assert (mixed.previous[:, 3, 0] - first.clamp(-1, 1)).abs().max() <= 1 / 127.5
    assert torch.equal(mixed.previous[:, 4, 1], mixed.previous[:, 3, 0])
    level = inputs.tau[:, :, None, None, None]
    assert 0 < (level > 0).sum() < level.numel()
    guess = mixed.target + (mixed.noisy - inputs.noisy) / level.clamp_min(1e-6)  # where there is a level
    own = (mixed.previous[:, 3:, 0] - guess[:, 2:-1])[(inputs.tau > 0)[:, 2:-1]]
    assert own.abs().max() <= 1 / 127.5 + 1e-3  # what is mixed with noise is what the next frame sees, before rounding
    assert torch.equal(mixed.noisy[inputs.tau == 0], inputs.noisy[inputs.tau == 0])


def test_with_several_sampler_steps_the_noisy_frames_are_what_the_sampler_meets():
    model = shaken_model()
    denoiser = model.networks.float().denoiser
    frames = torch.randint(0, 256, (32, 7, 32, 40, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    still = torch.zeros(32, 6)
    batch = Batch(
        frames=frames,
        action=torch.zeros(32, 6, box_spec().action_dim),
        reward=still,
        terminated=still,
        caption=still.long(),
        is_changed=torch.zeros(32, dtype=torch.bool),
        factors=torch.zeros(32, 6, 0),
    )
    inputs = make_inputs(batch, torch.zeros(32, 6, 1, dtype=torch.long), Draws(range(32)))
    text = torch.zeros(32, 6, model.config.text_dim)
    mixed = with_own_frames(denoiser, inputs, text, 2, Draws(range(32)), sampler_steps=4)
    assert torch.equal(mixed.tau[:, :2], inputs.tau[:, :2])
    assert torch.equal(mixed.tau[:, 2:] > 0, inputs.tau[:, 2:] > 0)  # as many begin at pure noise as ever
    levels = torch.tensor(schedule(4)[1:])
    met = mixed.tau[:, 2:][mixed.tau[:, 2:] > 0]
    assert set(met.tolist()) == set(levels.tolist())
    last = mixed.tau[:, 2] == levels[-1]
    assert 0 < last.sum() < len(last)
    known = slice(0, 3)
    tau = torch.cat([torch.zeros(32, 2), mixed.tau[:, 2:3]], dim=1)  # the sampler's memory is of frames without noise
    given = mixed.previous[:, known], mixed.action[:, known], mixed.age[:, known], text[:, known]
    with torch.no_grad():
        guess = denoiser(mixed.noisy[:, known], tau, *given).frame[:, 2].clamp(-1, 1)
    away = (guess - mixed.previous[:, 3, 0]).abs().flatten(1).amax(dim=1)
    assert away[last].max() <= 1 / 127.5  # from the last point of the path comes the frame that became the context
    assert away[~last].min() > 1 / 127.5


def test_a_window_with_a_lead_has_that_many_steps_of_its_episode_before_it(store_path):
    store = RolloutStore.open(store_path)
    data = Dataset(store, world_of(store)[0])
    starts = [int(o) for o, n in zip(data.offsets, data.lengths, strict=False) if n >= 9]
    assert [int(row) for row in data.windows(4, lead=5) if int(row) - 5 in starts] == [s + 5 for s in starts]
    assert len(data.windows(4, lead=10_000)) == 0


def test_a_window_is_changed_from_the_step_on_that_another_caption_leads_to(store_path):
    store = RolloutStore.open(store_path)
    data = Dataset(store, world_of(store)[0])
    data.caption[:] = 0
    second, length = int(data.offsets[1]), int(data.lengths[1])
    data.caption[second : second + 4] = 1
    data.caption[second + 4 : second + length + 1] = 2
    rows = np.array([0, *(second + k for k in range(6))])
    assert data.take(rows, 2).is_changed.tolist() == [False, False, False, True, True, True, True]
