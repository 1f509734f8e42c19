"""The training loop: one process or many, resumable, with live figures. A run is a directory.

RUN/checkpoint/     what `worldsim.load(RUN)` reads: EMA weights, rewritten every few minutes
RUN/state.pt        everything that resuming needs
RUN/metrics.jsonl   one line per report
RUN/strips/         truth above imagined, from held-out windows
RUN/tensorboard/    the same figures as events, if asked for

Started by torchrun, every rank runs this same code; see `worldsim.train.ranks`.
"""

from __future__ import annotations

import copy
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from worldsim._json import plain
from worldsim.collect import interrupt_after
from worldsim.errors import CheckpointError, StoreError, WorldsimError
from worldsim.model import (
    PRESETS,
    TEXT_ENCODERS,
    ModelConfig,
    ModelSpec,
    Networks,
    Vocabulary,
    WorldModel,
    autocast,
    compute_dtype,
    load,
    save,
)
from worldsim.store import RolloutStore
from worldsim.train.board import Board
from worldsim.train.budget import changed_settings, check_run, hold, read_state
from worldsim.train.config import TrainConfig
from worldsim.train.critic import Critic
from worldsim.train.data import factor_ranges
from worldsim.train.draws import Inputs
from worldsim.train.git import commit_name
from worldsim.train.inherit import inherit
from worldsim.train.material import Material
from worldsim.train.memory import check_fits, estimate, held_bytes
from worldsim.train.objective import Losses, Objective, losses
from worldsim.train.optimizer import Optimizer
from worldsim.train.plan import Plan
from worldsim.train.ranks import Ranks, join, like, whole
from worldsim.train.validate import Validation, validate
from worldsim.train.world import world_of

__all__ = ["train"]

