"""The network of a renderer: a small U-Net that turns plain colours into the frame a camera would show.

Axes: B frames, H and W pixels, C channels, D width of the conditioning, K numbers of light and lens.

Three ideas carry it.

1. A frame is its plain colours under another light: the head gives, per pixel, a gain for the plain colour, a gain for
   the same colour spread over its neighbours as a lens does, and an offset. It starts as "show the plain colours".
2. What a light does to a surface depends on where the surface faces, and the depth says that: of a plane, one over the
   depth is linear in the picture, so its slopes are the plane's normal.
3. As in the world model, the noisy frame enters as the linear least-squares estimate of its change, here against the
   plain colours; at tau = 0 that is zero, so that one denoiser call from pure noise predicts the mean.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from worldsim.errors import EnvError

__all__ = ["RenderNet", "RendererConfig", "RendererSpec", "check_size", "tiny_renderer", "view_channels"]

_FREQUENCIES = 5  # octaves in which a number of the light is told
_NOTHING = 0  # kind of a pixel that shows no body
_TAN = 3  # place of the tangent of half the field of view among the numbers of the light, behind the light's direction


@dataclass(frozen=True, kw_only=True)
class RendererSpec:
    """What a renderer draws: a world, and how it is shown cheaply."""

    env_id: str
    env_kwargs: dict
    height: int
    width: int
    num_kinds: int
    """Sorts of bodies; 0 is none."""
    num_light: int
    """Numbers of light, lens and weather: first the direction to the light in the camera's axes (x right, y down,
    z forward) and the tangent of half the vertical field of view, then whatever the world tells."""
    cameras: tuple[str, ...]
    """Those that it learned from."""


@dataclass(frozen=True, kw_only=True)
class RendererConfig:
    """Architecture of a renderer and how it is sampled."""

    widths: tuple[int, ...] = (24, 48, 96, 160)
    """Channels at full resolution, at half of it, and so on."""
    dim: int = 128
    """Width D of the conditioning."""
    residual_std: float = 0.8
    """Typical difference between a frame and its plain colours, in units where a frame spans [-1, 1]."""
    sampler_steps: int = 1
    """Default number of denoiser calls per frame."""


def tiny_renderer() -> RendererConfig:
    """Return a renderer for tests: it trains in seconds and is good at little."""
    return RendererConfig(widths=(8, 16), dim=16)


def check_size(config: RendererConfig, spec: RendererSpec) -> None:
    """Check that a network can draw frames of a size.

    Raises:
        EnvError: If it cannot.
    """
    side = 2 ** (len(config.widths) - 1)
    if spec.height % side or spec.width % side:
        raise EnvError(f"a renderer's frames must be multiples of {side} pixels; got {spec.height}x{spec.width}")


class _Block(nn.Module):
    """Two convolutions beside a skip, modulated between them by the conditioning."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor, modulation: torch.Tensor) -> torch.Tensor:
        y = self.first(F.silu(x))  # (B, C, H, W)
        scale, shift = modulation[:, :, None, None].to(y.dtype).chunk(2, dim=1)
        return x + self.second(F.silu(y * (1 + scale) + shift))


class RenderNet(nn.Module):
    """Predict clean frames from noisy ones, plain pictures and the frames shown before.

    Args:
        config: Sizes.
        spec: The world.
    """

    def __init__(self, config: RendererConfig, spec: RendererSpec) -> None:
        super().__init__()
        self.config, self.spec = config, spec
        widths, dim = config.widths, config.dim
        check_size(config, spec)
        channels = 3 + 7 + 3 + spec.num_kinds + 4 + 3  # plain, maps, normal, kinds, previous, change
        self.embed = nn.Sequential(
            nn.Linear(spec.num_light * (1 + 2 * _FREQUENCIES) + 2 * _FREQUENCIES + 1, dim),
            nn.SiLU(),
            nn.Linear(dim, dim),
            nn.SiLU(),
        )
        self.stem = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.down = nn.ModuleList([nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(widths)])
        self.before = nn.ModuleList([_Block(width) for width in widths[1:]])
        self.after = nn.ModuleList([_Block(width) for width in widths])
        self._modulated = [2 * width for width in (*widths[1:], *reversed(widths))]  # in the order of use
        self.modulate = nn.Linear(dim, sum(self._modulated))  # of all blocks at once: small products are slow
        self.up = nn.ModuleList([nn.Conv2d(b, a, 1) for a, b in pairwise(widths)])
        self.head = nn.Conv2d(widths[0], 9, 3, padding=1)
        for layer in (self.modulate, self.head):
            nn.init.zeros_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        noisy: torch.Tensor | None,
        tau: torch.Tensor,
        view: torch.Tensor,
        light: torch.Tensor,
        previous: torch.Tensor,
    ) -> torch.Tensor:
        """Return the clean frames, (B, 3, H, W) in [-1, 1] (not clamped).

        Args:
            noisy: (B, 3, H, W) tau * frame + (1 - tau) * noise; None where every tau is 0.
            tau: (B,) noise level; 1 is data.
            view: (B, C, H, W) from `view_channels`, the plain colours first.
            light: (B, K) numbers of light and lens.
            previous: (B, 4, H, W) the frame shown before in [-1, 1] and a channel of ones, or zeros for none.
        """
        plain = view[:, :3]
        if noisy is None:
            change = torch.zeros_like(plain)
        else:
            change = (noisy - tau[:, None, None, None] * plain) * self._wiener(tau)[:, None, None, None]
        c = self.embed(_octaves(torch.cat([light, tau[:, None]], dim=1)))  # (B, D)
        modulations = iter(self.modulate(c).split(self._modulated, dim=1))
        x = torch.cat([view, previous, change / self.config.residual_std], dim=1)  # (B, C, H, W)
        x = self.stem(x.to(self.stem.weight.dtype).contiguous(memory_format=torch.channels_last))
        skips = []
        for down, block in zip(self.down, self.before, strict=True):
            skips.append(x)
            x = block(down(x), next(modulations))  # (B, C, H / 2, W / 2), and so on
        x = self.after[-1](x, next(modulations))
        for up, block, skip in zip(reversed(self.up), reversed(self.after[:-1]), reversed(skips), strict=True):
            x = block(F.interpolate(up(x), scale_factor=2.0) + skip, next(modulations))
        sharp, spread, offset = self.head(F.silu(x)).float().chunk(3, dim=1)  # (B, 3, H, W) each
        color = (plain + 1) / 2
        return 2 * (color * (1 + sharp) + _spread(color) * spread + offset) - 1

    def in_bfloat16(self) -> RenderNet:
        """Return a copy that convolves in bfloat16; the conditioning stays in float32."""
        net = copy.deepcopy(self)
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                module.bfloat16()
        return net

    def _wiener(self, tau: torch.Tensor) -> torch.Tensor:
        """Return the factor that turns a noisy change into its linear least-squares estimate."""
        variance = self.config.residual_std**2
        return tau * variance / (tau**2 * variance + (1 - tau) ** 2).clamp_min(1e-8)


