"""How much memory a training will take, said before it starts.

The frames and the network are arithmetic. What a forward pass keeps for the backward pass is counted on one window of
tensors without data, so nothing is allocated and no formula can drift from the network. Not counted: the passing
buffers of single operators, and what a compiler saves.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from worldsim.model import TEXT_ENCODERS, ModelConfig, ModelSpec, Networks, Vocabulary
from worldsim.train.draws import Inputs
from worldsim.train.objective import losses

__all__ = ["MemoryNeed", "estimate", "free_bytes", "kept_bytes"]

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
    first_frames: int = 0,
) -> MemoryNeed:
    """Return what a process will take.

    Args:
        config, spec: The model.
        num_frames: Frames of the stores that are loaded.
        num_parameters: Of the model.
        windows: That go through the model at once.
        length: Steps per window.
        shards: Among how many processes the network is divided.
        first_frames: First frames per window; see `TrainConfig.first_frame_share`.
    """
    return MemoryNeed(
        frames=num_frames * spec.height * spec.width * 3,
        network=4 * _COPIES * num_parameters // shards,
        kept=windows * sum(kept_bytes(config, spec, frames) for frames in (length, first_frames) if frames),
    )


def kept_bytes(config: ModelConfig, spec: ModelSpec, length: int) -> int:
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
        with hooks, torch.autocast("cpu", torch.bfloat16):
            losses(networks, inputs, torch.ones(()))
        return sum(storage.nbytes() for storage in kept.values())


def free_bytes(device: torch.device) -> tuple[int, int]:
    """Return the bytes of main memory and of the device that can be had; the same twice on a CPU."""
    main = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if _MEMINFO.exists():  # knows what a cache of files, such as the store's, would give back
        (told,) = re.findall(r"^MemAvailable: +(\d+) kB$", _MEMINFO.read_text(), flags=re.MULTILINE) or [0]
        main = max(main, 1024 * int(told))
    return main, torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else main
