"""Training of a renderer: one process, resumable. A run is a directory.

RUN/pairs/, RUN/pairs-val/  what it learns from and is looked at with, collected once
RUN/checkpoint/             what `worldsim.model.load_renderer(RUN)` reads: EMA weights
RUN/state.pt                everything that resuming needs
RUN/metrics.jsonl           one line per report
RUN/strips/                 plain colours above truth above drawn frames, from held-out episodes

A step is a function of (seed, step): which pairs, which noise, and what each is shown as the frame before it, which is
nothing, the true one, or what the network itself draws.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from worldsim.collect import env_fingerprint
from worldsim.errors import CheckpointError, WorldsimError
from worldsim.model import (
    PLAIN_MODES,
    Renderer,
    RendererConfig,
    autocast,
    compute_dtype,
    new_renderer,
    save_renderer,
    view_channels,
)
from worldsim.model.networks import from_pixels, to_pixels
from worldsim.model.render_net import check_size
from worldsim.train.budget import Budget, changed_settings, check_run, read_state
from worldsim.train.git import commit_name
from worldsim.train.pairs import PairsConfig, collect_pairs
from worldsim.train.render_scores import draw_episodes, draw_strip, score
from worldsim.train.run import TrainingRun

__all__ = ["RenderTrainConfig", "train_renderer"]

FIRST_VALIDATION_SEED = 100_000
_KIND = "a renderer"


@dataclass(frozen=True, kw_only=True)
class RenderTrainConfig(Budget):
    """How a renderer is trained."""

    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of the truth."""
    episodes: int = 1200
    """Episodes to collect pairs from."""
    moments: int = 40
    """Pairs per episode."""
    val_episodes: int = 96
    val_moments: int = 16
    vary: tuple[tuple[str, ...], ...] = ()
    """As in `PairsConfig`."""
    network: RendererConfig = field(default_factory=RendererConfig)
    batch: int = 16
    final_rate: float = 0.02
    pure_share: float = 0.6
    """Share of the pairs whose noise level is 0, where the default sampler's only call is; the others are drawn."""
    absolute: float = 0.1
    """Weight of the absolute beside the squared error: it keeps dark frames from counting for nothing."""
    none_share: float = 0.25
    """Share of the pairs that are shown no frame before theirs."""
    own_share: float = 0.4
    """Share that are shown what the network draws for the moment before, from ``own_from`` on."""
    own_from: float = 0.1
    """Share of the budget."""


def train_renderer(
    env_id: str,
    run: str | Path,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    resume: bool = False,
    seed: int = 0,
    threads: int | None = None,
    device: str = "cpu",
    config: RenderTrainConfig | None = None,
    log: Callable[[str], None] = print,
) -> Path:
    """Collect pairs of a truth, train a renderer on them and return its checkpoint directory.

    Args:
        env_id: A truth that offers the modes of PLAIN_MODES.
        run: Directory of the run; pairs that it holds already are kept.
        minutes, steps: Budget; one of them.
        resume: Continue the run in ``run``.
        seed: Of weights, pairs and noise.
        threads: CPU threads; torch's default if None.
        device: ``cpu`` or ``cuda``.
        config: All other settings; budget and seed of the arguments above override it.
        log: Receives one line at a time.

    Raises:
        WorldsimError: If the arguments, the env or the run do not allow it, or the loss is no longer finite.
    """
    run = Path(run)
    check_run(run, minutes=minutes, steps=steps, resume=resume)
    settings = replace(config or RenderTrainConfig(), minutes=minutes, steps=steps, seed=seed)
    if threads:
        torch.set_num_threads(threads)
    return _Trainer(env_id, run, settings, torch.device(device), log, resume).run()