def view_channels(
    plain: torch.Tensor, depth: torch.Tensor, kind: torch.Tensor, light: torch.Tensor, num_kinds: int
) -> torch.Tensor:
    """Return what a network sees of plain pictures, (B, 13 + num_kinds, H, W).

    Plain colours in [-1, 1], depth four times as something that fades, the share of the light that a surface takes,
    where each pixel points, the surface's normal, and sorts of bodies one-hot.

    Args:
        plain: (B, H, W, 3) uint8.
        depth: (B, H, W) float16 metres; that of an env is rounded to what training showed.
        kind: (B, H, W) uint8.
        light: (B, K) float32.
        num_kinds: Sorts of bodies.
    """
    _, height, width, _ = plain.shape
    colors = plain.permute(0, 3, 1, 2).float() / 127.5 - 1
    nearness = 1 / depth.float().clamp_min(0.1)  # (B, H, W)
    is_body = (kind != _NOTHING).float()
    half = light[:, _TAN]  # tangent of half the vertical field of view
    rows = (torch.arange(height, device=plain.device) + 0.5) * (2 / height) - 1
    columns = ((torch.arange(width, device=plain.device) + 0.5) * (2 / width) - 1) * (width / height)
    y = (half[:, None] * rows)[:, :, None].expand(-1, -1, width)  # (B, H, W), tangents
    x = (half[:, None] * columns)[:, None, :].expand(-1, height, -1)
    pitch = (half * 2 / height)[:, None, None]  # of pixels, as a tangent
    slope_x, slope_y = _slope(nearness, 2) / pitch, _slope(nearness, 1) / pitch
    normal = -torch.stack([slope_x, slope_y, nearness - slope_x * x - slope_y * y], dim=1)  # (B, 3, H, W)
    normal = normal / normal.norm(dim=1, keepdim=True).clamp_min(1e-6) * is_body[:, None]
    lit = (normal * light[:, :3, None, None]).sum(dim=1).clamp_min(0)
    metres = depth.float()
    fading = [metres.clamp_min(0.1).log() / 5, (-0.055 * metres).exp(), (-0.012 * metres).exp(), 4 / (4 + metres)]
    kinds = F.one_hot(kind.long(), num_kinds).permute(0, 3, 1, 2).float()
    maps = torch.stack([*fading, lit, x, y], dim=1)  # (B, 7, H, W)
    return torch.cat([colors, maps, normal, kinds], dim=1)


def _slope(values: torch.Tensor, axis: int) -> torch.Tensor:
    """Return the change per pixel of (B, H, W) values, the smaller of both sides': an edge is no slope."""
    step = values.diff(dim=axis)
    first, last = step.narrow(axis, 0, 1), step.narrow(axis, step.shape[axis] - 1, 1)
    ahead, behind = torch.cat([step, last], dim=axis), torch.cat([first, step], dim=axis)
    return torch.where(ahead.abs() < behind.abs(), ahead, behind)


def _spread(frames: torch.Tensor) -> torch.Tensor:
    """Return frames under the kernel [1, 2, 1] / 4 across and down, the edge repeated."""
    padded = F.pad(frames, (1, 1, 1, 1), mode="replicate")
    across = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    return (across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :]) / 16


def _octaves(values: torch.Tensor) -> torch.Tensor:
    """(B, K) to (B, K (1 + 2 F)): numbers, and their sines and cosines in octaves."""
    powers: Sequence[float] = [0.5 * torch.pi * 2.0**k for k in range(_FREQUENCIES)]
    angles = torch.cat([values * power for power in powers], dim=1)
    return torch.cat([values, angles.sin(), angles.cos()], dim=1)
