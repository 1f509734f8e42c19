"""What turns gradients into a step: Muon for the matrices of the blocks, AdamW for everything else.

Muon (Jordan 2024, as in torch) makes the step of a matrix orthogonal, so that no direction of it is left behind. Its
steps are as large as AdamW's (Liu 2025), and one schedule serves both.

torch's makes it orthogonal in bfloat16, which takes longer than all else of a step where a processor has no
instructions for it; there it is done in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from worldsim.model import compute_dtype

__all__ = ["Optimizer"]

_MOMENTUM = 0.95
_BETAS = (0.9, 0.95)


class Optimizer(torch.optim.Optimizer):
    """Both as one optimizer, with one state.

    Args:
        networks: What is trained.
        rate: Learning rate, until `set_rate`.
        decay: Weight decay of matrices and kernels.
        muon_rate: As in a `TrainConfig`; if it is 0, all is AdamW's.
        undecayed: Parts of the names of matrices that do not decay.
    """

    def __init__(
        self, networks: nn.Module, *, rate: float, decay: float, muon_rate: float, undecayed: Sequence[str] = ()
    ) -> None:
        matrices, decayed, plain = [], [], []
        for name, parameter in networks.named_parameters():
            if muon_rate > 0 and "blocks." in name and parameter.ndim == 2 and name.endswith(".weight"):
                matrices.append(parameter)
            elif parameter.ndim >= 2 and not any(part in name for part in undecayed):
                decayed.append(parameter)
            else:
                plain.append(parameter)
        groups = [{"params": decayed, "weight_decay": decay}, {"params": plain, "weight_decay": 0.0}]
        self._inner: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=rate, betas=_BETAS, fused=True)]
        if matrices:
            is_fast = compute_dtype(matrices[0].device) == torch.bfloat16
            muon = (torch.optim.Muon if is_fast else _Float32Muon)(
                matrices, lr=rate, weight_decay=decay, momentum=_MOMENTUM, adjust_lr_fn="match_rms_adamw"
            )
            muon.param_groups[0]["times"] = muon_rate
            self._inner.append(muon)
        self._sizes = [len(inner.param_groups) for inner in self._inner]
        super().__init__([group for inner in self._inner for group in inner.param_groups], {})

    def set_rate(self, rate: float) -> None:
        """Set the learning rate; that of the blocks' matrices is a multiple of it."""
        for group in self.param_groups:
            group["lr"] = rate * group.get("times", 1.0)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:
        """Take one step."""
        first = 0
        for inner, size in zip(self._inner, self._sizes, strict=True):
            inner.state, inner.param_groups = self.state, self.param_groups[first : first + size]
            inner.step()
            first += size


class _Float32Muon(torch.optim.Muon):
    """torch's Muon with the Newton-Schulz iteration in float32; settings and state are the same."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state, momentum = self.state[parameter], group["momentum"]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(parameter.grad)
                average = state["momentum_buffer"].lerp_(parameter.grad, 1 - momentum)
                update = parameter.grad.lerp(average, momentum)  # Nesterov's
                update = _orthogonal(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update, alpha=-group["lr"] * 0.2 * math.sqrt(max(parameter.shape)))  # as AdamW's


def _orthogonal(
    matrix: torch.Tensor, coefficients: tuple[float, float, float], num_steps: int, eps: float
) -> torch.Tensor:
    """Return a matrix with the same singular vectors whose singular values are all near 1."""
    a, b, c = coefficients
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if is_tall else matrix
    x = x / x.norm().clamp_min(eps)
    for _ in range(num_steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if is_tall else x
