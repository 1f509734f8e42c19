"""A renderer: a diffusion model that draws the frame of a world whose state is known, from a plain picture of it.

A checkpoint of one is a directory: renderer.json, model.safetensors (bfloat16), metrics.json. `load_renderer` needs
nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from worldsim.errors import CheckpointError, EnvError
from worldsim.model.checkpoint import CHECKPOINTS, versions_of, write_file, write_json
from worldsim.model.networks import from_pixels, to_pixels
from worldsim.model.noise import keyed_noise
from worldsim.model.render_net import RendererConfig, RendererSpec, RenderNet, view_channels
from worldsim.model.sampler import euler_step, schedule
from worldsim.model.world_model import check_sampling

__all__ = ["PLAIN_MODES", "Renderer", "bundled_renderers", "load_renderer", "new_renderer", "save_renderer"]

FORMAT = 1
PLAIN_MODES = ("plain", "depth", "kind", "light")
"""Observation modes of a truth that a renderer draws from; an observation has the keys "mode/camera"."""
_FILES = ("renderer.json", "model.safetensors", "metrics.json")


class Renderer:
    """A network with what it draws; it holds no state.

    Args:
        net: The network.
        name: As it was loaded.
        sha: Of its weights.
        metrics, meta: What its checkpoint says.
    """

    def __init__(
        self,
        net: RenderNet,
        *,
        name: str = "renderer",
        sha: str = "",
        metrics: Mapping[str, Any] | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        self.net = net.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.spec, self.config = net.spec, net.config
        self.name, self.sha = name, sha
        self.metrics, self.meta = dict(metrics or {}), dict(meta or {})
        self.device = next(net.parameters()).device

    @property
    def num_parameters(self) -> int:
        """Number of weights."""
        return sum(parameter.numel() for parameter in self.net.parameters())

    @cached_property
    def _in_bfloat16(self) -> RenderNet:
        return self.net.in_bfloat16()

    def to(self, device: str) -> Renderer:
        """Return the renderer on a device."""
        return Renderer(self.net.to(device), name=self.name, sha=self.sha, metrics=self.metrics, meta=self.meta)

    @torch.inference_mode()
    def draw(
        self,
        plain: Mapping[str, np.ndarray],
        previous: np.ndarray | None = None,
        *,
        seeds: np.ndarray,
        steps: np.ndarray,
        sampler_steps: int | None = None,
        bfloat16: bool = False,
    ) -> np.ndarray:
        """Return frames, (B, H, W, 3) uint8.

        They are sampled by Euler steps of the rectified flow dz/dtau = (frame - z) / (1 - tau), from pure noise.

        Args:
            plain: By mode of PLAIN_MODES, (B, ...) each.
            previous: (B, H, W, 3) uint8, the frames shown before; None if there are none.
            seeds: (B,) noise seed per frame.
            steps: (B,) env step per frame.
            sampler_steps: Denoiser calls; None takes the checkpoint's. One starts where noise says nothing.
            bfloat16: Whether to convolve in bfloat16, several times faster where the processor can.

        Raises:
            EnvError: If the arrays do not fit the renderer, or ``sampler_steps`` is out of range.
        """
        scene = self._tensors(plain)
        light, view = scene["light"], view_channels(**scene, num_kinds=self.spec.num_kinds)
        shown = torch.zeros((len(light), 4, *view.shape[2:]), device=self.device)
        if previous is not None:
            before = np.array(previous)
            if before.shape != np.shape(plain["plain"]) or before.dtype != np.uint8:
                raise EnvError(
                    f"the frames before must be {np.shape(plain['plain'])} uint8; got {before.shape} {before.dtype}"
                )
            shown[:, :3], shown[:, 3] = from_pixels(torch.from_numpy(before).to(self.device)), 1
        net = self._in_bfloat16 if bfloat16 else self.net
        num_steps = self.config.sampler_steps if sampler_steps is None else sampler_steps
        check_sampling(num_steps, guidance=1.0)
        levels = schedule(num_steps)
        shape = (3, self.spec.height, self.spec.width)
        z = keyed_noise(seeds, steps, 0, shape).to(self.device) if num_steps > 1 else None
        frame = shown[:, :3]
        for k, level in enumerate(levels):
            tau = torch.full((len(light),), level, device=self.device)
            frame = net(None if k == 0 else z, tau, view, light, shown)
            if z is not None and k + 1 < num_steps:
                z = euler_step(z, frame, level, levels[k + 1])
        return to_pixels(frame).contiguous().cpu().numpy()

    def _tensors(self, plain: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
        spec = self.spec
        frame = (spec.height, spec.width)
        shapes = {"plain": (*frame, 3), "depth": frame, "kind": frame, "light": (spec.num_light,)}
        for name, shape in shapes.items():
            found = np.shape(plain[name])[1:] if name in plain else None
            if found != shape:
                raise EnvError(f"the renderer {self.name!r} draws from {name!r} of shape {shape}; got {found}")
        arrays = {name: np.asarray(plain[name]) for name in shapes}
        if (arrays["kind"] >= spec.num_kinds).any():
            raise EnvError(
                f"the renderer {self.name!r} knows {spec.num_kinds} kinds, from 0; got {arrays['kind'].max()}"
            )
        arrays["depth"] = arrays["depth"].astype(np.float16)
        return {name: torch.from_numpy(np.ascontiguousarray(array)).to(self.device) for name, array in arrays.items()}


def new_renderer(config: RendererConfig, spec: RendererSpec, *, seed: int = 0) -> RenderNet:
    """Return an untrained network; it shows the plain colours."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return RenderNet(config, spec)


