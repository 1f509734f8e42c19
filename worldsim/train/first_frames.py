"""Training of first frames from text alone, for a world model that is trained already: one process, resumable.

RUN/checkpoint/     a whole checkpoint: the world model as it was, and what draws its first frames
RUN/state.pt        everything that resuming needs
RUN/metrics.jsonl   one line per report
RUN/strips/         true frames above drawn ones, of the same captions, from held-out episodes

A step is a function of (seed, step): which frames, in which language their captions are, which noise.
"""

from __future__ import annotations

import copy
import hashlib
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from worldsim.errors import CheckpointError, StoreError, WorldsimError
from worldsim.model import (
    FIRST_FRAMES,
    Exclusions,
    FirstFrameConfig,
    FirstFrameNet,
    WorldModel,
    autocast,
    first_frame_config,
    load,
    new_first_frames,
)
from worldsim.model import save_first_frames as save_net
from worldsim.model.networks import from_pixels
from worldsim.store import RolloutStore
from worldsim.train.budget import Budget, changed_settings, check_run, read_state
from worldsim.train.data import Dataset, by_seed
from worldsim.train.git import commit_name
from worldsim.train.inherit import inherit_first_frames, inherit_told
from worldsim.train.optimizer import Optimizer
from worldsim.train.run import TrainingRun

__all__ = ["FirstFrameTrainConfig", "train_first_frames"]

_KIND = "first frames"
_CUTS = 7  # parts of each caption that are learned besides the whole
_ENLARGE_EVERY = 4  # of the frames of a step, to learn how small ones are enlarged
_DISTURBED = 0.4  # of a code's own spread: how far at most it is moved for that
_WHOLE = 0.5  # share of the frames that are told the whole caption
_SETTLED = 12  # steps after which a world shows what it was prompted for
_PHRASES = re.compile(r"[,;:，；：。、]|\band\b|\bwith\b|\bat\b")
_HELD_OUT = 0.02  # share of episodes where no store is given
_FITTED = 8192  # frames that the codes are found with
_VALIDATED = 256  # frames of the error on held-out episodes
_SHOWN = 12  # frames of a strip


@dataclass(frozen=True, kw_only=True)
class FirstFrameTrainConfig(Budget):
    """How a network for first frames is trained."""

    network: FirstFrameConfig | None = None
    """`first_frame_config` of the frame size if None."""
    batch: int = 32
    """Frames per step."""
    muon_rate: float = 2.5
    """As in a `TrainConfig`."""
    text_drop_share: float = 0.1
    """Share of the frames without a text, for guidance."""
    level_mean: float = -1.0
    level_std: float = 1.2
    """Of the logit of the noise level (Esser et al. 2024): a sixth of the levels is below 0.1, where nothing but the
    text says of what colour a frame is; at -0.2 and 1 a fiftieth is, and a text was hardly heard."""


def train_first_frames(
    model: str | Path,
    store: str | Path,
    run: str | Path,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    resume: bool = False,
    val: str | Path | None = None,
    init: str | Path | None = None,
    seed: int = 0,
    threads: int | None = None,
    device: str = "cpu",
    config: FirstFrameTrainConfig | None = None,
    log: Callable[[str], None] = print,
) -> Path:
    """Train what draws the first frames of a world model and return the directory of a checkpoint that has both.

    Args:
        model: Name or directory of the world model; it is not changed.
        store: Rollouts of its world to learn from.
        run: Directory of the run.
        minutes, steps: Budget; one of them.
        resume: Continue the run in ``run``.
        val: Store with held-out rollouts; a fiftieth of the episodes is held out if None.
        init: A model whose own network for first frames to start from instead of random weights; see
            `inherit_first_frames`. A resumed run goes on from its own.
        seed: Of weights, frames and noise.
        threads: CPU threads; torch's default if None.
        device: ``cpu`` or ``cuda``.
        config: All other settings; budget and seed of the arguments above override it.
        log: Receives one line at a time.

    Raises:
        WorldsimError: If the arguments, the model, the store or the run do not allow it, or the loss is no longer
            finite.
    """
    run = Path(run)
    check_run(run, minutes=minutes, steps=steps, resume=resume)
    settings = replace(config or FirstFrameTrainConfig(), minutes=minutes, steps=steps, seed=seed)
    if threads:
        torch.set_num_threads(threads)
    held_out = None if val is None else RolloutStore.open(val)
    return _Trainer(
        model, RolloutStore.open(store), held_out, run, settings, torch.device(device), log, resume, init
    ).run()


