"""The training loop: one process, resumable, with live figures. A run is a directory.

RUN/checkpoint/     what `worldsim.load(RUN)` reads: EMA weights, rewritten every few minutes
RUN/state.pt        everything that resuming needs
RUN/metrics.jsonl   one line per report
RUN/strips/         truth above imagined, from held-out windows
"""

from __future__ import annotations

import copy
import json
import math
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from worldsim.collect import env_fingerprint
from worldsim.errors import CheckpointError, StoreError, WorldsimError
from worldsim.model import PRESETS, ModelSpec, Networks, Vocabulary, WorldModel, load, save, spec_of
from worldsim.rollout import control_dt_of
from worldsim.store import RolloutStore
from worldsim.train.critic import Critic
from worldsim.train.data import Dataset, bytes_needed, mirrored
from worldsim.train.inherit import inherit
from worldsim.train.objective import Inputs, Losses, losses, make_inputs
from worldsim.train.rollout_context import with_own_frames
from worldsim.train.validate import Validation, validate

__all__ = ["TrainConfig", "train"]

_NUM_STARTS = 32
_LEAD = 0.005  # change of the weight of local contrast per step
_MAX_CONTRAST_WEIGHT = 30.0
_PARTS = ("total", "frame", "refine", "contrast", "sharpness", "reward", "terminate")  # of `Losses`, as reported
_HELD_OUT = 0.02  # share of episodes for validation where no store is given


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a model is trained; the budget is either minutes or steps."""

    minutes: float | None = None
    """Minutes of training, without loading, compiling and validating."""
    steps: int | None = None
    batch: int = 4
    """Windows per step."""
    length: int = 24
    """Steps per window."""
    learning_rate: float = 1e-3
    final_rate: float = 0.03
    """Share of the learning rate that is left at the end of the cosine."""
    warmup_steps: int = 200
    weight_decay: float = 0.01
    clip: float = 1.0
    """Largest norm of the gradient."""
    ema: float = 0.999
    ends_share: float = 0.1
    """Share of the windows that hold an end of an episode by the world itself, which are rare otherwise."""
    mirror: tuple[int, ...] = ()
    """Action numbers whose sign turns when a picture is mirrored left to right; with any, half of the windows are."""
    padded_share: float = 0.25
    """Share of the steps whose windows begin with padding, so that a model can start from few frames or one."""
    own_frames_from: float = 0.15
    """Share of the budget after which windows with the model's own frames as context are mixed in."""
    own_frames_share: float = 0.75
    """Share of the steps after that which use them."""
    sharpness: float = 0.9
    """From ``own_frames_from`` on, the weight of local contrast is led so that imagined frames are about so sharp."""
    critic_share: float = 0.6
    """The critic's part of a frame's gradient as a share of the squared error's, from ``own_frames_from`` on."""
    seed: int = 0
    report_s: float = 10.0
    """Seconds between lines."""
    save_s: float = 180.0
    validate_s: float = 300.0


def train(
    store: str | Path,
    run: str | Path,
    *,
    preset: str = "small",
    minutes: float | None = None,
    steps: int | None = None,
    resume: bool = False,
    val: str | Path | None = None,
    init: str | Path | None = None,
    seed: int = 0,
    threads: int | None = None,
    device: str = "auto",
    compile: bool | None = None,
    config: TrainConfig | None = None,
    log: Callable[[str], None] = print,
) -> Path:
    """Train a world model on a store and return its checkpoint directory.

    Args:
        store: Rollouts to learn from.
        run: Directory of the run.
        preset: Size of the model: tiny, small, base or large.
        minutes, steps: Budget; one of them.
        resume: Continue the run in ``run``.
        val: Store with held-out rollouts; a fiftieth of the episodes is held out if None.
        init: Checkpoint to start from instead of random weights; see `inherit`.
        seed: Of weights, windows and noise.
        threads: CPU threads; torch's default if None.
        device: ``auto``, ``cpu`` or ``cuda``.
        compile: Whether to compile the step; only for budgets of 5 minutes or more if None.
        config: All other settings; budget and seed of the arguments above override it.
        log: Receives one line at a time.

    Raises:
        WorldsimError: If the arguments, the store or the run do not allow it, or the loss is no longer finite.
    """
    if (minutes is None) == (steps is None):
        raise WorldsimError("training needs a budget: give either minutes or steps")
    if preset not in PRESETS:
        raise WorldsimError(f"unknown preset {preset!r}; choose one of {', '.join(PRESETS)}")
    run = Path(run)
    if (run / "state.pt").exists() and not resume:
        raise WorldsimError(f"{run} already holds a run; resume it, or choose another directory")
    if resume and not (run / "state.pt").exists():
        raise CheckpointError(f"{run} holds no run to resume (state.pt is missing); start it without resume")
    values = {f.name: getattr(config or TrainConfig(), f.name) for f in fields(TrainConfig)}
    settings = TrainConfig(**{**values, "minutes": minutes, "steps": steps, "seed": seed})
    if threads:
        torch.set_num_threads(threads)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    saved = _read_state(run, device) if resume else None
    tokens = saved["vocabulary"] if saved else None
    trainer = _Trainer(RolloutStore.open(store), run, preset, settings, val, init, torch.device(device), log, tokens)
    if saved:
        trainer.resume(saved)
    use_compile = compile if compile is not None else steps is None and (minutes or 0) >= 5
    return trainer.run(use_compile)


