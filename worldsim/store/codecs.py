"""How a chunk is packed: zstd, lz4 or not at all, as the zarr v3 specification names them, with a checksum behind it.

zstd is smallest, lz4 reads about twice as fast and suits frames of up to 64 pixels, none costs the disk of raw frames
and reads almost as fast as a memory map. Whatever a segment says, a reader decodes it; only a writer has to choose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numcodecs import blosc, zstd  # pyright: ignore[reportAttributeAccessIssue]

from worldsim.errors import StoreError

__all__ = ["CODECS", "check_codec", "codec_name", "decoder", "encode"]

blosc.use_threads = False  # chunks are small, and threads of a library do not survive a fork

_Decode = Callable[[np.ndarray, np.ndarray], Any]

CODECS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "zstd": ({"name": "zstd", "configuration": {"level": 1, "checksum": False}},),
    "lz4": (
        {
            "name": "blosc",
            "configuration": {"cname": "lz4", "clevel": 5, "shuffle": "noshuffle", "typesize": 1, "blocksize": 0},
        },
    ),
    "none": (),
}
"""Name to the codecs between ``bytes`` and ``crc32c``."""


def check_codec(codec: str) -> str:
    """Return the name of a codec.

    Raises:
        StoreError: If there is none of that name.
    """
    if codec not in CODECS:
        raise StoreError(f"codec must be {', '.join(CODECS)}; got {codec!r}")
    return codec


def encode(codec: str, chunk: np.ndarray) -> bytes:
    """Return a contiguous chunk packed by a codec of ``CODECS``."""
    if codec == "zstd":
        return bytes(zstd.compress(chunk, 1))
    if codec == "lz4":
        return bytes(blosc.compress(chunk, b"lz4", 5, blosc.NOSHUFFLE))
    return chunk.tobytes()


def decoder(chain: Sequence[Mapping[str, Any]]) -> _Decode | None:
    """Return what unpacks a chunk of these codecs (without ``bytes`` and ``crc32c``) into an array, None if unknown."""
    names = [codec["name"] for codec in chain]
    return {(): _copy, ("zstd",): zstd.decompress, ("blosc",): blosc.decompress}.get(tuple(names))


def codec_name(metadata: Mapping[str, Any]) -> str | None:
    """Return which of ``CODECS`` an array of this ``zarr.json`` uses, None if another."""
    outer = metadata["codecs"][0]
    if outer["name"] != "sharding_indexed":
        return None
    inner = [codec["name"] for codec in outer["configuration"]["codecs"]]
    for name, chain in CODECS.items():
        if inner == ["bytes", *(codec["name"] for codec in chain), "crc32c"]:
            return name
    return None


def _copy(packed: np.ndarray, out: np.ndarray) -> None:
    out[:] = packed.view(out.dtype).reshape(out.shape)
