"""The denoiser for one frame of each stream: what `Denoiser.forward` computes, arranged for imagining.

The forward pass is written for training, over many frames and with gradients. Here there is one frame, no gradient and
a memory, and on a CPU most of a step is not arithmetic but the moving of numbers. So keys and values go straight into
the memory's free place, what is modulated or gated is changed in place, pixels come last in every array, and channels
that are known to be zero are left out. Numbers differ from the forward pass by rounding alone.

Axes: B streams, N patches of a frame, D width, H and W pixels, L temporal layers, P frames remembered.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from worldsim.model.denoiser import FLOW_SCALE, Block, Denoiser, TimeBlock, fourier, wiener
from worldsim.model.warp import sample_cubic

__all__ = ["Frame", "FrameDenoiser"]


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What one denoiser call gives for each stream."""

    frame: torch.Tensor
    """(B, 1, 3, H, W) clean frame in [-1, 1] (not clamped)."""
    reward: torch.Tensor
    """(B, 1)."""
    terminate: torch.Tensor
    """(B, 1) logit."""


class _Linear:
    """A linear layer whose rows or columns were put into another order."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        self.weight = weight.contiguous()
        self.bias = bias.contiguous()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight, self.bias)


class FrameDenoiser:
    """Predicts one clean frame per stream; takes the place of a `Denoiser` in `sample_frame`.

    Args:
        denoiser: Whose weights are used, as they are now, in the numbers that they are held in: bfloat16 or float32.
    """

    def __init__(self, denoiser: Denoiser) -> None:
        self.config = config = denoiser.config
        self.dtype = denoiser.patchify.weight.dtype
        self.height, self.width, self.grid = denoiser.height, denoiser.width, denoiser.grid
        patch, size = config.patch, config.patch**2
        weight, bias = denoiser.patchify.weight, denoiser.patchify.bias
        by_pixel = rearrange(weight, "d (c p q) -> d p q c", p=patch, q=patch)
        self._patchify = {
            channels: _Linear(by_pixel[..., -channels:].flatten(1), bias) for channels in (6, 9)
        }  # without and with a noisy frame
        self._position = denoiser.position.float()
        self._embed_tau, self._embed_action = denoiser.embed_tau, denoiser.embed_action
        self._embed_age, self._embed_text = denoiser.embed_age, denoiser.embed_text
        heads = (denoiser.modulate_space, denoiser.modulate_time, denoiser.modulate_out, denoiser.condition_token)
        self._condition = _Linear(
            torch.cat([head.weight for head in heads]), torch.cat([head.bias for head in heads])
        )  # all that is read off the conditioning, at once
        blocks = [block for block in denoiser.blocks if isinstance(block, Block)]
        self._blocks = [_Layer(block) for block in blocks]
        self._biases = [torch.stack([block.bias for block in self._blocks[i::2]])[:, None] for i in (0, 1)]
        self._scalars = denoiser.to_scalars
        weight, bias = denoiser.to_pixels.weight, denoiser.to_pixels.bias
        assert bias is not None
        pixels, pixel_bias = weight.unflatten(0, (-1, patch, patch)), bias.unflatten(0, (-1, patch, patch))
        self._to_flow, self._to_features = (
            _Linear(pixels[part].movedim(0, 2).flatten(0, 2), pixel_bias[part].movedim(0, 2).flatten())
            for part in (slice(0, 2), slice(2, None))
        )  # rows in the order (p q c)
        self._num_features = len(weight) // size - 2
        first, *others = (layer for layer in denoiser.paint if isinstance(layer, nn.Conv2d))
        self._first = {
            False: (_last(torch.cat([first.weight[:, :3], first.weight[:, 6:]], dim=1)), _present(first.bias)),
            True: (_last(first.weight), _present(first.bias)),
        }  # by whether there is a noisy frame; without one its three channels are zero
        self._others = [(_last(layer.weight), _present(layer.bias)) for layer in others]
        x = torch.linspace(-1, 1, self.width, device=weight.device)
        y = torch.linspace(-1, 1, self.height, device=weight.device)
        self._still = torch.stack([x.expand(self.height, -1), y[:, None].expand(-1, self.width)], dim=-1)  # (H, W, 2)
        self._flow_scale = torch.tensor(
            [2 * FLOW_SCALE / (self.width - 1), 2 * FLOW_SCALE / (self.height - 1)], device=weight.device
        )
        self._distance_bias = [
            block.distance_bias.flip(1)[None, :, None].float().contiguous()
            for block in blocks
            if isinstance(block, TimeBlock)
        ]  # (1, heads, 1, P + 1), the frame itself last

    def __call__(
        self,
        noisy: torch.Tensor | None,
        tau: torch.Tensor,
        previous: torch.Tensor,
        action: torch.Tensor,
        age: torch.Tensor,
        text: torch.Tensor,
        cache: torch.Tensor,
    ) -> Frame:
        """Predict the clean frame, and write its keys and values into the memory.

        Args:
            noisy, tau, previous, action, age, text: As in `Denoiser.forward`, with T = 1.
            cache: (P + 1, L, 2, B, N, heads, D / heads); the last of the frames is written.
        """
        last, before = previous[:, 0].permute(1, 0, 3, 4, 2)  # (B, H, W, 3) each
        noisy = None if noisy is None else noisy[:, 0].permute(0, 2, 3, 1)
        pixels = torch.cat([*self._change(noisy, tau, last), last, last - before], dim=-1)  # (B, H, W, 6 or 9)

        c = _layers(self._embed_tau, fourier(tau)) + _layers(self._embed_action, action)
        c = F.silu(c + self._embed_age(age) + _layers([self._embed_text], text))[:, 0]  # (B, D)
        read = self._condition(c.to(self.dtype)).float()  # (B, 15 D)
        dim = self.config.dim
        of_space, of_time, of_out, token = read.split([6 * dim, 6 * dim, 2 * dim, dim], dim=-1)
        space, time = (
            (part + biases).unflatten(-1, (6, 1, dim)).movedim(2, 1)  # (L, 6, B, 1, D)
            for part, biases in zip((of_space, of_time), self._biases, strict=True)
        )
        shift, scale = of_out.unflatten(-1, (2, 1, dim)).unbind(1)  # (B, 1, D) each
        patches = self._patches(pixels.to(self.dtype))
        x = self._patchify[pixels.shape[-1]](patches) + (self._position + token[:, None])  # (B, N, D)
        for i, block in enumerate(self._blocks):
            if i % 2 == 0:
                block.over_space(x, space[i // 2])
            else:
                block.over_time(x, time[i // 2], cache[:, i // 2], self._distance_bias[i // 2])
        x = _norm(x).mul_(1 + scale).add_(shift)
        scalars = _layers(self._scalars, x.mean(dim=1)).float()  # (B, 2)
        frame = self._paint(x.to(self.dtype), noisy, tau, last)
        return Frame(frame=frame.permute(0, 3, 1, 2)[:, None], reward=scalars[:, :1], terminate=scalars[:, 1:])

    def _change(self, noisy: torch.Tensor | None, tau: torch.Tensor, known: torch.Tensor) -> list[torch.Tensor]:
        """Return what a noisy frame (B, H, W, 3) says about the change of a known one; without one, nothing."""
        if noisy is None:
            return []
        gain = wiener(tau, self.config.residual_std) / self.config.residual_std
        return [(noisy - tau[:, :, None, None] * known) * gain[:, :, None, None]]

    def _paint(
        self, x: torch.Tensor, noisy: torch.Tensor | None, tau: torch.Tensor, last: torch.Tensor
    ) -> torch.Tensor:
        """Return the frame (B, H, W, 3) that tokens (B, N, D) say: the last one moved, and new colours where needed."""
        flow = self._unpatch(self._to_flow(x), 2).float()  # (B, H, W, 2)
        places = torch.addcmul(self._still, flow, self._flow_scale)
        moved = sample_cubic(last.permute(0, 3, 1, 2).contiguous(), places).permute(0, 2, 3, 1)  # (B, H, W, 3)
        known = [moved, *self._change(noisy, tau, moved)]
        features = self._unpatch(self._to_features(x), self._num_features)
        y = torch.cat([*(part.to(self.dtype) for part in known), features], dim=-1)
        y = y.permute(0, 3, 1, 2)  # (B, 3 or 6 + features, H, W), pixels last in memory
        y = F.conv2d(y, *self._first[noisy is not None], padding=1)
        for weight, bias in self._others:
            y = F.conv2d(F.silu(y, inplace=True), weight, bias, padding=weight.shape[-1] // 2)
        y = y.permute(0, 2, 3, 1).float()  # (B, H, W, 4)
        return torch.lerp(moved, y[..., 1:], y[..., :1].sigmoid())

    def _patches(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, H, W, C) to (B, N, p p C), padded to whole patches by repeating the edge."""
        patch = self.config.patch
        for axis, wanted in ((1, self.grid[0] * patch), (2, self.grid[1] * patch)):
            missing = wanted - pixels.shape[axis]
            if missing:
                edge = pixels.narrow(axis, pixels.shape[axis] - 1, 1)
                pixels = torch.cat([pixels, *[edge] * missing], dim=axis)
        return rearrange(pixels, "b (y p) (x q) c -> b (y x) (p q c)", p=patch, q=patch)

    def _unpatch(self, tokens: torch.Tensor, channels: int) -> torch.Tensor:
        """(B, N, p p C) to (B, H, W, C)."""
        patch, (rows, columns) = self.config.patch, self.grid
        image = rearrange(tokens, "b (y x) (p q c) -> b (y p) (x q) c", y=rows, x=columns, p=patch, q=patch, c=channels)
        return image[:, : self.height, : self.width]


