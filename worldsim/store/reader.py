"""Reading rows of a sharded zarr array without zarr: map the shard once, keep its index, decode where the caller wants.

zarr-python spends milliseconds per read on tasks and on the index; the decoding itself takes microseconds. Arrays whose
codecs or layout are not among those known here are left to zarr-python.
"""

from __future__ import annotations

import json
import math
import mmap
import threading
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from worldsim.errors import StoreError
from worldsim.store.codecs import decoder
from worldsim.store.format import crc32c

__all__ = ["RowReader", "ShardReader", "ZarrReader", "open_rows"]

_ABSENT = 2**64 - 1  # offset of a chunk that holds nothing but the fill value
_LOCAL = threading.local()


class RowReader(Protocol):
    """Reads consecutive rows of one field."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def read(self, start: int, out: np.ndarray) -> None:
        """Fill ``out`` with the rows from ``start`` on."""
        ...


def open_rows(folder: Path, checksum: int | None = None) -> RowReader:
    """Open the array in a folder.

    Args:
        folder: Where its ``zarr.json`` is.
        checksum: CRC-32C that ``zarr.json`` must have.

    Raises:
        StoreError: If it is missing or damaged.
    """
    path = folder / "zarr.json"
    try:
        data = path.read_bytes()
        if checksum is not None and crc32c(data) != checksum:
            raise StoreError(f"{path} is damaged: its checksum does not match; restore it from a copy")
        metadata = json.loads(data)
        codecs = metadata["codecs"]
    except FileNotFoundError:
        raise StoreError(f"{path} is missing; restore it from a copy of the store") from None
    except (KeyError, UnicodeDecodeError, json.JSONDecodeError):
        raise StoreError(f"{path} is damaged: it is not zarr metadata; restore it from a copy") from None
    return ShardReader(folder, metadata) if _is_known(metadata, codecs) else ZarrReader(folder)


class ShardReader:
    """Rows of an array in one shard of chunks that hold whole rows, memory-mapped.

    Raises:
        StoreError: If the shard is missing, cut off, or its index is damaged.
    """

    def __init__(self, folder: Path, metadata: dict[str, Any]) -> None:
        self.shape = tuple(metadata["shape"])
        self.dtype = np.dtype(metadata["data_type"])
        sharding = metadata["codecs"][0]["configuration"]
        self.chunk_shape = tuple(sharding["chunk_shape"])
        self.num_chunks = -(-self.shape[0] // self.chunk_shape[0])
        self._fill = metadata["fill_value"]
        chain = sharding["codecs"][1:]
        self._is_checked = bool(chain) and chain[-1]["name"] == "crc32c"
        packing = chain[:-1] if self._is_checked else chain
        self._is_packed = bool(packing)
        self._decode = decoder(packing)
        separator = metadata["chunk_key_encoding"]["configuration"]["separator"]
        self.path = folder / separator.join(["c", *["0"] * len(self.shape)])
        try:
            with open(self.path, "rb") as file:
                self._bytes = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
        except FileNotFoundError:
            raise StoreError(f"{self.path} is missing; restore it from a copy of the store") from None
        except (ValueError, OSError) as error:
            raise StoreError(f"{self.path} cannot be read: {error}; restore it from a copy of the store") from None
        size = 16 * self.num_chunks + 4
        tail = self._bytes[-size:]
        if len(tail) < size or crc32c(tail[:-4]) != int.from_bytes(tail[-4:].tobytes(), "little"):
            raise StoreError(f"{self.path} is cut off or damaged: its index is not at its end; restore it from a copy")
        self._index: list[list[int]] = tail[:-4].view("<u8").reshape(-1, 2).tolist()

    def read(self, start: int, out: np.ndarray) -> None:
        """Fill ``out`` (rows, ...) with the rows from ``start`` on.

        Raises:
            StoreError: If a chunk is damaged.
        """
        rows_per_chunk = self.chunk_shape[0]
        stop = start + len(out)
        for chunk in range(start // rows_per_chunk, -(-stop // rows_per_chunk)):
            first = chunk * rows_per_chunk
            low, high = max(first, start), min(first + rows_per_chunk, stop)
            target = out[low - start : high - start]
            if high - low == rows_per_chunk and target.flags.c_contiguous:
                self.decode(chunk, target)
            elif self._is_packed or self._index[chunk][0] == _ABSENT:
                scratch = _scratch(self.chunk_shape, self.dtype)
                self.decode(chunk, scratch)
                target[:] = scratch[low - first : high - first]
            else:
                rows = self._packed(chunk).view(self.dtype).reshape(self.chunk_shape)
                target[:] = rows[low - first : high - first]

    def decode(self, chunk: int, out: np.ndarray) -> None:
        """Fill ``out``, contiguous and of the chunk's shape, with one chunk.

        Raises:
            StoreError: If its checksum does not match.
        """
        if self._index[chunk][0] == _ABSENT:
            out[...] = np.array(self._fill).astype(self.dtype)
            return
        assert self._decode is not None
        self._decode(self._packed(chunk), out)

    def _packed(self, chunk: int) -> np.ndarray:
        offset, length = self._index[chunk]
        packed = self._bytes[offset : offset + length]
        if not self._is_checked:
            return packed
        packed, checksum = packed[:-4], packed[-4:]
        if crc32c(packed) != int.from_bytes(checksum.tobytes(), "little"):
            raise StoreError(f"{self.path} chunk {chunk} is damaged: its checksum does not match; restore the file")
        return packed


class ZarrReader:
    """Rows of any array that zarr-python can read."""

    def __init__(self, folder: Path) -> None:
        import zarr  # costs half a second, and the store's own arrays do without it

        array = zarr.open_array(str(folder), mode="r")
        self.shape = array.shape
        self.dtype = np.dtype(array.dtype)
        self._array = array

    def read(self, start: int, out: np.ndarray) -> None:
        """Fill ``out`` (rows, ...) with the rows from ``start`` on."""
        out[:] = self._array[start : start + len(out)]


def _is_known(metadata: dict[str, Any], codecs: list[dict[str, Any]]) -> bool:
    if codecs[0]["name"] != "sharding_indexed":
        return False
    sharding = codecs[0]["configuration"]
    (shard_rows, *shard_row), (rows, *row) = (
        metadata["chunk_grid"]["configuration"]["chunk_shape"],
        sharding["chunk_shape"],
    )
    to_bytes, *packing = sharding["codecs"]
    if packing and packing[-1]["name"] == "crc32c":
        packing = packing[:-1]
    return (
        to_bytes["name"] == "bytes"
        and to_bytes.get("configuration", {}).get("endian", "little") == "little"
        and decoder(packing) is not None
        and [codec["name"] for codec in sharding["index_codecs"]] == ["bytes", "crc32c"]
        and sharding["index_location"] == "end"
        and metadata["chunk_key_encoding"]["name"] == "default"
        and metadata["shape"][1:] == shard_row == row
        and shard_rows == -(-metadata["shape"][0] // rows) * rows
    )


def _scratch(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an array that the next call in this thread takes back: a new one costs page faults for every chunk."""
    num_bytes = math.prod(shape) * dtype.itemsize
    block = getattr(_LOCAL, "block", None)
    if block is None or len(block) < num_bytes:
        block = _LOCAL.block = np.empty(num_bytes, np.uint8)
    return block[:num_bytes].view(dtype).reshape(shape)
