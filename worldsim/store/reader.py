"""Reading rows of a sharded zarr array without zarr: map the shard once, keep its index, decode where the caller wants.

zarr-python spends milliseconds per read on tasks and on the index; the decoding itself takes microseconds. Arrays whose
codecs or layout are not among those known here are left to zarr-python.

A chunk of a mapped shard is checked against its checksum when it is first read: later it comes from the same memory.
Chunks that come over a network are checked every time.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from worldsim.errors import StoreError
from worldsim.store.codecs import decoder, packed_length
from worldsim.store.format import crc32c
from worldsim.store.place import Place

__all__ = ["RowReader", "ShardReader", "ZarrReader", "open_rows"]

_ABSENT = 2**64 - 1  # offset of a chunk that holds nothing but the fill value
_LOST = 2**64 - 2  # offset of a chunk that could not be found again
_LOCAL = threading.local()


class RowReader(Protocol):
    """Reads consecutive rows of one field."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def read(self, start: int, out: np.ndarray) -> None:
        """Fill ``out`` with the rows from ``start`` on."""
        ...


def open_rows(place: Place, folder: str, checksum: int | None = None, *, is_rescue: bool = False) -> RowReader:
    """Open the array in a folder.

    Args:
        place: Where the store lies.
        folder: Where in it the array's ``zarr.json`` is.
        checksum: CRC-32C that ``zarr.json`` must have.
        is_rescue: Find the chunks of a shard whose index is lost by walking through them.

    Raises:
        StoreError: If it is missing or damaged.
    """
    path = place.at(f"{folder}/zarr.json")
    try:
        data = place.read(f"{folder}/zarr.json")
        if checksum is not None and crc32c(data) != checksum:
            raise StoreError(f"{path} is damaged: its checksum does not match; restore it from a copy")
        metadata = json.loads(data)
        codecs = metadata["codecs"]
    except FileNotFoundError:
        raise StoreError(f"{path} is missing; restore it from a copy of the store") from None
    except (KeyError, UnicodeDecodeError, json.JSONDecodeError):
        raise StoreError(f"{path} is damaged: it is not zarr metadata; restore it from a copy") from None
    if _is_known(metadata, codecs):
        return ShardReader(place, folder, metadata, is_rescue=is_rescue)
    return ZarrReader(place, folder)


