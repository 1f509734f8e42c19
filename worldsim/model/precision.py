"""In which numbers networks compute.

bfloat16 halves what is moved, and where a processor has instructions for it a product takes a fraction of the time.
Where it has none, every bfloat16 product is emulated: on a processor with AVX2 alone a matrix product or a convolution
was measured 10 to 15 times slower than in float32. So the processor decides, and ``WORLDSIM_PRECISION`` can overrule
it, for example to repeat figures of another machine.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext

import torch

from worldsim.errors import WorldsimError

__all__ = ["PRECISION_VARIABLE", "autocast", "compute_dtype"]

PRECISION_VARIABLE = "WORLDSIM_PRECISION"
_DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


def compute_dtype(device: str | torch.device = "cpu") -> torch.dtype:
    """Return bfloat16 where the device has instructions for it, else float32.

    Args:
        device: ``cpu``, ``cuda`` or a torch device.

    Raises:
        WorldsimError: If ``WORLDSIM_PRECISION`` is set to something else than auto, float32 or bfloat16.
    """
    asked = os.environ.get(PRECISION_VARIABLE, "auto") or "auto"
    if asked in _DTYPES:
        return _DTYPES[asked]
    if asked != "auto":
        raise WorldsimError(f"{PRECISION_VARIABLE} is auto, float32 or bfloat16; got {asked!r}")
    kind = torch.device(device).type
    if kind == "cpu":
        has = torch.cpu._is_avx512_bf16_supported()  # the public way to ask is newer than the oldest torch that will do
    else:
        has = kind != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if has else torch.float32


def autocast(device: str | torch.device = "cpu", dtype: torch.dtype | None = None) -> AbstractContextManager[object]:
    """Return a context in which products and convolutions on a device are in ``dtype``; in `compute_dtype` if None."""
    dtype = dtype or compute_dtype(device)
    if dtype == torch.float32:
        return nullcontext()
    return torch.autocast(torch.device(device).type, dtype)