class _Trainer:
    """All that changes during a run."""

    def __init__(
        self,
        store: RolloutStore,
        path: Path,
        preset: str,
        settings: TrainConfig,
        val: str | Path | None,
        init: str | Path | None,
        device: torch.device,
        log: Callable[[str], None],
        tokens: Sequence[str] | None,
    ) -> None:
        if len(store) == 0:
            raise StoreError("the store holds no episode; collect some first")
        self.store, self.path, self.settings, self.device, self.log = store, path, settings, device, log
        self.config = PRESETS[preset]()
        self.spec, self.fingerprint = _world_of(store)
        gigabytes = bytes_needed(store) / 2**30
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
        log(
            f"{len(store)} episodes, {store.num_frames} frames; they take {gigabytes:.1f} GiB of memory, "
            f"{free:.1f} GiB are free"
        )
        if gigabytes > 0.9 * free:
            raise WorldsimError(
                f"the frames need {gigabytes:.1f} GiB of memory and {free:.1f} GiB are free; use a smaller store"
            )
        episodes = np.random.default_rng(0).permutation(len(store))
        held_out = 0 if val else max(1, round(_HELD_OUT * len(store)))
        self.data = Dataset(store, self.spec, episodes=sorted(episodes[held_out:].tolist()) or [0])
        if val:
            self.held_out = Dataset(RolloutStore.open(val), self.spec)
        else:
            self.held_out = Dataset(store, self.spec, episodes=sorted(episodes[:held_out].tolist()))
        self.rows = self.data.windows(settings.length)
        self.end_rows = self.rows[self.data.ends(self.rows, settings.length)]

        texts = [text for caption in self.data.captions for text in caption]
        vocabulary = Vocabulary(tokens) if tokens is not None else Vocabulary.from_texts(texts)
        torch.manual_seed(settings.seed)
        self.parent = None
        self.networks = Networks(self.config, self.spec, vocabulary)
        if init is not None:
            parent = load(init)
            inherit(self.networks, self.config, parent)
            self.parent = parent.sha
        self.networks.to(device)
        self.ema = copy.deepcopy(self.networks).requires_grad_(False)
        text = self.networks.text
        self.tokens = [text.indices([caption[k] for caption in self.data.captions] or [None]) for k in range(2)]
        decay, plain = [], []
        for name, parameter in self.networks.named_parameters():
            (decay if parameter.ndim >= 2 and "embed" not in name and "position" not in name else plain).append(
                parameter
            )
        groups = [{"params": decay, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.95), fused=True)
        self.critic = Critic().to(device)
        self.card = store.card
        self.step, self.elapsed_s, self.contrast_weight = 0, 0.0, 1.0
        self.history: list[dict[str, Any]] = []
        count = sum(p.numel() for p in self.networks.parameters())
        log(
            f"preset {preset}: {count / 1e6:.2f} M parameters; {len(self.data.captions)} captions, "
            f"{len(vocabulary)} words; device {device}"
        )

    def resume(self, state: dict[str, Any]) -> None:
        """Continue where the run stopped."""
        self.networks.load_state_dict(state["networks"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.contrast_weight = state["contrast_weight"]
        self.critic.load_state_dict(state["critic"])
        self.critic.optimizer.load_state_dict(state["critic_optimizer"])
        self.parent = state["parent"]
        self.step, self.elapsed_s, self.history = state["step"], state["elapsed_s"], state["history"]
        self.log(f"resumed at step {self.step}, {self.elapsed_s / 60:.1f} minutes")

    @property
    def progress(self) -> float:
        """Share of the budget that is used."""
        if self.settings.steps is not None:
            return self.step / self.settings.steps
        return self.elapsed_s / (60 * (self.settings.minutes or 1))

    def run(self, use_compile: bool) -> Path:
        """Train to the end of the budget."""
        self.path.mkdir(parents=True, exist_ok=True)
        loss_of = losses
        if use_compile:
            self.log("compiling the training step (about a minute)")
            loss_of = torch.compile(losses, dynamic=False)
        last_report = last_save = last_validation = time.monotonic()
        recent: list[dict[str, float]] = []
        shown_step, shown_s = self.step, self.elapsed_s
        first = True
        try:
            while self.progress < 1:
                began = time.monotonic()
                recent.append(self._step(loss_of))
                now = time.monotonic()
                if not first:  # the first step compiles
                    self.elapsed_s += now - began
                first = False
                if now - last_report >= self.settings.report_s:
                    frames = (self.step - shown_step) * self.settings.batch * self.settings.length
                    self._report(recent, frames / max(self.elapsed_s - shown_s, 1e-9))
                    recent, shown_step, shown_s, last_report = [], self.step, self.elapsed_s, now
                if now - last_save >= self.settings.save_s:
                    self.save()
                    last_save = time.monotonic()
                if now - last_validation >= self.settings.validate_s:
                    self._validate()
                    last_validation = time.monotonic()
        except KeyboardInterrupt:
            self.save()
            self.log(f"stopped at step {self.step}; saved. Resume the run to continue it")
            raise
        self._validate()
        self.save()
        self.log(
            f"done: {self.step} steps, {self.elapsed_s / 60:.1f} minutes; checkpoint in {self.path / 'checkpoint'}"
        )
        return self.path / "checkpoint"

    def _step(self, loss_of: Callable[[Networks, Inputs, torch.Tensor], Losses]) -> dict[str, float]:
        settings = self.settings
        rng = np.random.Generator(np.random.Philox(key=[settings.seed, self.step]))
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        rows = rng.choice(self.rows, settings.batch)
        if len(self.end_rows):
            rows = np.where(rng.random(len(rows)) < settings.ends_share, rng.choice(self.end_rows, len(rows)), rows)
        batch = self.data.take(rows, settings.length)
        if settings.mirror:
            batch = mirrored(batch, rng.random(len(rows)) < 0.5, settings.mirror)
        language = torch.from_numpy(rng.integers(2, size=settings.batch))
        width = max(table.shape[1] for table in self.tokens)
        tables = torch.stack([torch.nn.functional.pad(t, (0, width - t.shape[1])) for t in self.tokens])
        tokens = tables[language[:, None], batch.caption.clamp_min(0)] * (batch.caption >= 0)[..., None]
        padding = 0
        if rng.random() < settings.padded_share:
            padding = int(rng.integers(1, min(self.config.num_context, settings.length)))
        inputs = make_inputs(batch, tokens, generator, padding=padding)
        inputs = Inputs(**{f.name: getattr(inputs, f.name).to(self.device) for f in fields(Inputs)})
        with torch.autocast(self.device.type, torch.bfloat16):
            late = self.progress >= settings.own_frames_from
            if late and rng.random() < settings.own_frames_share:
                text = self.networks.text(inputs.tokens).detach()
                first = 1 + int((settings.length - 2) * rng.random() ** 2)  # mostly early: long imagined contexts
                first = min(max(first, padding), settings.length - 2)
                inputs = with_own_frames(self.networks.denoiser, inputs, text, first, generator)
            weight = torch.tensor(self.contrast_weight if late else 0.0, device=self.device)
            result = loss_of(self.networks, inputs, weight)
        if not torch.isfinite(result.total):
            path = self.path / f"bad_batch_{self.step}.npz"
            np.savez_compressed(path, frames=batch.frames.numpy(), action=batch.action.numpy(), tau=inputs.tau.numpy())
            raise WorldsimError(
                f"the loss at step {self.step} is not finite; the batch is in {path}; resume from the last save"
            )
        parts = {name: float(getattr(result, name).detach()) for name in _PARTS}
        if late and math.isfinite(parts["sharpness"]):
            factor = 1 + _LEAD if parts["sharpness"] < settings.sharpness else 1 - _LEAD
            self.contrast_weight = min(self.contrast_weight * factor, _MAX_CONTRAST_WEIGHT)
            parts["contrast_weight"] = self.contrast_weight
        total = result.total
        if late and settings.critic_share > 0:
            pull, parts["told_apart"] = self._critics_pull(result.frames, inputs.target)
            total = total + pull
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.networks.parameters(), settings.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        decay = min(settings.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for average, value in zip(self.ema.parameters(), self.networks.parameters(), strict=True):
                average.lerp_(value, 1 - decay)
        return parts

    def _critics_pull(self, frames: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, float]:
        """Return a term whose gradient at each frame is the critic's direction, and how well the critic does."""
        some = slice(self.step % 2, None, 2)  # half of the frames is enough
        seen, true = frames[:, some].flatten(0, 1), target[:, some].flatten(0, 1)
        direction, told_apart = self.critic.learn(seen.detach(), true)
        scale = 2 / (self.config.residual_std**2 * frames.numel())  # of the squared error's gradient, see `losses`
        error = (seen.detach() - true).flatten(1).norm(dim=1)[:, None, None, None]
        pull = self.settings.critic_share * scale * error * direction
        return (seen * pull).sum(), told_apart

    def _rate(self) -> float:
        settings = self.settings
        warm = min(1.0, (self.step + 1) / settings.warmup_steps)
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, self.progress)))
        return settings.learning_rate * warm * (settings.final_rate + (1 - settings.final_rate) * cosine)

    def _report(self, recent: Sequence[dict[str, float]], frames_per_second: float) -> None:
        mean = {}
        for name in dict.fromkeys(name for parts in recent for name in parts):
            values = [parts[name] for parts in recent if math.isfinite(parts.get(name, math.nan))]
            if values:
                mean[name] = float(np.mean(values))
        left_s = self.elapsed_s * (1 - self.progress) / max(self.progress, 1e-6)
        self._write({"kind": "loss", **mean, "frames_per_second": frames_per_second})
        parts = " ".join(f"{name} {value:.4f}" for name, value in mean.items())
        self.log(
            f"step {self.step} | {100 * self.progress:.1f}% | {parts} | {frames_per_second:.0f} frames/s | "
            f"{left_s / 60:.0f} min left"
        )

    def _validate(self) -> Validation | None:
        horizon = min(16, int(self.held_out.lengths.max()) - self.config.num_context + 1)
        if horizon < 1:
            return None
        strip = self.path / "strips" / f"{self.step:07d}.png"
        result = validate(self._model(), self.held_out, num_windows=32, horizon=horizon, strip=strip)
        self.history.append({"step": self.step, "minutes": self.elapsed_s / 60, **asdict(result)})
        self._write({"kind": "validation", **asdict(result)})
        self.log(f"step {self.step} | {self.elapsed_s / 60:.1f} min | {result.line()} | {strip}")
        return result

    def _model(self) -> WorldModel:
        return WorldModel(networks=copy.deepcopy(self.ema), spec=self.spec, config=self.config, name=self.path.name)

    def _write(self, record: dict[str, Any]) -> None:
        line = {"step": self.step, "minutes": self.elapsed_s / 60, **record}
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def save(self) -> None:
        """Write the state for resuming and the checkpoint for use."""
        state = {
            "networks": self.networks.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "critic": self.critic.state_dict(),
            "critic_optimizer": self.critic.optimizer.state_dict(),
            "contrast_weight": self.contrast_weight,
            "history": self.history,
            "vocabulary": list(self.networks.text.vocabulary.tokens),
            "parent": self.parent,
        }
        temporary = self.path / "state.pt.partial"
        torch.save(state, temporary)
        os.replace(temporary, self.path / "state.pt")
        save(
            self.path / "checkpoint",
            self.ema,
            config=self.config,
            spec=self.spec,
            starts=self.data.starts(_NUM_STARTS, self.config.num_context, seed=0),
            card=self.card,
            metrics={"validation": self.history},
            meta={
                "git_sha": _git_sha(),
                "env_fingerprint": self.fingerprint,
                "init_sha": self.parent,
                "training": {
                    **asdict(self.settings),
                    "steps_done": self.step,
                    "minutes_done": self.elapsed_s / 60,
                    "frames_seen": self.step * self.settings.batch * self.settings.length,
                    "threads": torch.get_num_threads(),
                },
            },
        )