class _Trainer(TrainingRun):
    """All that changes during a run."""

    def __init__(
        self,
        env_id: str,
        path: Path,
        settings: RenderTrainConfig,
        device: torch.device,
        log: Callable[[str], None],
        resume: bool,
    ) -> None:
        super().__init__(path, settings, settings.batch, log)
        self.settings, self.device = settings, device
        wanted = PairsConfig(
            env_id=env_id,
            env_kwargs=settings.env_kwargs,
            episodes=settings.episodes,
            steps=settings.moments,
            vary=settings.vary,
        )
        held_out = replace(
            wanted,
            episodes=settings.val_episodes,
            steps=settings.val_moments,
            first_seed=FIRST_VALIDATION_SEED,
            vary=(),
        )
        self.pairs = collect_pairs(path / "pairs", wanted, log, check=partial(check_size, settings.network))
        self.held_out = collect_pairs(path / "pairs-val", held_out, log)
        if len(self.pairs) < settings.batch:
            raise WorldsimError(
                f"a step takes {settings.batch} different pairs, and there are {len(self.pairs)}; make batch smaller, "
                "or collect more episodes into another directory"
            )
        self.commit = commit_name()  # of the code that runs, whatever is checked out later
        self.fingerprint = env_fingerprint(env_id, settings.env_kwargs)
        self.net = new_renderer(settings.network, self.pairs.spec, seed=settings.seed).to(device)
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        decay = [value for value in self.net.parameters() if value.ndim >= 2]
        plain = [value for value in self.net.parameters() if value.ndim < 2]
        groups = [{"params": decay, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.95), fused=True)
        saved = read_state(path, kind=_KIND, cure="start a new run elsewhere") if resume else None
        if saved:
            if saved["network"] != asdict(settings.network):
                raise CheckpointError(f"{path} was begun as {saved['network']}; resume it as that")
            self.net.load_state_dict(saved["net"])
            state = saved["optimizer"]["state"]
            self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})  # of settings, those of now
            self.step, self.elapsed_s, self.history = saved["step"], saved["elapsed_s"], saved["history"]
        self.average = copy.deepcopy(self.net).requires_grad_(False)
        if saved:
            self.average.load_state_dict(saved["average"])
        num = sum(value.numel() for value in self.net.parameters())
        self.log(
            f"{num / 1e6:.2f} M parameters; {len(self.pairs)} pairs of {len(self.pairs.episodes)} episodes, "
            f"{len(self.held_out)} held out; device {device}"
            + (f"; resumed at step {self.step}, {self.elapsed_s / 60:.1f} minutes" if saved else "")
        )
        if saved and (changed := changed_settings(saved.get("settings", {}), self._stated)):
            self.log(f"resumed otherwise than it was left: {changed}")

    @property
    def _stated(self) -> dict[str, Any]:
        """What steps depend on besides the saved state and the pairs, by name."""
        return {name: value for name, value in asdict(self.settings).items() if isinstance(value, int | float)}

    def take_step(self) -> float:
        """Follow the gradient of one batch; return its loss."""
        settings = self.settings
        rng = np.random.Generator(np.random.Philox(key=[settings.seed, self.step]))
        rows = np.sort(rng.choice(len(self.pairs), settings.batch, replace=False))
        noise = torch.from_numpy(rng.standard_normal((len(rows), 3, *self._size), np.float32)).to(self.device)
        tau = 1 / (1 + np.exp(0.4 - rng.standard_normal(len(rows))))
        tau = torch.from_numpy(np.where(rng.random(len(rows)) < settings.pure_share, 0, tau).astype(np.float32))
        tau = tau.to(self.device)
        frame, light, view = self._frames(rows), *self._views(rows)
        previous = self._previous(rows, rng.random(len(rows)))
        level = tau[:, None, None, None]
        with autocast(self.device):
            found = self.net(level * frame + (1 - level) * noise, tau, view, light, previous)
        loss = F.mse_loss(found, frame) + settings.absolute * F.l1_loss(found, frame)
        if not torch.isfinite(loss):
            bad = self.path / f"bad_batch_{self.step}.npz"
            np.savez_compressed(bad, rows=rows, tau=tau.cpu().numpy())
            raise WorldsimError(
                f"the loss is {loss.item()} at step {self.step}; the rows are in {bad}; resume from the last save with "
                "a lower learning rate"
            )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), settings.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = settings.rate(self.step, self.elapsed_s)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        decay = settings.decay(self.step)
        with torch.no_grad():
            for slow, value in zip(self.average.parameters(), self.net.parameters(), strict=True):
                slow.lerp_(value, 1 - decay)
        return loss.item()

    @property
    def _size(self) -> tuple[int, int]:
        return self.pairs.spec.height, self.pairs.spec.width

    @torch.no_grad()
    def _previous(self, rows: np.ndarray, chance: np.ndarray) -> torch.Tensor:
        """Return the frames shown before rows, (B, 4, H, W), with which kind of them decided by chance."""
        settings = self.settings
        has_one = (chance >= settings.none_share) & ~self.pairs.is_first[rows]
        is_own = has_one & (chance >= 1 - settings.own_share) & (self.progress >= settings.own_from)
        previous = torch.zeros((len(rows), 4, *self._size), device=self.device)
        marked, drawn = (torch.from_numpy(np.flatnonzero(mask)).to(self.device) for mask in (has_one, is_own))
        if len(marked):
            true = self._frames(rows[has_one] - 1)
            previous[marked] = torch.cat([true, torch.ones_like(true[:, :1])], dim=1)
        if len(drawn):
            light, view = self._views(rows[is_own] - 1)
            nothing = torch.zeros((len(light), 4, *self._size), device=self.device)
            with autocast(self.device):
                own = self.net(None, torch.zeros(len(light), device=self.device), view, light, nothing)
            own = from_pixels(to_pixels(own))  # as a frame is shown
            previous[drawn] = torch.cat([own, torch.ones_like(own[:, :1])], dim=1)
        return previous

    def _frames(self, rows: np.ndarray) -> torch.Tensor:
        """Return true frames, (B, 3, H, W) in [-1, 1]."""
        return from_pixels(torch.from_numpy(self.pairs.frames(rows)).to(self.device))

    @torch.no_grad()
    def _views(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return numbers of the light (B, K) and what a network sees (B, C, H, W)."""
        arrays = self.pairs.plain(rows)
        scene = {name: torch.from_numpy(arrays[name]).to(self.device) for name in PLAIN_MODES}
        return scene["light"], view_channels(**scene, num_kinds=self.pairs.spec.num_kinds)

    def validate(self) -> None:
        """Draw the held-out episodes with the averaged weights, score them, and write a picture."""
        renderer = Renderer(copy.deepcopy(self.average))
        drawn = draw_episodes(renderer, self.held_out, bfloat16=compute_dtype(self.device) == torch.bfloat16)
        figures = score(drawn, self.held_out)
        draw_strip(self.path / "strips" / f"{self.step:06d}.png", drawn, self.held_out)
        self.remember(figures)
        self.log(
            f"validation: {figures['psnr']:.2f} dB (plain colours {figures['psnr_plain']:.2f}), "
            f"skill {figures['skill']:.3f}, sharpness {figures['sharpness']:.2f}, change {figures['change']:.2f}, "
            f"flicker {figures['flicker']:.2f} levels"
        )

    def save(self) -> None:
        """Write the state for resuming and the checkpoint for use."""
        state = {
            "kind": _KIND,
            "network": asdict(self.settings.network),
            "settings": self._stated,
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "history": self.history,
        }
        self.write_state(state)
        config = self.pairs.config
        save_renderer(
            self.path / "checkpoint",
            self.average,
            metrics={"validation": self.history},
            meta={
                "git_sha": self.commit,
                "env_fingerprint": self.fingerprint,
                "card": {
                    "pairs": len(self.pairs),
                    "episodes": len(self.pairs.episodes),
                    "seeds": {"min": config["first_seed"], "max": config["first_seed"] + config["episodes"] - 1},
                    "collected": config,
                },
                "training": {
                    **asdict(self.settings),
                    "steps_done": self.step,
                    "minutes_done": self.elapsed_s / 60,
                    "frames_seen": self.step * self.settings.batch,
                    "threads": torch.get_num_threads(),
                },
            },
        )
