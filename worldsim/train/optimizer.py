"""What turns gradients into a step: Muon for the matrices of the blocks, AdamW for everything else.

Muon (Jordan 2024, as in torch) makes the step of a matrix orthogonal, so that no direction of it is left behind. Its
steps are as large as AdamW's (Liu 2025), and one schedule serves both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

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
            muon = torch.optim.Muon(
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