class _Trainer(TrainingRun):
    """All that changes during a run."""

    def __init__(
        self,
        model: str | Path,
        store: RolloutStore,
        held_out: RolloutStore | None,
        path: Path,
        settings: FirstFrameTrainConfig,
        device: torch.device,
        log: Callable[[str], None],
        resume: bool,
        init: str | Path | None,
    ) -> None:
        super().__init__(path, settings, settings.batch, log)
        self.settings, self.device = settings, device
        self.model = load(model)
        spec = self.model.spec
        for name, some in (("store", store), ("held-out store", held_out)):
            if some is not None and (some.height, some.width) != (spec.height, spec.width):
                raise StoreError(
                    f"{self.model.name} imagines frames of {spec.height}x{spec.width} (height x width); the {name} has "
                    f"{some.height}x{some.width}"
                )
            others = set() if some is None else {some.info(i).env_id for i in range(len(some))} - {spec.env_id}
            if others:
                raise StoreError(f"{self.model.name} imagines {spec.env_id}; the {name} is of {', '.join(others)}")
        ordered = np.array(by_seed(store))
        apart = np.zeros(0, np.int64)
        if held_out is None and len(store) > 1:
            apart = np.random.default_rng(0).permutation(len(store))[: max(1, round(_HELD_OUT * len(store)))]
        self.log(f"reading {len(store)} episodes")
        self.data = Dataset(store, spec, episodes=np.delete(ordered, apart).tolist())
        if held_out is None:
            self.held_out = Dataset(store, spec, episodes=ordered[np.sort(apart)].tolist()) if len(apart) else self.data
        else:
            self.held_out = Dataset(held_out, spec, episodes=by_seed(held_out))
        for name, some in (("store", self.data), ("held-out episodes", self.held_out)):
            if not some.captions:
                raise StoreError(
                    f"the {name} {'has' if name == 'store' else 'have'} no captions, and first frames are learned and "
                    "judged from frames and their captions"
                )
        seeds = [store.info(i).seed for i in self.data.episodes]
        self.card = {
            "frames": self.data.num_frames,
            "episodes": len(self.data.episodes),
            "seeds": {"min": min(s or 0 for s in seeds), "max": max(s or 0 for s in seeds)},
            "env_id": spec.env_id,
        }
        self.commit = commit_name()
        said = self.data.caption[self.data.offsets[:-1]].tolist()  # a world of few captions says each of them often
        captions = [*self.data.captions, *(self.data.captions[row] for row in said if row >= 0)]
        self.exclusions = Exclusions.of_captions(self.model.networks.text.vocabulary, captions)
        torch.manual_seed(settings.seed)
        network = settings.network or first_frame_config(spec.height, spec.width)
        self.net = new_first_frames(self.model.networks, network).to(device)
        self.features, self.is_told = self._read(self.data, self.model)
        self.optimizer = Optimizer(
            self.net, rate=settings.learning_rate, decay=settings.weight_decay, muon_rate=settings.muon_rate
        )
        saved = read_state(path, kind=_KIND, cure="start a new run elsewhere") if resume else None
        self.parent: str | None = saved.get("parent") if saved else None
        if saved:
            if saved["network"] != asdict(network) or saved["sha"] != self.model.sha:
                raise CheckpointError(
                    f"{path} was begun for the model {saved['sha']} as {saved['network']}; resume it as that"
                )
            self.net.load_state_dict(saved["net"])
            state = saved["optimizer"]["state"]
            self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})  # of settings, those of now
            self.step, self.elapsed_s, self.history = saved["step"], saved["elapsed_s"], saved["history"]
        else:
            rng = np.random.Generator(np.random.Philox(key=[settings.seed, -1]))  # of no step
            some = rng.choice(self.data.num_frames, min(_FITTED, self.data.num_frames), replace=False)
            at = torch.from_numpy(np.sort(some))
            part = torch.from_numpy(rng.integers(1 + _CUTS, size=len(at)))
            told = self._conditions(self.data, self.features, at, part=part)
            self.net.fit(self.data.frames[at], told)
            if init is not None:
                parent = load(init)
                source = inherit_first_frames(self.net, self.model, parent)
                self.parent = _sha_of_first_frames(parent)
                theirs = self._read(self.data, parent)[0]
                inherit_told(
                    self.net, told, source, self._conditions(self.data, theirs, at, part=part, behind=(parent, source))
                )
        self.average = copy.deepcopy(self.net).requires_grad_(False)
        if saved:
            self.average.load_state_dict(saved["average"])
        num = sum(value.numel() for value in self.net.parameters())
        self.log(
            f"{num / 1e6:.2f} M parameters; {self.data.num_frames:,} frames of {len(self.data.episodes)} episodes, "
            f"{len(self.held_out.episodes)} held out; device {device}"
            + (f"; resumed at step {self.step}, {self.elapsed_s / 60:.1f} minutes" if saved else "")
        )
        if saved and (changed := changed_settings(saved["settings"], self._stated)):
            self.log(f"resumed otherwise than it was left: {changed}")

    @property
    def _stated(self) -> dict[str, Any]:
        """What steps depend on besides the saved state and the store, by name."""
        numbers = {name: value for name, value in asdict(self.settings).items() if isinstance(value, int | float)}
        return {**numbers, "episodes": self.card["episodes"], "frames": self.card["frames"]}

    def _read(self, data: Dataset, model: WorldModel) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (2, L, 1 + _CUTS, F) features of captions for a world model, and (M,) which rows show theirs.

        They are there in both languages, whole and in parts: a user's prompt is shorter than a caption. Where a world
        was prompted a moment ago, the change may be under way.
        """
        rng = np.random.default_rng(0)
        texts = [
            [text, *(_part_of(text, rng) for _ in range(_CUTS))]
            for k in range(2)
            for text in ([caption[k] for caption in data.captions] or [""])
        ]
        features = model.networks.text.features([text or None for row in texts for text in row])
        caption = data.caption.numpy()
        lengths = np.diff(data.offsets)
        changed = np.flatnonzero(np.diff(caption, prepend=-2) != 0)
        since = np.arange(len(caption)) - changed[np.searchsorted(changed, np.arange(len(caption)), side="right") - 1]
        first = np.repeat(caption[data.offsets[:-1]], lengths)
        is_told = (caption >= 0) & ((caption == first) | (since >= _SETTLED))
        return features.view(2, -1, 1 + _CUTS, features.shape[-1]), torch.from_numpy(is_told)

    def _conditions(
        self,
        data: Dataset,
        features: torch.Tensor,
        rows: torch.Tensor,
        language: torch.Tensor | int = 0,
        part: torch.Tensor | int = 0,
        behind: tuple[WorldModel, FirstFrameNet] | None = None,
    ) -> torch.Tensor:
        """Return (B, C) what rows are described by, in which language and in which part of their caption.

        That is for the network that is trained, or for another one ``behind`` a world model of its own.
        """
        model, net = behind or (self.model, self.net)
        shown = features[language, data.caption[rows].clamp_min(0), part]
        return torch.cat([model.first_frame_text(shown, words=net.config.words), data.factors[rows]], dim=1)

    def take_step(self) -> float:
        """Follow the gradient of one batch; return its loss."""
        settings = self.settings
        rng = np.random.Generator(np.random.Philox(key=[settings.seed, self.step]))
        rows = rng.integers(self.data.num_frames, size=settings.batch)
        told = rng.random(len(rows)) >= settings.text_drop_share
        error = self._error(self.net, self.data, self.features, self.is_told, rows, told, rng)
        loss = error.mean()
        if self.net.enlarger is not None:
            loss = loss + self._enlarging_error(rows[::_ENLARGE_EVERY], rng)
        if not torch.isfinite(loss):
            bad = self.path / f"bad_batch_{self.step}.npz"
            np.savez_compressed(bad, rows=rows)
            raise WorldsimError(
                f"the loss is {loss.item()} at step {self.step}; the rows are in {bad}; resume from the last save with "
                "a lower learning rate"
            )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), settings.clip)
        self.optimizer.set_rate(settings.rate(self.step, self.elapsed_s))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        decay = settings.decay(self.step)
        with torch.no_grad():
            for slow, value in zip(self.average.parameters(), self.net.parameters(), strict=True):
                slow.lerp_(value, 1 - decay)
        return loss.item()

    def _error(
        self,
        net: FirstFrameNet,
        data: Dataset,
        features: torch.Tensor,
        is_told: torch.Tensor,
        rows: np.ndarray,
        told: np.ndarray,
        rng: np.random.Generator,
    ) -> torch.Tensor:
        """Return (B,) squared errors of the velocity, each code weighted by what it is worth in pixels."""
        num, device = len(rows), self.device
        at = torch.from_numpy(rows)
        keep = (torch.from_numpy(told) & is_told[at]).float()[:, None].to(device)
        language = torch.from_numpy(rng.integers(2, size=num))
        part = torch.from_numpy(np.where(rng.random(num) < _WHOLE, 0, rng.integers(1, 1 + _CUTS, size=num)))
        level = self.settings.level_mean + self.settings.level_std * rng.standard_normal(num, np.float32)
        tau = torch.from_numpy(level).sigmoid().to(device)
        noise = torch.from_numpy(rng.standard_normal((num, *net.codes.shape), np.float32)).to(device)
        codes = net.encode(data.frames[at].to(device))
        with autocast(device):
            condition = keep * self._conditions(data, features, at, language, part).to(device)
            noisy = noise + tau[:, None, None] * (codes - noise)
            velocity = net(noisy, tau, condition)
        return ((velocity - (codes - noise)).square() * net.codes.weight).mean(dim=(1, 2))

    def _enlarging_error(self, rows: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
        """Return () the mean absolute error of frames that are made of their own codes, disturbed as drawn ones are."""
        frames = self.data.frames[torch.from_numpy(rows)].to(self.device)
        codes = self.net.encode(frames)
        strength = rng.random((len(rows), 1, 1), np.float32) * _DISTURBED
        noise = torch.from_numpy(strength * rng.standard_normal(codes.shape, np.float32)).to(self.device)
        with autocast(self.device):
            found = self.net.decode(codes + noise)
        return (found - from_pixels(frames)).abs().mean()

    @torch.no_grad()
    def validate(self) -> None:
        """Measure the error on held-out episodes, draw frames for their captions and write a picture."""
        rng = np.random.default_rng(0)
        data, (features, is_told) = self.held_out, self._read(self.held_out, self.model)
        rows = rng.integers(data.num_frames, size=_VALIDATED)
        told = np.ones(len(rows), bool)
        error = float(self._error(self.average, data, features, is_told, rows, told, rng).mean())
        shown = rng.permutation(np.flatnonzero(is_told.numpy()))[:_SHOWN]
        at = torch.from_numpy(shown)
        noise = torch.from_numpy(rng.standard_normal((len(at), *self.net.codes.shape), np.float32)).to(self.device)
        condition = self._conditions(data, features, at).to(self.device)
        drawn = self.average.draw(
            noise,
            condition,
            num_steps=self.net.config.sampler_steps,
            guidance=self.net.config.guidance,
        )
        strip = torch.stack([data.frames[at], drawn.cpu()])  # (2, S, H, W, 3)
        (self.path / "strips").mkdir(parents=True, exist_ok=True)
        picture = strip.transpose(1, 2).flatten(0, 1).flatten(1, 2).numpy()  # (2 H, S W, 3)
        Image.fromarray(picture).save(self.path / "strips" / f"{self.step:06d}.png")
        self.remember({"error": error, "captions": [data.captions[row][0] for row in data.caption[at].tolist()]})
        self.log(f"validation: error {error:.4f} on held-out frames")

    def save(self) -> None:
        """Write the state for resuming and the checkpoint for use."""
        self.write_state(
            {
                "kind": _KIND,
                "network": asdict(self.net.config),
                "sha": self.model.sha,
                "settings": self._stated,
                "net": self.net.state_dict(),
                "average": self.average.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "step": self.step,
                "elapsed_s": self.elapsed_s,
                "history": self.history,
                "parent": self.parent,
            }
        )
        checkpoint, partial = self.path / "checkpoint", self.path / "checkpoint.partial"
        if not checkpoint.exists():
            assert self.model.path is not None
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(self.model.path, partial, ignore=shutil.ignore_patterns(FIRST_FRAMES, "*.partial"))
            os.replace(partial, checkpoint)
        save_net(
            checkpoint,
            self.average,
            exclusions=self.exclusions,
            metrics={"validation": self.history},
            meta={
                "git_sha": self.commit,
                "model_sha": self.model.sha,
                "init_sha": self.parent,
                "card": self.card,
                "training": {
                    **asdict(self.settings),
                    "steps_done": self.step,
                    "minutes_done": self.elapsed_s / 60,
                    "frames_seen": self.step * self.settings.batch,
                    "threads": torch.get_num_threads(),
                },
            },
        )


def _sha_of_first_frames(model: WorldModel) -> str:
    """Return what names the weights that draw a model's first frames, as `WorldModel.sha` its own."""
    assert model.path is not None
    return hashlib.sha256((model.path / FIRST_FRAMES / "model.safetensors").read_bytes()).hexdigest()[:12]


def _part_of(text: str, rng: np.random.Generator) -> str:
    """Return some of the phrases of a caption, or a few words of them."""
    phrases = [phrase.strip() for phrase in _PHRASES.split(text) if phrase.strip()]
    if not phrases:
        return text
    kept = rng.random(len(phrases)) < rng.random()
    kept[rng.integers(len(phrases))] = True
    part = ", ".join(phrase for phrase, keep in zip(phrases, kept, strict=True) if keep)
    if rng.random() < 0.5:
        return part
    if part.isascii():
        words = part.split()
        return " ".join(words[i] for i in sorted(rng.permutation(len(words))[: rng.integers(1, len(words) + 1)]))
    first, length = int(rng.integers(max(1, len(part) - 1))), int(rng.integers(2, 5))
    return part[first : first + length]
