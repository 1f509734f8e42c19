"""Moving pixels: the copy path of the model."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

__all__ = ["sample_cubic", "warp"]

_NEAREST, _CUBIC, _REPEAT_EDGE = 1, 2, 1  # codes of the ATen operator


def sample_cubic(image: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Return ``image`` (B, C, H, W) at places (B, H, W, 2) in [-1, 1], x first, by a cubic convolution kernel.

    A cubic kernel overshoots at edges, and a rollout samples its own samples: after fifty steps the overshoot of an
    overshoot is a saturated colour. So no sample leaves the levels of the 3 x 3 pixels around its place, and moving
    alone can never make a level that was not there.

    No gradient flows through it.
    """
    cubic = torch.ops.aten.grid_sampler_2d(image, grid, _CUBIC, _REPEAT_EDGE, True)
    around = torch.cat([_of_three(image, torch.minimum), _of_three(image, torch.maximum)], dim=1)
    low, high = torch.ops.aten.grid_sampler_2d(around, grid, _NEAREST, _REPEAT_EDGE, True).chunk(2, dim=1)
    return torch.minimum(torch.maximum(cubic, low), high)


def _of_three(image: torch.Tensor, which: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Return the lowest or highest of the 3 x 3 pixels around each one, ten times faster than `max_pool2d` on a CPU."""
    wide = F.pad(image, (1, 1, 1, 1), mode="replicate")
    rows = which(which(wide[..., :-2], wide[..., 1:-1]), wide[..., 2:])
    return which(which(rows[..., :-2, :], rows[..., 1:-1, :]), rows[..., 2:, :])


# An operator of its own: torch.compile would break the library's kernel up into one that is ten times slower on a CPU.
@torch.library.custom_op("worldsim::cubic_sample", mutates_args=())
def _cubic_sample(image: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    return sample_cubic(image, grid).contiguous()


@_cubic_sample.register_fake
def _(image: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    return image.new_empty((image.shape[0], image.shape[1], grid.shape[1], grid.shape[2]))


@torch.library.custom_op("worldsim::cubic_sample_backward", mutates_args=())
def _cubic_sample_backward(gradient: torch.Tensor, image: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    wanted = [False, True]  # frames are data: only the flow is learned through the warp
    return torch.ops.aten.grid_sampler_2d_backward(gradient, image, grid, _CUBIC, _REPEAT_EDGE, True, wanted)[
        1
    ].contiguous()


@_cubic_sample_backward.register_fake
def _(gradient: torch.Tensor, image: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(grid)


def _keep(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx, gradient: torch.Tensor) -> tuple[None, torch.Tensor]:
    return None, _cubic_sample_backward(gradient.contiguous(), *ctx.saved_tensors)


_cubic_sample.register_autograd(_backward, setup_context=_keep)


def warp(image: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """Return ``image`` sampled at each pixel's own place plus ``flow``, with a cubic convolution kernel.

    A cubic kernel keeps edges that a bilinear one would soften again at every imagined step; see `sample_cubic` for its
    limits. Gradients reach the flow, not the image, and are those of the kernel without its limits: a place may be
    wrong although its level is at a limit.

    Args:
        image: (B, C, H, W).
        flow: (B, 2, H, W) offset in pixels, x to the right and y down; beyond the border the edge is repeated.
    """
    _, _, height, width = image.shape
    x = torch.arange(width, device=flow.device, dtype=flow.dtype) + flow[:, 0]  # (B, H, W)
    y = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None] + flow[:, 1]
    grid = torch.stack([x * (2 / (width - 1)) - 1, y * (2 / (height - 1)) - 1], dim=-1)  # (B, H, W, 2)
    return _cubic_sample(image.contiguous(), grid)