def _read_state(run: Path, device: str) -> dict[str, Any]:
    try:
        return torch.load(run / "state.pt", map_location=device, weights_only=True)
    except Exception as error:  # whatever a damaged file makes its reader say
        raise CheckpointError(f"{run / 'state.pt'} is damaged ({error}); start a new run with init={run}") from None


def _world_of(store: RolloutStore) -> tuple[ModelSpec, str | None]:
    """Return the spec of the world that a store was collected in, and its fingerprint."""
    info = store.info(0)
    kwargs = dict(info.spec)
    try:
        env = gym.make(info.env_id, disable_env_checker=True, **kwargs)
    except gym.error.Error as error:
        raise StoreError(
            f"the store's world {info.env_id!r} cannot be made here ({error}); import the package that registers it"
        ) from None
    try:
        spec = spec_of(
            env,
            height=store.height,
            width=store.width,
            control_dt=control_dt_of(env),
            action_spec=tuple(getattr(env.unwrapped, "action_spec", ())),
            env_id=info.env_id,
            env_kwargs=kwargs,
            max_steps=(env.spec.max_episode_steps if env.spec else None) or 1000,
        )
    finally:
        env.close()
    return spec, env_fingerprint(info.env_id, kwargs)


def _git_sha() -> str:
    result = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
        check=False,
    )
    return result.stdout.strip() or "unknown"