def bundled_renderers() -> list[str]:
    """Return the names of the renderers that come with worldsim."""
    return sorted(path.parent.name for path in CHECKPOINTS.glob("*/renderer.json"))


def save_renderer(path: str | Path, net: RenderNet, *, metrics: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
    """Write a checkpoint; each file appears whole or not at all.

    Args:
        path: Directory, made if missing.
        net: Weights to store, in bfloat16.
        metrics: Figures of the training and of the tests.
        meta: What else renderer.json should say: git sha, env fingerprint, data.
    """
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    weights = {name: value.to(torch.bfloat16).contiguous() for name, value in net.state_dict().items()}
    write_file(path / "model.safetensors", safetensors.torch.save(weights))
    write_json(path / "metrics.json", metrics)
    versions = versions_of(("torch", "numpy", "gymnasium", "worldsim-sdk"))
    whole = {"format": FORMAT, "config": asdict(net.config), "spec": asdict(net.spec), "versions": versions, **meta}
    write_json(path / "renderer.json", whole)


def load_renderer(name_or_path: str | Path) -> Renderer:
    """Return a renderer by the name of a bundled one, or from a checkpoint's or a run's directory.

    Raises:
        CheckpointError: If there is none, or it is damaged.
    """
    named = Path(name_or_path)
    for path in (CHECKPOINTS / str(name_or_path), named, named / "checkpoint"):
        if (path / "renderer.json").is_file():
            break
    else:
        known = ", ".join(bundled_renderers()) or "none"
        raise CheckpointError(
            f"no renderer {str(name_or_path)!r}; give a directory with a renderer.json or a bundled name ({known})"
        )
    path = path.absolute()  # "." has no name
    missing = [name for name in _FILES if not (path / name).is_file()]
    if missing:
        raise CheckpointError(f"{path} is not a whole renderer: {', '.join(missing)} missing; copy the directory again")
    try:
        whole = json.loads((path / "renderer.json").read_text())
        if whole["format"] != FORMAT:
            raise CheckpointError(
                f"{path} has renderer format {whole['format']}, this worldsim reads {FORMAT}; retrain or upgrade"
            )
        config = RendererConfig(**{**whole["config"], "widths": tuple(whole["config"]["widths"])})
        spec = RendererSpec(**{**whole["spec"], "cameras": tuple(whole["spec"]["cameras"])})
        metrics = json.loads((path / "metrics.json").read_text())
        data = (path / "model.safetensors").read_bytes()
        net = RenderNet(config, spec)
        net.load_state_dict({name: value.float() for name, value in safetensors.torch.load(data).items()})
    except CheckpointError:
        raise
    except Exception as error:  # whatever a damaged file makes its reader say
        raise CheckpointError(f"{path} is damaged ({type(error).__name__}: {error}); copy or train it again") from None
    meta = {key: value for key, value in whole.items() if key not in {"config", "spec"}}
    name = path.name if path.name != "checkpoint" else path.parent.name
    return Renderer(net, name=name, sha=hashlib.sha256(data).hexdigest()[:12], metrics=metrics, meta=meta)