_KIND = "a world model"
_OF_FACTORS = ("factor_names", "factor_low", "factor_high")  # fields of a spec
_LEAD = 0.005  # change of the weight of local contrast per step
_MEANS = ("total", "contrast", "reward", "terminate")  # of `Losses`, as reported
_RATIOS = ("frame", "refine", "sharpness", "flow")


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
        init: Checkpoint to start from instead of random weights; see `inherit`. A resumed run goes on from its own.
        seed: Of weights, windows and noise.
        threads: CPU threads; torch's default if None.
        device: ``auto``, ``cpu`` or ``cuda``.
        compile: Whether to compile the step; only for budgets of 5 minutes or more if None.
        config: All other settings; budget and seed of the arguments above override it.
        log: Receives one line at a time.

    Raises:
        WorldsimError: If the arguments, the store or the run do not allow it, or the loss is no longer finite.
    """
    if preset not in PRESETS:
        raise WorldsimError(f"unknown preset {preset!r}; choose one of {', '.join(PRESETS)}")
    run = Path(run)
    check_run(run, minutes=minutes, steps=steps, resume=resume)
    settings = replace(config or TrainConfig(), minutes=minutes, steps=steps, seed=seed)
    if threads:
        torch.set_num_threads(threads)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if settings.text_encoder not in TEXT_ENCODERS:
        raise WorldsimError(f"unknown text encoder {settings.text_encoder!r}; choose one of {', '.join(TEXT_ENCODERS)}")
    saved = read_state(run, kind=_KIND, cure=f"start a new run with init={run}") if resume else None
    use_compile = compile if compile is not None else steps is None and (minutes or 0) >= 5 and not settings.shard
    if use_compile and settings.shard:
        raise WorldsimError("a network that is divided among processes is not compiled; leave out compile or shard")
    ranks = join(torch.device(device))
    try:
        trainer = _Trainer(
            RolloutStore.open(store),
            run,
            preset,
            settings,
            val,
            init,
            torch.device(device),
            ranks,
            log,
            saved,
            use_compile,
        )
        return trainer.run()
    finally:
        ranks.leave()


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
        ranks: Ranks,
        log: Callable[[str], None],
        saved: dict[str, Any] | None,
        use_compile: bool,
    ) -> None:
        if len(store) == 0:
            raise StoreError("the store holds no episode; collect some first")
        self.path, self.settings, self.device, self.ranks = path, settings, device, ranks
        self.log = log if ranks.is_first else lambda line: None
        shares = settings.accumulate * ranks.size
        if settings.batch % shares:
            raise WorldsimError(
                f"a step's {settings.batch} windows cannot be divided into {settings.accumulate} shares in each of "
                f"{ranks.size} processes; make batch a multiple of {shares}"
            )
        if settings.shard and ranks.size == 1:
            raise WorldsimError("shard divides a network among processes; start several with torchrun, or leave it out")
        self.config = replace(PRESETS[preset](), text_encoder=settings.text_encoder)
        if saved and saved.get("config", asdict(self.config)) != asdict(self.config):
            raise CheckpointError(
                f"{path} was begun as {saved['config']}, and is resumed as {asdict(self.config)}; name the same preset "
                "and text encoder"
            )
        self.spec, self.fingerprint = world_of(store)
        ranges = factor_ranges(store, settings.factors)
        begun = (saved or {}).get("factor_ranges")
        if begun and begun["factor_names"] == ranges["factor_names"]:
            ranges = begun  # what the weights are told, whatever was collected since
        self.spec = replace(self.spec, **ranges)
        held_out_store = RolloutStore.open(val) if val else None
        if held_out_store and (held_out_store.height, held_out_store.width) != (store.height, store.width):
            raise StoreError(
                f"{val} holds frames of {held_out_store.height}x{held_out_store.width} to validate on, and training "
                f"is on {store.height}x{store.width}; collect both at one size"
            )
        num_parameters = _num_parameters(self.config, self.spec)
        need = estimate(
            self.config,
            self.spec,
            num_frames=store.num_frames + (held_out_store.num_frames if held_out_store else 0),
            num_parameters=num_parameters,
            windows=settings.batch // (settings.accumulate * ranks.size),
            length=settings.length,
            shards=ranks.size if settings.shard else 1,
            dtype=compute_dtype(device),
        )
        check_fits(need, self.device, processes=ranks.local_size, log=self.log)

        self.material = Material(store, held_out_store, self.spec, settings, self.config.num_context)
        texts = [text for caption in self.material.captions for text in caption]
        vocabulary = Vocabulary(saved["vocabulary"]) if saved else Vocabulary.from_texts(texts)
        torch.manual_seed(settings.seed)
        self.parent = saved["parent"] if saved else None
        networks = Networks(self.config, self.spec, vocabulary)
        if saved:
            try:
                networks.load_state_dict(saved["networks"])
            except RuntimeError:
                raise CheckpointError(
                    f"{path} was begun with other factors, actions or a frame size than this store and these settings "
                    "give; resume it with those that it was begun with"
                ) from None
        elif init is not None:
            parent = load(init)
            inherit(networks, self.config, parent, self.spec.factor_names)
            self.parent = parent.sha
        self.blank = copy.deepcopy(networks).requires_grad_(False)  # what the average is filled into
        self.material.read(networks.text)
        self.networks = networks.to(device)
        loss_of = torch.compile(losses, dynamic=False) if use_compile else losses
        objective = Objective(self.networks, loss_of, settings.known_for)
        self.objective = ranks.wrap(objective, networks.denoiser.blocks, device, settings.shard)
        self.average = {name: value.detach().clone() for name, value in self.networks.named_parameters()}
        self.optimizer = Optimizer(
            self.networks,
            rate=settings.learning_rate,
            decay=settings.weight_decay,
            muon_rate=settings.muon_rate,
            undecayed=("embed", "position"),
        )
        self.critic = Critic().to(device)
        self.card, self.num_episodes = store.card, len(store)
        self.step, self.elapsed_s, self.contrast_weight = 0, 0.0, settings.contrast_weight
        self.history: list[dict[str, Any]] = []
        self.board = Board(path / "tensorboard") if settings.tensorboard and ranks.is_first else None
        self.log(
            f"preset {preset}: {num_parameters / 1e6:.2f} M parameters; {len(self.material.captions)} captions, "
            f"{len(vocabulary)} words; device {device}"
            + (f"; {ranks.size} processes, {'divided' if settings.shard else 'copied'}" if ranks.size > 1 else "")
        )
        self.horizon = min(16, int(self.material.held_out.lengths.max()) - self.config.num_context + 1)
        if self.horizon < 1:
            self.log(f"nothing is validated: no held-out episode has {self.config.num_context} steps")
        if use_compile:
            self.log("compiling the training step (about a minute)")
        if saved:
            self._resume(saved)

    def _resume(self, saved: dict[str, Any]) -> None:
        """Continue where the run stopped; the networks hold the saved weights already."""
        for name, value in self.average.items():
            value.copy_(like(saved["ema"][name].to(self.device), value))
        begun = saved.get("settings", {}).get("muon_rate", 0.0)
        if (begun > 0) != (self.settings.muon_rate > 0):
            raise CheckpointError(
                f"{self.path} was begun with muon_rate={begun:g}, and another optimizer cannot go on from its state; "
                f"set muon_rate={begun:g}, or start a new run from its weights"
            )
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        state = {
            i: {key: like(value.to(self.device), parameters[i]) for key, value in values.items()}
            for i, values in saved["optimizer"]["state"].items()
        }
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})  # of settings, those of now
        self.contrast_weight = saved["contrast_weight"]
        self.critic.load_state_dict(saved["critic"])
        self.critic.optimizer.load_state_dict(saved["critic_optimizer"])
        self.step, self.elapsed_s, self.history = saved["step"], saved["elapsed_s"], saved["history"]
        self.log(f"resumed at step {self.step}, {self.elapsed_s / 60:.1f} minutes")
        if changed := changed_settings(saved.get("settings", {}), self._stated):
            self.log(f"resumed otherwise than it was left: {changed}")

    @property
    def progress(self) -> float:
        """Share of the budget that is used."""
        return self.settings.progress(self.step, self.elapsed_s)

    @property
    def _stated(self) -> dict[str, Any]:
        """What steps depend on besides the saved state, by name."""
        return {**asdict(self.settings), "episodes": self.num_episodes}

    def run(self) -> Path:
        """Train to the end of the budget."""
        with hold(self.path) if self.ranks.is_first else nullcontext():
            return self._run()

    def _run(self) -> Path:
        last_report = last_save = last_validation = time.monotonic()
        recent: list[dict[str, float]] = []
        shown_step, shown_s = self.step, self.elapsed_s
        first = True
        try:
            while self.progress < 1:
                # Half a step cannot be resumed. Of several ranks the others may be gone, and nothing is saved.
                with interrupt_after() if self.ranks.size == 1 else nullcontext():
                    began = time.monotonic()
                    recent.append(self._step())
                    now = time.monotonic()
                    spent = 0.0 if first else now - began  # the first step compiles
                    first = False
                    is_save_due = now - last_save >= self.settings.save_s
                    is_validation_due = now - last_validation >= self.settings.validate_s
                    # The clock is rank 0's: the learning rate and the end must be the same everywhere.
                    self.elapsed_s, is_save_due, is_validation_due = self.ranks.of_first(
                        [self.elapsed_s + spent, is_save_due, is_validation_due]
                    )
                if now - last_report >= self.settings.report_s:
                    frames = (self.step - shown_step) * self.settings.batch * self.settings.length
                    self._report(recent, frames / max(self.elapsed_s - shown_s, 1e-9))
                    recent, shown_step, shown_s, last_report = [], self.step, self.elapsed_s, now
                if is_save_due or is_validation_due:
                    self.save()
                    last_save = time.monotonic()
                if is_validation_due:
                    self._validate()
                    last_validation = time.monotonic()
            self.save()  # whatever becomes of the last look
            self._validate()
        except KeyboardInterrupt:
            if self.ranks.size > 1:  # the others may be anywhere in a step: the last regular save stands
                raise
            self.save()
            self.log(f"stopped at step {self.step}; saved. Resume the run to continue it")
            raise
        self.save()
        self.ranks.of_first([])  # nobody leaves before the checkpoint is there
        self.log(
            f"done: {self.step} steps, {self.elapsed_s / 60:.1f} minutes; checkpoint in {self.path / 'checkpoint'}"
        )
        return self.path / "checkpoint"

    @property
    def _is_late(self) -> bool:
        return self.progress >= self.settings.own_frames_from

    def _step(self) -> dict[str, float]:
        settings, ranks = self.settings, self.ranks
        late = self._is_late
        plan = self.material.plan(self.step, is_late=late)
        num_shares = settings.accumulate * ranks.size
        size = settings.batch // num_shares
        sums = torch.zeros(len(_MEANS) + 1, device=self.device)
        pairs = torch.zeros((len(_RATIOS), 2), device=self.device)
        for i in range(settings.accumulate):
            first = (i * ranks.size + ranks.rank) * size
            with ranks.accumulate(self.objective, is_last=i + 1 == settings.accumulate):
                result, told_apart = self._share(plan.share(slice(first, first + size)), late, is_first=i == 0)
            sums += torch.stack([*(getattr(result, name).detach() for name in _MEANS), told_apart])
            pairs += torch.stack([getattr(result, name) for name in _RATIOS])
        *means, told_apart = (ranks.sum(sums) / num_shares).tolist()
        parts: dict[str, float] = dict(zip(_MEANS, means, strict=True))
        for name, (value, count) in zip(_RATIOS, ranks.sum(pairs).tolist(), strict=True):
            parts[name] = value / count if count else math.nan
        if late and math.isfinite(parts["sharpness"]):
            factor = 1 + _LEAD if parts["sharpness"] < settings.sharpness else 1 - _LEAD
            self.contrast_weight = min(self.contrast_weight * factor, settings.contrast_limit)
            parts["contrast_weight"] = self.contrast_weight
        if late and settings.critic_share > 0:
            ranks.average_gradients(self.critic)
            self.critic.step()
            parts["told_apart"] = told_apart
        torch.nn.utils.clip_grad_norm_(self.networks.parameters(), settings.clip)
        self.optimizer.set_rate(settings.rate(self.step, self.elapsed_s))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        decay = settings.decay(self.step)
        with torch.no_grad():
            for name, value in self.networks.named_parameters():
                self.average[name].lerp_(value, 1 - decay)
        return parts

    def _share(self, plan: Plan, late: bool, *, is_first: bool) -> tuple[Losses, torch.Tensor]:
        """Add the gradient of a share of a step's windows; return its losses and how well the critic did."""
        settings = self.settings
        taken = self.material.take(plan)
        inputs = self._moved(taken.inputs)
        contrast_weight = torch.tensor(self.contrast_weight if late else 0.0, device=self.device)
        with autocast(self.device):
            result: Losses = self.objective(
                inputs, contrast_weight, plan.own_frames_from, plan.lead, plan.sampler_steps, taken.draws
            )
        if not torch.isfinite(result.total):
            path = self.path / f"bad_batch_{self.step}_{self.ranks.rank}.npz"
            np.savez_compressed(
                path,
                frames=taken.batch.frames.numpy(),
                action=taken.batch.action.numpy(),
                tau=inputs.tau.cpu().numpy(),
            )
            raise WorldsimError(
                f"the loss at step {self.step} is not finite; the batch is in {path}; resume from the last save"
            )
        total, told_apart = result.total, torch.zeros((), device=self.device)
        if late and settings.critic_share > 0:
            pull, told_apart = self._critics_pull(result.frames, inputs.target[:, plan.lead :], is_first)
            total = total + pull
        (total / settings.accumulate).backward()
        return result, told_apart

    def _moved(self, inputs: Inputs) -> Inputs:
        return Inputs(**{f.name: getattr(inputs, f.name).to(self.device) for f in fields(Inputs)})

    def _critics_pull(
        self, frames: torch.Tensor, target: torch.Tensor, is_first: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a term whose gradient at each frame is the critic's direction, and how well the critic does."""
        some = slice(self.step % 2, None, 2)  # half of the frames is enough
        seen, true = frames[:, some].flatten(0, 1), target[:, some].flatten(0, 1)
        direction, told_apart = self.critic.learn(
            seen.detach(), true, num_shares=self.settings.accumulate, is_first=is_first
        )
        scale = 2 / (self.config.residual_std**2 * frames.numel())  # of the squared error's gradient, see `losses`
        error = (seen.detach() - true).flatten(1).norm(dim=1)[:, None, None, None]
        pull = self.settings.critic_share * scale * error * direction
        return (seen * pull).sum(), told_apart

    def _report(self, recent: Sequence[dict[str, float]], frames_per_second: float) -> None:
        mean = {}
        for name in dict.fromkeys(name for parts in recent for name in parts):
            values = [parts[name] for parts in recent if math.isfinite(parts.get(name, math.nan))]
            if values:
                mean[name] = float(np.mean(values))
        left_s = self.elapsed_s * (1 - self.progress) / max(self.progress, 1e-6)
        held = held_bytes(self.device) / 2**30
        self._write({"kind": "loss", **mean, "frames_per_second": frames_per_second, "memory_gib": held})
        parts = " ".join(f"{name} {value:.4f}" for name, value in mean.items())
        self.log(
            f"step {self.step} | {100 * self.progress:.1f}% | {parts} | {frames_per_second:.0f} frames/s | "
            f"{held:.1f} GiB | {left_s / 60:.0f} min left"
        )

    def _validate(self) -> None:
        average = self._averaged()  # of all ranks
        if self.horizon < 1 or not self.ranks.is_first:
            return
        strip = self.path / "strips" / f"{self.step:07d}.png"
        model = WorldModel(networks=average, spec=self.spec, config=self.config, name=self.path.name)
        result: Validation = validate(model, self.material.held_out, num_windows=32, horizon=self.horizon, strip=strip)
        self.history.append({"step": self.step, "minutes": self.elapsed_s / 60, **asdict(result)})
        self._write({"kind": "validation", **asdict(result)}, strip)
        self.log(f"step {self.step} | {self.elapsed_s / 60:.1f} min | {result.line()} | {strip}")

    def _averaged(self) -> Networks:
        """Return networks of their own with the averaged weights; all ranks must call it."""
        networks = copy.deepcopy(self.blank)
        networks.load_state_dict(whole(self.average))
        return networks.to(self.device)

    def _write(self, record: dict[str, Any], strip: Path | None = None) -> None:
        if not self.ranks.is_first:
            return
        line = {"step": self.step, "minutes": self.elapsed_s / 60, **record}
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(plain(line)) + "\n")
        if self.board is not None:
            self.board.write(line, strip)

    def save(self) -> None:
        """Write the state for resuming and the checkpoint for use; all ranks must call it."""
        state = {
            "kind": _KIND,
            "config": asdict(self.config),
            "factor_ranges": {name: getattr(self.spec, name) for name in _OF_FACTORS},
            "settings": self._stated,
            "networks": whole(dict(self.networks.state_dict())),
            "ema": whole(self.average),
            "optimizer": whole(self.optimizer.state_dict()),
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "critic": self.critic.state_dict(),
            "critic_optimizer": self.critic.optimizer.state_dict(),
            "contrast_weight": self.contrast_weight,
            "history": self.history,
            "vocabulary": list(self.networks.text.vocabulary.tokens),
            "parent": self.parent,
        }
        average = self._averaged()
        if not self.ranks.is_first:
            return
        temporary = self.path / "state.pt.partial"
        torch.save(state, temporary)
        os.replace(temporary, self.path / "state.pt")
        save(
            self.path / "checkpoint",
            average,
            config=self.config,
            spec=self.spec,
            starts=self.material.starts_file,
            card=self.card,
            metrics={"validation": self.history},
            meta={
                "git_sha": commit_name(),
                "env_fingerprint": self.fingerprint,
                "init_sha": self.parent,
                "training": {
                    **asdict(self.settings),
                    "steps_done": self.step,
                    "minutes_done": self.elapsed_s / 60,
                    "frames_seen": self.step * self.settings.batch * self.settings.length,
                    "threads": torch.get_num_threads(),
                    "processes": self.ranks.size,
                },
            },
        )


def _num_parameters(config: ModelConfig, spec: ModelSpec) -> int:
    """Return how many parameters a model has, but for the embeddings of its words."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in Networks(config, spec, Vocabulary(())).parameters())
