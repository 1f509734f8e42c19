"""What the bake-off asks of a design, and what designs that predict whole frames share.

A design turns windows into a loss, and a context into streams that step under actions. Everything else (data, noise
levels, optimiser, clock, judge) is the same for all.

Axes: B windows or N streams, T frames of a window, C context frames, A action numbers, F features of a caption.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import nn

from worldsim.model import ModelConfig, ModelSpec, TextEncoder, Vocabulary
from worldsim.model.networks import from_pixels, to_pixels
from worldsim.model.text import TEXT_ENCODERS
from worldsim.train.data import Batch
from worldsim.train.draws import Draws, Inputs
from worldsim.train.objective import make_inputs

__all__ = [
    "NUM_CONTEXT",
    "Codec",
    "Design",
    "FrameDesign",
    "Predicted",
    "Streams",
    "World",
    "begin_streams",
    "channels_last",
    "new_words",
    "step_streams",
    "zero",
]

NUM_CONTEXT = 16
"""Frames that an imagined clip begins with."""


@dataclass(frozen=True, kw_only=True)
class World:
    """What a design is built for."""

    spec: ModelSpec
    vocabulary: Vocabulary
    frames: torch.Tensor
    """(M, H, W, 3) uint8 some frames to train on."""


class Design(Protocol):
    """An `nn.Module` that the bake-off can train, judge and time."""

    text: TextEncoder
    stages: tuple[float, ...]
    """Share of the minutes that each stage of the training takes."""
    stage: int
    """Which of them is on."""

    def prepare(self, batch: Batch, text: torch.Tensor, draws: Draws) -> tuple[Any, int]:
        """Return what the loss of the present stage needs, and how many frames it predicts.

        Args:
            batch: B windows of T steps.
            text: (B, T, F) features of the captions.
            draws: Draws all noise.
        """
        ...

    def loss(self, inputs: Any) -> torch.Tensor:
        """Return the loss () of what `prepare` returned; it may be compiled."""
        ...

    def begin(self, frames: torch.Tensor, action: torch.Tensor, text: torch.Tensor, seeds: torch.Tensor) -> Any:
        """Return the state of N streams behind their context.

        Args:
            frames: (N, C, H, W, 3) uint8.
            action: (N, C - 1, A) encoded actions between them.
            text: (N, F) features of the captions.
            seeds: (N,) of the noise.
        """
        ...

    def step(self, state: Any, action: torch.Tensor) -> tuple[Any, torch.Tensor]:
        """Return the next state and its frames (N, H, W, 3) uint8 under actions (N, A)."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """As of `nn.Module`, like what follows."""
        ...

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]: ...  # noqa: D102
    def modules(self) -> Iterator[nn.Module]: ...  # noqa: D102
    def state_dict(self) -> dict[str, Any]: ...  # noqa: D102
    def load_state_dict(self, state_dict: dict[str, Any], strict: bool = True) -> Any: ...  # noqa: D102


@runtime_checkable
class Codec(Protocol):
    """A design that works on codes of frames: no prediction can be better than the round trip."""

    def round_trip(self, frames: torch.Tensor) -> torch.Tensor:
        """Return uint8 frames (N, H, W, 3) encoded and decoded again."""
        ...


class Predicted(NamedTuple):
    """What a denoiser of whole frames gives; `worldsim.model.denoiser.Denoised` has the same two."""

    frame: torch.Tensor
    """(B, T, 3, H, W) in [-1, 1]."""
    cache: Any


@dataclass(frozen=True, kw_only=True)
class Streams:
    """State of a design that predicts whole frames with a transformer's cache."""

    cache: Any
    frames: torch.Tensor
    """(N, 2, H, W, 3) uint8, the last frame and the one before it."""
    text: torch.Tensor
    """(N, D) encoded captions."""


def begin_streams(
    denoiser: Callable[..., Any], frames: torch.Tensor, action: torch.Tensor, text: torch.Tensor
) -> Streams:
    """Return the state behind a context.

    Args:
        denoiser: Called as `worldsim.model.denoiser.Denoiser`.
        frames, action: As in `Design.begin`.
        text: (N, D) encoded captions.
    """
    pixels = from_pixels(frames)  # (N, C, 3, H, W)
    before = torch.cat([pixels[:, :1], pixels[:, :-2]], dim=1)
    num_known = action.shape[1]
    none = torch.zeros(action.shape[:2])
    out = denoiser(
        None,
        none,
        torch.stack([pixels[:, :-1], before], dim=2),
        action,
        none.long(),
        text[:, None].expand(-1, num_known, -1),
        None,
    )
    return Streams(cache=out.cache, frames=frames[:, [-1, -2]], text=text)


def step_streams(denoiser: Callable[..., Any], state: Streams, action: torch.Tensor) -> tuple[Streams, torch.Tensor]:
    """Return the next state and its frames, by one denoiser call at pure noise.

    The age of the context stays 0 all along: imagined contexts were never trained.
    """
    none = torch.zeros(len(action), 1)
    previous = from_pixels(state.frames)[:, None]  # (N, 1, 2, 3, H, W)
    out = denoiser(None, none, previous, action[:, None], none.long(), state.text[:, None], state.cache)
    frames = to_pixels(out.frame[:, 0])  # (N, H, W, 3)
    return replace(state, cache=out.cache, frames=torch.stack([frames, state.frames[:, 0]], dim=1)), frames


def zero(layer: nn.Module) -> None:
    """Let a layer give zero at first."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def channels_last(module: nn.Module) -> None:
    """Keep the kernels of a module in the order in which a CPU convolves fastest."""
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def new_words(world: World, config: ModelConfig) -> TextEncoder:
    """Return an untrained encoder of captions, the same for all designs."""
    return TEXT_ENCODERS[config.text_encoder](world.vocabulary, config.text_dim)


class FrameDesign(nn.Module):
    """A denoiser of whole frames, trained as the shipped one is: without heads, on true contexts only.

    Args:
        world: What it is built for.
        config: Of the denoiser.
        denoiser: Called as `worldsim.model.denoiser.Denoiser`.
    """

    stages = (1.0,)
    stage = 0

    def __init__(self, world: World, config: ModelConfig, denoiser: nn.Module) -> None:
        super().__init__()
        self.residual_std = config.residual_std
        self.denoiser = denoiser
        self.text = new_words(world, config)
        channels_last(self)

    def prepare(self, batch: Batch, text: torch.Tensor, draws: Draws) -> tuple[Inputs, int]:
        """See `Design`."""
        inputs = make_inputs(batch, text, draws)
        return inputs, inputs.tau.numel()

    def loss(self, inputs: Inputs) -> torch.Tensor:
        """Return the mean squared error of clean frames, in units of a typical change."""
        text = self.text(inputs.text)
        out = self.denoiser(inputs.noisy, inputs.tau, inputs.previous, inputs.action, inputs.age, text)
        return (out.frame - inputs.target).square().mean() / self.residual_std**2

    def begin(self, frames: torch.Tensor, action: torch.Tensor, text: torch.Tensor, seeds: torch.Tensor) -> Streams:
        """See `Design`; one sampler step from pure noise needs no noise."""
        return begin_streams(self.denoiser, frames, action, self.text(text))

    def step(self, state: Streams, action: torch.Tensor) -> tuple[Streams, torch.Tensor]:
        """See `Design`."""
        return step_streams(self.denoiser, state, action)
