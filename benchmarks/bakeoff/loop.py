"""One training loop for all designs: same windows, optimiser, schedule and clock; a killed run goes on.

RUN/state.pt        everything that going on needs, rewritten every minute
RUN/curve.jsonl     one line per report and per look at the held-out clips
RUN/strips/         truth above imagined
"""

from __future__ import annotations

import copy
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from design import Design
from judge import Clips, Scores, ceiling, judge

from worldsim.errors import CheckpointError, WorldsimError
from worldsim.model import autocast
from worldsim.train.data import Dataset
from worldsim.train.draws import Draws
from worldsim.train.optimizer import Optimizer

__all__ = ["Budget", "Diverged", "Trained", "train_arm"]

_LOOK_AT_EVERY = 4  # of the clips, along the way


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How long a run trains, and how."""

    minutes: float
    """Of training, without loading, compiling and judging."""
    learning_rate: float
    muon_rate: float = 0.0
    """As in a `TrainConfig`; 0 is AdamW for all."""
    seed: int = 0
    batch: int = 4
    """Windows per step."""
    length: int = 24
    """Steps per window."""
    warmup_share: float = 0.1
    """Share of a stage in which the learning rate rises; then it falls as a cosine."""
    final_rate: float = 0.03
    """Share of the learning rate that is left at the end."""
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.999
    num_looks: int = 5
    """Looks at held-out clips, evenly over the minutes."""
    report_s: float = 10.0
    save_s: float = 60.0
    compile: bool = False


class Diverged(WorldsimError):
    """The loss is no longer finite."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a finished run leaves."""

    scores: Scores
    ceiling: Scores | None
    step: int
    frames_seen: int
    """Frames that the last stage was asked to predict."""
    frames_per_second: float
    """Of the last stage's training."""


def train_arm(
    design: Design,
    data: Dataset,
    features: torch.Tensor,
    clips: Clips,
    budget: Budget,
    run: Path,
    log: Callable[[str], None] = print,
    clock: Callable[[], float] | None = None,
) -> Trained:
    """Train a design to the end of its minutes, from where its run stopped if it was begun.

    Args:
        design: With new weights.
        data: To learn from.
        features: (captions, F) of the captions of ``data``.
        clips: Held-out clips.
        budget: How long and how.
        run: Directory of the run.
        log: Receives one line at a time.
        clock: Seconds; the minutes are counted by it. If None, it is the processor's time on one thread, so that other
            programs take no minutes from an arm, and the wall's on several.

    Raises:
        Diverged: If the loss is no longer finite.
        CheckpointError: If the state of the run is damaged.
    """
    if clock is None:
        clock = time.process_time if torch.get_num_threads() == 1 else time.monotonic
    return _Loop(design, data, features, clips, budget, run, log, clock).run()


