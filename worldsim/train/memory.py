"""How much memory a training will take, said before it starts.

The frames and the network are arithmetic. What a forward pass keeps for the backward pass is counted on one window of
tensors without data, so nothing is allocated and no formula can drift from the network. Not counted: the passing
buffers of single operators, the critic, windows deep in a rollout, and what a compiler saves; so what was held at most
is said as the training goes.
"""

from __future__ import annotations

import os
import re
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from worldsim.errors import WorldsimError
from worldsim.model import TEXT_ENCODERS, ModelConfig, ModelSpec, Networks, Vocabulary, autocast
from worldsim.train.draws import Inputs
from worldsim.train.objective import losses

__all__ = ["MemoryNeed", "check_fits", "estimate", "free_bytes", "held_bytes", "kept_bytes"]

_MEMINFO = Path("/proc/meminfo")
_COPIES = 5  # float32 numbers per parameter: itself, its gradient, two of the optimizer, the average


@dataclass(frozen=True, kw_only=True)
class MemoryNeed:
    """Bytes that one process takes."""

    frames: int
    """Decoded frames of the store, in main memory."""
    network: int
    """Parameters with gradients, optimizer and average."""
    kept: int
    """What a forward pass keeps for the backward pass."""

    def line(self) -> str:
        """Return the parts as one line."""
        gib = [f"{value / 2**30:.2f}" for value in (self.frames, self.network, self.kept)]
        return f"memory in GiB: frames {gib[0]}, network and optimizer {gib[1]}, kept for the backward pass {gib[2]}"


def estimate(
    config: ModelConfig,
    spec: ModelSpec,
    *,
    num_frames: int,
    num_parameters: int,
    windows: int,
    length: int,
    shards: int,
    dtype: torch.dtype | None = None,
) -> MemoryNeed:
    """Return what a process will take.

    Args:
        config, spec: The model.
        num_frames: Frames of the stores that are loaded.
        num_parameters: Of the model.
        windows: That go through the model at once.
        length: Steps per window.
        shards: Among how many processes the network is divided.
        dtype: Of products and convolutions; `compute_dtype` of the processor if None.
    """
    return MemoryNeed(
        frames=num_frames * spec.height * spec.width * 3,
        network=4 * _COPIES * num_parameters // shards,
        kept=windows * kept_bytes(config, spec, length, dtype),
    )


def kept_bytes(config: ModelConfig, spec: ModelSpec, length: int, dtype: torch.dtype | None = None) -> int:
    """Return the bytes that one window of ``length`` steps keeps for the backward pass."""
    blank = TEXT_ENCODERS[config.text_encoder](Vocabulary(()), config.text_dim).features([None])  # (1, F)
    with FakeTensorMode():
        networks = Networks(config, spec, Vocabulary(()))
        frame = torch.zeros(1, length, 3, spec.height, spec.width)
        scalar = torch.zeros(1, length)
        inputs = Inputs(
            target=frame,
            noisy=frame.clone(),
            tau=scalar,
            previous=torch.stack([frame, frame], dim=2),
            action=torch.zeros(1, length, spec.action_dim),
            age=torch.zeros(1, length, dtype=torch.long),
            text=torch.zeros(1, length, blank.shape[1], dtype=blank.dtype),
            factors=torch.zeros(1, length, 2 * len(spec.factor_names)),
            reward=scalar.clone(),
            terminated=scalar.clone(),
            weight=scalar.clone(),
            guide=torch.zeros(1, length, 2, spec.height, spec.width),
        )
        own = {parameter.untyped_storage()._cdata for parameter in networks.parameters()}
        kept: dict[int, torch.UntypedStorage] = {}  # held, so that no two have the same address

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in own:
                kept[storage._cdata] = storage
            return tensor

        hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
        with hooks, autocast("cpu", dtype):
            losses(networks, inputs, torch.ones(()))
        return sum(storage.nbytes() for storage in kept.values())


def free_bytes(device: torch.device) -> tuple[int, int]:
    """Return the bytes of main memory and of the device that can be had; the same twice on a CPU."""
    main = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if _MEMINFO.exists():  # knows what a cache of files, such as the store's, would give back
        (told,) = re.findall(r"^MemAvailable: +(\d+) kB$", _MEMINFO.read_text(), flags=re.MULTILINE) or [0]
        main = max(main, 1024 * int(told))
    return main, torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else main


def held_bytes(device: torch.device) -> int:
    """Return the most memory that this process has held so far: of the device, and for a CPU of main memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def check_fits(need: MemoryNeed, device: torch.device, *, processes: int, log: Callable[[str], None]) -> None:
    """Say what a training will take.

    Args:
        need: Of one process.
        device: Where it runs.
        processes: That run on this machine.
        log: Receives the line.

    Raises:
        WorldsimError: If it cannot fit.
    """
    main, own = free_bytes(device)
    log(
        f"{need.line()}; {main / 2**30:.1f} GiB are free"
        + (f", {own / 2**30:.1f} GiB on the device" if device.type == "cuda" else "")
        + (f"; {processes} such processes here" if processes > 1 else "")
    )
    on_device = need.network + need.kept
    in_main = processes * (need.frames + (on_device if device.type == "cpu" else 0))
    if in_main > 0.9 * main:
        raise WorldsimError(
            f"the training needs {in_main / 2**30:.1f} GiB of memory and {main / 2**30:.1f} GiB are free; "
            "use a smaller store, a smaller batch, or accumulate"
        )
    if on_device > 0.9 * own:
        raise WorldsimError(
            f"the training needs {on_device / 2**30:.1f} GiB on the device and {own / 2**30:.1f} GiB are free; "
            "use a smaller batch, accumulate, or shard"
        )