class ShardReader:
    """Rows of an array in one shard of chunks that hold whole rows, mapped or fetched by ranges.

    Raises:
        StoreError: If the shard is missing, cut off, or its index is damaged.
    """

    def __init__(self, place: Place, folder: str, metadata: dict[str, Any], *, is_rescue: bool = False) -> None:
        self.shape = tuple(metadata["shape"])
        self.dtype = np.dtype(metadata["data_type"])
        sharding = metadata["codecs"][0]["configuration"]
        self.chunk_shape = tuple(sharding["chunk_shape"])
        self.num_chunks = -(-self.shape[0] // self.chunk_shape[0])
        self._fill = metadata["fill_value"]
        chain = sharding["codecs"][1:]
        self._has_checksums = bool(chain) and chain[-1]["name"] == "crc32c"
        packing = chain[:-1] if self._has_checksums else chain
        self._is_packed = bool(packing)
        self._decode = decoder(packing)
        separator = metadata["chunk_key_encoding"]["configuration"]["separator"]
        name = f"{folder}/{separator.join(['c', *['0'] * len(self.shape)])}"
        self.path = place.at(name)
        try:
            self._blob = place.blob(name)
            tail = self._blob.tail(16 * self.num_chunks + 4)
        except FileNotFoundError:
            raise StoreError(f"{self.path} is missing; restore it from a copy of the store") from None
        except (ValueError, OSError) as error:
            raise StoreError(f"{self.path} cannot be read: {error}; restore it from a copy of the store") from None
        if len(tail) == 16 * self.num_chunks + 4 and crc32c(tail[:-4]) == int.from_bytes(tail[-4:].tobytes(), "little"):
            self._index = tail[:-4].view("<u8").reshape(-1, 2)
        elif is_rescue and self._has_checksums:
            self._index = self._found_chunks(packing, place.sizes(folder)[name.removeprefix(f"{folder}/")])
        else:
            raise StoreError(f"{self.path} is cut off or damaged: its index is not at its end; restore it from a copy")
        self._has_all = not (self._index[:, 0] >= _LOST).any()
        self._is_checked = bytearray(self.num_chunks)  # 1: it is in the same memory as when it was checked

    def read(self, start: int, out: np.ndarray) -> None:
        """Fill ``out`` (rows, ...) with the rows from ``start`` on.

        Raises:
            StoreError: If a chunk is damaged.
        """
        rows_per_chunk = self.chunk_shape[0]
        stop = start + len(out)
        chunks = range(start // rows_per_chunk, -(-stop // rows_per_chunk))
        for chunk, packed in zip(chunks, self._packed(chunks), strict=True):
            first = chunk * rows_per_chunk
            low, high = max(first, start), min(first + rows_per_chunk, stop)
            target = out[low - start : high - start]
            if packed is None:
                target[...] = np.array(self._fill).astype(self.dtype)
            elif not self._is_packed:
                target[...] = packed.view(self.dtype).reshape(self.chunk_shape)[low - first : high - first]
            elif high - low == rows_per_chunk and target.flags.c_contiguous:
                self._unpack(chunk, packed, target)
            else:
                scratch = _scratch(self.chunk_shape, self.dtype)
                self._unpack(chunk, packed, scratch)
                target[...] = scratch[low - first : high - first]

    def decode(self, chunk: int, out: np.ndarray) -> None:
        """Fill ``out``, contiguous and of the chunk's shape, with one chunk, checked in any case.

        Raises:
            StoreError: If its checksum does not match.
        """
        self._is_checked[chunk] = 0
        (packed,) = self._packed(range(chunk, chunk + 1))
        if packed is None:
            out[...] = np.array(self._fill).astype(self.dtype)
        else:
            self._unpack(chunk, packed, out)

    def _packed(self, chunks: range) -> Sequence[np.ndarray | None]:
        if not self._has_all and len(chunks) > 1:
            return [self._packed(range(chunk, chunk + 1))[0] for chunk in chunks]
        spans = self._index[chunks.start : chunks.stop].tolist()
        if spans[0][0] == _ABSENT:
            return [None]
        if spans[0][0] == _LOST:
            raise self._damage(chunks.start)
        if self._is_checked.find(0, chunks.start, chunks.stop) < 0:
            return self._blob.ranges(spans, 4)
        try:
            parts = self._blob.ranges(spans)
        except FileNotFoundError:
            raise StoreError(f"{self.path} is missing; restore it from a copy of the store") from None
        if not self._has_checksums:
            return parts
        return [self._checked(chunk, part) for chunk, part in zip(chunks, parts, strict=True)]

    def _checked(self, chunk: int, part: np.ndarray) -> np.ndarray:
        """Return a chunk without its checksum."""
        packed = part[:-4]
        if not self._is_checked[chunk]:
            if len(part) < 4 or crc32c(packed) != int.from_bytes(part[-4:].tobytes(), "little"):
                raise self._damage(chunk)
            self._is_checked[chunk] = self._blob.is_mapped
        return packed

    def _unpack(self, chunk: int, packed: np.ndarray, out: np.ndarray) -> None:
        assert self._decode is not None
        try:
            self._decode(packed, out)
        except (RuntimeError, ValueError):
            raise self._damage(chunk) from None

    def _damage(self, chunk: int) -> StoreError:
        return StoreError(f"{self.path} chunk {chunk} is damaged: its checksum does not match; run worldsim repair")

    def _found_chunks(self, packing: Sequence[dict[str, Any]], num_bytes: int) -> np.ndarray:
        """Return (chunks, 2) offset and length of the chunks that follow each other unharmed from the start on."""
        (data,) = self._blob.ranges([(0, num_bytes)])
        index = np.full((self.num_chunks, 2), _LOST, np.uint64)
        offset, raw_bytes = 0, math.prod(self.chunk_shape) * self.dtype.itemsize
        for chunk in range(self.num_chunks):
            length = packed_length(packing, data[offset:], raw_bytes)
            part = data[offset : offset + length + 4] if length is not None else data[:0]
            if length is None or len(part) != length + 4:
                break
            if crc32c(part[:-4]) == int.from_bytes(part[-4:].tobytes(), "little"):
                index[chunk] = offset, length + 4
            offset += length + 4
        return index


class ZarrReader:
    """Rows of any array that zarr-python can read."""

    def __init__(self, place: Place, folder: str) -> None:
        import zarr  # costs half a second, and the store's own arrays do without it

        array = zarr.open_array(place.zarr_store(folder), mode="r")
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
