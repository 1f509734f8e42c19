"""Reading rows of a sharded zarr array without zarr: map the shard once, keep its index, decode where the caller wants.

zarr-python spends milliseconds per read on tasks and on the index; the decoding itself takes microseconds. Arrays whose
codecs are not the ones that the writer uses are left to zarr-python.
"""

from __future__ import annotations

import json
import mmap
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numcodecs import zstd  # pyright: ignore[reportAttributeAccessIssue]

from worldsim.errors import StoreError
from worldsim.store.format import crc32c

__all__ = ["RowReader", "ShardReader", "ZarrReader", "open_rows"]


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
    return ShardReader(folder, metadata) if _written_here(metadata, codecs) else ZarrReader(folder)


class ShardReader:
    """Rows of an array in one shard of zstd chunks with checksums, memory-mapped.

    Raises:
        StoreError: If the shard is missing, cut off, or its index is damaged.
    """

    def __init__(self, folder: Path, metadata: dict[str, Any]) -> None:
        self.shape = tuple(metadata["shape"])
        self.dtype = np.dtype(metadata["data_type"])
        sharding = metadata["codecs"][0]["configuration"]
        self.chunk_shape = tuple(sharding["chunk_shape"])
        self.num_chunks = -(-self.shape[0] // self.chunk_shape[0])
        separator = metadata["chunk_key_encoding"]["configuration"]["separator"]
        self.path = folder / separator.join(["c", *["0"] * len(self.shape)])
        try:
            with open(self.path, "rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            raise StoreError(f"{self.path} is missing; restore it from a copy of the store") from None
        except (ValueError, OSError) as error:
            raise StoreError(f"{self.path} cannot be read: {error}; restore it from a copy of the store") from None
        size = 16 * self.num_chunks + 4
        tail = self._map[-size:]
        if len(tail) < size or crc32c(tail[:-4]) != int.from_bytes(tail[-4:], "little"):
            raise StoreError(f"{self.path} is cut off or damaged: its index is not at its end; restore it from a copy")
        self._index: list[list[int]] = np.frombuffer(tail[:-4], "<u8").reshape(-1, 2).tolist()

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
            else:
                scratch = np.empty(self.chunk_shape, self.dtype)
                self.decode(chunk, scratch)
                target[:] = scratch[low - first : high - first]

    def decode(self, chunk: int, out: np.ndarray) -> None:
        """Fill ``out``, contiguous and of the chunk's shape, with one chunk.

        Raises:
            StoreError: If its checksum does not match.
        """
        offset, length = self._index[chunk]
        packed, checksum = self._map[offset : offset + length - 4], self._map[offset + length - 4 : offset + length]
        if crc32c(packed) != int.from_bytes(checksum, "little"):
            raise StoreError(f"{self.path} chunk {chunk} is damaged: its checksum does not match; restore the file")
        zstd.decompress(packed, out)


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


def _written_here(metadata: dict[str, Any], codecs: list[dict[str, Any]]) -> bool:
    if codecs[0]["name"] != "sharding_indexed":
        return False
    sharding = codecs[0]["configuration"]
    (shard_rows, *shard_row), (rows, *row) = (
        metadata["chunk_grid"]["configuration"]["chunk_shape"],
        sharding["chunk_shape"],
    )
    return (
        [codec["name"] for codec in sharding["codecs"]] == ["bytes", "zstd", "crc32c"]
        and [codec["name"] for codec in sharding["index_codecs"]] == ["bytes", "crc32c"]
        and sharding["index_location"] == "end"
        and metadata["chunk_key_encoding"]["name"] == "default"
        and metadata["shape"][1:] == shard_row == row
        and shard_rows == -(-metadata["shape"][0] // rows) * rows
    )
