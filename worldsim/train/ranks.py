"""Several processes that train one model: all that differs between one rank and many.

Every rank holds the whole store and plans each step alike, takes its own windows of it, and the gradients are averaged:
so one process and many take the same step, up to rounding. `torchrun` starts the ranks; rank 0 alone writes.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

__all__ = ["Ranks", "join", "like", "whole"]


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """The processes of one run, seen from one of them."""

    rank: int = 0
    size: int = 1
    local_size: int = 1
    """How many of them are on this machine."""

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def wrap(self, objective: nn.Module, blocks: Iterable[nn.Module], device: torch.device, shard: bool) -> nn.Module:
        """Return a module whose backward pass averages the gradients over all ranks.

        Args:
            objective: Gives the loss of a share of the windows.
            blocks: Parts of it that are gathered one at a time if ``shard``.
            device: Where its parameters are.
            shard: Whether parameters, gradients and optimizer are divided among the ranks (FSDP2) or copied (DDP).
        """
        if self.size == 1:
            return objective
        if not shard:
            return DistributedDataParallel(objective, gradient_as_bucket_view=True)
        # Torch warns that outputs are views, which would matter only to who changed them in place.
        warnings.filterwarnings("ignore", message="FSDP2-wrapped module", category=UserWarning)
        mesh = init_device_mesh(device.type, (self.size,))
        for module in [*blocks, objective]:
            fully_shard(module, mesh=mesh)
            assert isinstance(module, FSDPModule)
            module.set_force_sum_reduction_for_comms(device.type == "cpu")  # gloo knows no average
        return objective

    def accumulate(self, wrapped: nn.Module, is_last: bool) -> AbstractContextManager[Any]:
        """Return the context of a forward and backward pass, of which only the last one of a step averages."""
        if isinstance(wrapped, FSDPModule):
            wrapped.set_requires_gradient_sync(is_last)
        return wrapped.no_sync() if isinstance(wrapped, DistributedDataParallel) and not is_last else nullcontext()

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum of a tensor over all ranks, the same bits on each."""
        if self.size > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    def average_gradients(self, module: nn.Module) -> None:
        """Average the gradients of a module that is not wrapped."""
        if self.size > 1:
            for parameter in module.parameters():
                if parameter.grad is not None:
                    parameter.grad = self.sum(parameter.grad) / self.size

    def of_first(self, values: Sequence[float]) -> list[float]:
        """Return the numbers that rank 0 gives; all wait for it."""
        if self.size == 1:
            return list(values)
        numbers = torch.tensor(values, dtype=torch.float64)
        dist.broadcast(numbers, 0)
        return numbers.tolist()

    def leave(self) -> None:
        """End the communication."""
        if self.size > 1:
            dist.destroy_process_group()


def join(device: torch.device) -> Ranks:
    """Return the processes that torchrun started, ready to communicate; one alone if it did not."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return Ranks()
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if device.type == "cuda":
        torch.cuda.set_device(local_rank)
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    return Ranks(rank=dist.get_rank(), size=size, local_size=int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def whole(value: Any) -> Any:
    """Return a value of dicts, lists and tensors with every divided tensor gathered; all ranks must call it."""
    if isinstance(value, DTensor):
        return value.full_tensor()
    if isinstance(value, dict):
        return {key: whole(part) for key, part in value.items()}
    return [whole(part) for part in value] if isinstance(value, list) else value


def like(value: torch.Tensor, model: torch.Tensor) -> torch.Tensor:
    """Return a whole tensor divided as another one is."""
    if isinstance(model, DTensor) and value.ndim:
        return distribute_tensor(value, model.device_mesh, model.placements, src_data_rank=None)
    return value