class _Loop:
    """All that changes during a run."""

    def __init__(
        self,
        design: Design,
        data: Dataset,
        features: torch.Tensor,
        clips: Clips,
        budget: Budget,
        path: Path,
        log: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self.design, self.data, self.features, self.clips = design, data, features, clips
        self.budget, self.path, self.log, self.clock = budget, path, log, clock
        self.rows = data.windows(budget.length)
        self.optimizer = Optimizer(
            design, rate=budget.learning_rate, decay=budget.weight_decay, muon_rate=budget.muon_rate
        )
        self.average = {name: value.detach().clone() for name, value in design.named_parameters()}
        self.step, self.elapsed_s, self.stage, self.stage_step = 0, 0.0, 0, 0
        self.stage_frames, self.num_looks, self.num_lines = 0, 0, 0
        self.loss_of = torch.compile(design.loss, dynamic=False) if budget.compile else design.loss
        path.mkdir(parents=True, exist_ok=True)
        if (path / "state.pt").exists():
            self._go_on()

    def run(self) -> Trained:
        """Train to the end of the minutes and judge."""
        last_report = last_save = self.clock()
        recent, shown_frames, shown_s = [], self.stage_frames, self.elapsed_s
        is_first = True
        while self.elapsed_s < 60 * self.budget.minutes:
            if self.elapsed_s >= self._stage_end_s:
                self._next_stage()
                recent, shown_frames, shown_s, is_first = [], 0, self.elapsed_s, True
            began = self.clock()
            recent.append(self._step())
            now = self.clock()
            if not (is_first and self.budget.compile):  # the first step compiles
                self.elapsed_s += now - began
            is_first = False
            if now - last_report >= self.budget.report_s:
                speed = (self.stage_frames - shown_frames) / max(self.elapsed_s - shown_s, 1e-9)
                self._report(float(np.mean(recent)), speed)
                recent, shown_frames, shown_s, last_report = [], self.stage_frames, self.elapsed_s, now
            is_over = self.elapsed_s >= 60 * self.budget.minutes
            if not is_over and self.elapsed_s >= self._next_look_s:
                self._look(self.clips.every(_LOOK_AT_EVERY))
                self.save()
                last_save = self.clock()
            elif now - last_save >= self.budget.save_s:
                self.save()
                last_save = self.clock()
        self.save()
        scores = self._look(self.clips)
        stage_s = self.elapsed_s - self._stage_begin_s
        return Trained(
            scores=scores,
            ceiling=ceiling(self._averaged(), self.clips),
            step=self.step,
            frames_seen=self.stage_frames,
            frames_per_second=self.stage_frames / stage_s,
        )

    @property
    def _stage_begin_s(self) -> float:
        return 60 * self.budget.minutes * sum(self.design.stages[: self.stage])

    @property
    def _stage_end_s(self) -> float:
        is_last = self.stage + 1 == len(self.design.stages)
        return math.inf if is_last else 60 * self.budget.minutes * sum(self.design.stages[: self.stage + 1])

    @property
    def _next_look_s(self) -> float:
        return 60 * self.budget.minutes * (self.num_looks + 1) / self.budget.num_looks

    def _step(self) -> float:
        budget = self.budget
        rng = np.random.Generator(np.random.Philox(key=[budget.seed, self.step]))  # the same windows for all designs
        batch = self.data.take(rng.choice(self.rows, budget.batch), budget.length)
        text = self.features[batch.caption.clamp_min(0)] * (batch.caption >= 0)[..., None]
        with autocast():
            inputs, num_frames = self.design.prepare(batch, text, Draws(rng.integers(2**62, size=budget.batch)))
            loss = self.loss_of(inputs)
        if not torch.isfinite(loss):
            raise Diverged(f"the loss at step {self.step} is not finite at a learning rate of {budget.learning_rate:g}")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.design.parameters(), budget.clip)
        self.optimizer.set_rate(self._rate())
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.stage_step += 1
        self.stage_frames += num_frames
        keep = min(budget.ema, (1 + self.stage_step) / (10 + self.stage_step))
        with torch.no_grad():
            for name, value in self.design.named_parameters():
                self.average[name].lerp_(value, 1 - keep)
        return float(loss.detach())

    def _rate(self) -> float:
        """Return the learning rate: within each stage it rises, then falls as a cosine."""
        budget = self.budget
        stage_s = 60 * budget.minutes * self.design.stages[self.stage]
        progress = min(1.0, (self.elapsed_s - self._stage_begin_s) / stage_s)
        warm = min(1.0, progress / budget.warmup_share + 0.01)
        cosine = 0.5 * (1 + math.cos(math.pi * progress))
        return budget.learning_rate * warm * (budget.final_rate + (1 - budget.final_rate) * cosine)

    def _next_stage(self) -> None:
        """Go on from the averaged weights with the next stage."""
        self._fill(self.design)
        self.stage += 1
        self.design.stage = self.stage
        self.stage_step, self.stage_frames = 0, 0
        bound = ceiling(self.design, self.clips)
        if bound is not None:
            self._write({"kind": "ceiling", **asdict(bound)})
        self.save()

    def _report(self, loss: float, speed: float) -> None:
        record = {"loss": loss, "rate": self._rate(), "frames": self.stage_frames, "frames_per_second": speed}
        self._write({"kind": "loss", **record})
        left = 60 * self.budget.minutes - self.elapsed_s
        self.log(
            f"{self.path.name} | step {self.step} | stage {self.stage + 1} of {len(self.design.stages)} | "
            f"loss {loss:.4f} | {speed:.0f} frames/s | {left / 60:.1f} min left"
        )

    def _look(self, clips: Clips) -> Scores:
        strip = self.path / "strips" / f"{self.step:06d}.png"
        scores = judge(self._averaged(), clips, strip)
        self.num_looks += 1
        self._write({"kind": "scores", **asdict(scores)})
        at = [0, 7, 15]
        self.log(
            f"{self.path.name} | {self.elapsed_s / 60:.1f} min | skill at 1/8/16 "
            + " ".join(f"{scores.skill[i]:.2f}" for i in at)
            + " | sharpness "
            + " ".join(f"{scores.sharpness[i]:.2f}" for i in at)
            + f" | shuffle {scores.action_shuffle_ratio:.2f}"
        )
        return scores

    def _averaged(self) -> Design:
        design = copy.deepcopy(self.design)
        self._fill(design)
        return design

    def _fill(self, design: Design) -> None:
        with torch.no_grad():
            for name, value in design.named_parameters():
                value.copy_(self.average[name])

    def _write(self, record: dict[str, Any]) -> None:
        line = {"step": self.step, "stage": self.stage, "minutes": self.elapsed_s / 60, **record}
        with (self.path / "curve.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        self.num_lines += 1

    def save(self) -> None:
        """Write the state; the one before it stays until this one is whole."""
        state = {
            "design": self.design.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            **{name: getattr(self, name) for name in _COUNTERS},
        }
        temporary = self.path / "state.pt.partial"
        torch.save(state, temporary)
        os.replace(temporary, self.path / "state.pt")

    def _go_on(self) -> None:
        """Continue behind the last save; lines of the curve that were written after it are dropped."""
        try:
            state = torch.load(self.path / "state.pt", map_location="cpu", weights_only=True)
        except Exception as error:  # whatever a damaged file makes its reader say
            raise CheckpointError(f"{self.path / 'state.pt'} is damaged ({error}); remove {self.path}") from None
        for name in _COUNTERS:
            setattr(self, name, state[name])
        self.design.load_state_dict(state["design"])
        self.design.stage = self.stage
        self.optimizer.load_state_dict(state["optimizer"])
        for name, value in self.average.items():
            value.copy_(state["average"][name])
        curve = self.path / "curve.jsonl"
        lines = curve.read_text().splitlines() if curve.exists() else []
        curve.write_text("".join(line + "\n" for line in lines[: self.num_lines]))
        self.log(f"{self.path.name} | goes on at step {self.step}, {self.elapsed_s / 60:.1f} minutes")


_COUNTERS = ("step", "elapsed_s", "stage", "stage_step", "stage_frames", "num_looks", "num_lines")