class _Layer:
    """A block of the transformer that changes its tokens in place."""

    def __init__(self, block: Block) -> None:
        self.num_heads = block.num_heads
        self.qkv, self.out, self.up, self.down = (
            _Linear(layer.weight, layer.bias) for layer in (block.qkv, block.out, block.up, block.down)
        )
        bias = block.modulation_bias.float().unflatten(0, (6, -1)).clone()
        bias[[1, 4]] += 1  # both scales, which multiply by one plus what is learned
        self.bias = bias.flatten()

    def over_space(self, x: torch.Tensor, modulation: torch.Tensor) -> None:
        shift, scale, gate, *others = modulation
        q, k, v = self._heads(x, shift, scale).permute(2, 0, 3, 1, 4)  # (B, heads, N, D / heads) each
        mixed = F.scaled_dot_product_attention(q, k, v)
        self._add(x, mixed.transpose(1, 2).flatten(2), gate, *others)

    def over_time(self, x: torch.Tensor, modulation: torch.Tensor, memory: torch.Tensor, bias: torch.Tensor) -> None:
        """Look back on a memory (P + 1, 2, B, N, heads, D / heads) whose last frame is written here."""
        shift, scale, gate, *others = modulation
        qkv = self._heads(x, shift, scale)  # (B, N, 3, heads, D / heads)
        memory[-1].copy_(qkv[:, :, 1:].movedim(2, 0))
        keys, values = memory.permute(1, 2, 3, 4, 0, 5).flatten(1, 2)  # (B N, heads, P + 1, D / heads) each
        q = qkv[:, :, 0].flatten(0, 1)[:, :, None]  # (B N, heads, 1, D / heads)
        mixed = F.scaled_dot_product_attention(q, keys, values, attn_mask=bias)
        self._add(x, mixed.reshape(x.shape), gate, *others)

    def _heads(self, x: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        qkv = self.qkv(_norm(x).mul_(scale).add_(shift).to(self.qkv.weight.dtype))  # (B, N, 3 D)
        return qkv.unflatten(2, (3, self.num_heads, -1))

    def _add(
        self,
        x: torch.Tensor,
        mixed: torch.Tensor,
        gate1: torch.Tensor,
        shift2: torch.Tensor,
        scale2: torch.Tensor,
        gate2: torch.Tensor,
    ) -> None:
        x.addcmul_(self.out(mixed), gate1)
        hidden = self.up(_norm(x).mul_(scale2).add_(shift2).to(self.up.weight.dtype)).relu_()
        x.addcmul_(self.down(hidden.mul_(hidden)), gate2)


def _norm(x: torch.Tensor) -> torch.Tensor:
    """Return a new tensor of root mean square one; `F.rms_norm` goes through the numbers three times as often."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x * length.square_().div_(x.shape[-1]).add_(torch.finfo(x.dtype).eps).rsqrt_()


def _layers(layers: Iterable[nn.Module], x: torch.Tensor) -> torch.Tensor:
    """Apply small layers in the precision that they are kept in."""
    for layer in layers:
        x = layer(x.to(layer.weight.dtype)) if isinstance(layer, nn.Linear) else layer(x)
    return x


def _present(x: torch.Tensor | None) -> torch.Tensor:
    assert x is not None
    return x


def _last(weight: torch.Tensor) -> torch.Tensor:
    return weight.contiguous(memory_format=torch.channels_last)
