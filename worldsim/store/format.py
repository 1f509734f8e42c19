"""What lies where in a rollout store, and what each JSON document in it says (format 1, see docs/store-format.md).

    STORE/store.json                      what makes a directory a store
    STORE/log/00000000000000000001.json   commits, numbered from 1 without a gap; each adds or replaces segments
    STORE/segments/<id>/zarr.json         a zarr v3 group; its attributes hold the episode index
    STORE/segments/<id>/<field>/          one zarr v3 array per field, T + 1 rows per episode, in one shard

The one idea: nothing is ever modified. A file is either created under a name that nobody had, or it does not exist.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import google_crc32c
import numpy as np

from worldsim.errors import StoreError
from worldsim.store.codecs import CODECS, check_codec
from worldsim.store.place import Place

__all__ = [
    "CHUNK_OF",
    "FORMAT",
    "LOG",
    "SEGMENTS",
    "STORE_FILE",
    "Commit",
    "EpisodeInfo",
    "Fault",
    "ObjectRecord",
    "Schema",
    "array_metadata",
    "check_exclusive",
    "check_store",
    "crc32c",
]

FORMAT = 1
STORE_FILE = "store.json"
LOG = "log"
SEGMENTS = "segments"

CHUNK_OF = {"obs": 8, "action": 4096, "reward": 4096, "terminated": 4096, "truncated": 4096, "state": 256}
"""Rows per chunk of each field; random windows of 8 to 32 frames read fastest in chunks of 8."""


@dataclass(frozen=True)
class Schema:
    """What every episode of a store has in common; the first commit decides it."""

    height: int
    """Pixels."""
    width: int
    """Pixels."""
    action_shape: tuple[int, ...]
    """Shape of one action; () for Discrete."""
    action_dtype: str
    """NumPy name, for example ``float32``."""

    def describe(self) -> str:
        """Return the schema as one phrase for messages."""
        return f"{self.height}x{self.width} frames and {self.action_dtype} actions of shape {self.action_shape}"


@dataclass(frozen=True)
class ObjectRecord:
    """Size and checksum of one file of a segment."""

    num_bytes: int
    crc32c: int


@dataclass(frozen=True)
class Commit:
    """What one numbered commit says: a segment is now part of the store, perhaps in place of others."""

    number: int
    segment: str | None
    """Folder under ``segments``; None if the commit adds nothing."""
    num_rows: int
    """Frames in the segment, duplicates included."""
    run_id: str
    keys: tuple[str | None, ...]
    """One per episode of the segment; unique per run in the whole store where not None."""
    duplicates: tuple[int, ...]
    """Episodes of the segment that an earlier commit already holds; readers leave them out."""
    schema: Schema
    objects: Mapping[str, ObjectRecord]
    """Path inside the segment to size and checksum."""
    code_version: str
    """Version of worldsim that wrote it."""
    removes: tuple[str, ...] = ()
    """Segments that are no longer part of the store; the new one takes the place of the first of them."""
    lost: tuple[tuple[str, str], ...] = ()
    """(run_id, key) of episodes that went with them and may be added again."""
    previous: str | None = None
    """Segment of the commit before this one, so that it can be written again should it get lost."""

    @property
    def identities(self) -> set[tuple[str, str]]:
        """Every (run_id, key) that this commit makes visible."""
        return {(self.run_id, key) for i, key in enumerate(self.keys) if key is not None and i not in self.duplicates}

    def to_json(self) -> bytes:
        """Return the file's bytes: the commit and a checksum over it."""
        body = asdict(self)
        return json.dumps({"crc32c": crc32c(_canonical(body)), "commit": body}, ensure_ascii=False).encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes, label: object) -> Commit:
        """Parse a commit file; ``label`` is what messages call it.

        Raises:
            StoreError: If the file is damaged.
        """
        try:
            outer = json.loads(data)
            body = outer["commit"]
            if outer["crc32c"] != crc32c(_canonical(body)):
                raise StoreError(f"{label} is damaged: its checksum does not match; run worldsim repair")
            schema = body.pop("schema")
            return cls(
                schema=Schema(**{**schema, "action_shape": tuple(schema["action_shape"])}),
                objects={name: ObjectRecord(**record) for name, record in body.pop("objects").items()},
                keys=tuple(body.pop("keys")),
                duplicates=tuple(body.pop("duplicates")),
                removes=tuple(body.pop("removes", ())),
                lost=tuple((run_id, key) for run_id, key in body.pop("lost", ())),
                **body,
            )
        except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError):
            raise StoreError(f"{label} is damaged: it is not a commit; run worldsim repair") from None


@dataclass(frozen=True, kw_only=True)
class EpisodeInfo:
    """Everything about an episode but its arrays."""

    length: int
    """T, the number of steps; there are T + 1 frames."""
    seed: int | None
    policy: str
    env_id: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    """Constructor arguments of the env."""
    control_dt: float
    """Seconds per step."""
    action_spec: tuple[Mapping[str, Any], ...] = ()
    """Name, unit, low and high per dimension."""
    variation: Mapping[str, Any] = field(default_factory=dict)
    captions: tuple[tuple[int, str, str], ...] = ()
    """(t, English, Chinese), each from its step on."""
    events: tuple[tuple[int, Mapping[str, Any]], ...] = ()
    """(t, facts) of what happened; empty in segments from before events were kept."""
    bodies: tuple[str, ...] | None = None
    """Names of the rows of ``state``, or None where no state was recorded."""
    terminated: bool
    """Whether the last step terminated."""
    truncated: bool
    """Whether the last step was truncated."""
    return_: float
    """Sum of rewards."""
    run_id: str = ""
    key: str | None = None
    source: str = "truth"
    model: str | None = None
    licence: str | None = None
    """What its frames may be used under, as said by whoever added it."""
    code_version: str | None = None
    """Version of worldsim that first stored it."""


@dataclass(frozen=True)
class Fault:
    """One thing that ``verify`` found wrong."""

    file: str
    """Path inside the store."""
    chunk: int | None
    """Chunk of the file, or None where the whole file is meant."""
    problem: str

    def __str__(self) -> str:
        """Return the fault as one line."""
        where = self.file if self.chunk is None else f"{self.file} chunk {self.chunk}"
        return f"{where}: {self.problem}"


_ROLES = {
    "obs": ("observation", "", ["row", "height", "width", "channel"]),
    "action": ("action", "", None),
    "reward": ("reward", "", ["row"]),
    "terminated": ("terminated", "", ["row"]),
    "truncated": ("truncated", "", ["row"]),
    "state": ("state", "position m, quaternion xyzw, velocity m/s, angular velocity rad/s", ["row", "body", "value"]),
}


def array_metadata(name: str, num_rows: int, row_shape: tuple[int, ...], dtype: np.dtype, codec: str) -> bytes:
    """Return the ``zarr.json`` of a field: one shard, whole rows per chunk, a codec and crc32c per chunk.

    Args:
        name: A key of the format's fields.
        num_rows: Rows of the array.
        row_shape: Shape of one row.
        dtype: Type of one value.
        codec: One of ``worldsim.store.codecs.CODECS``.
    """
    role, unit, dimensions = _ROLES[name]
    chunk_rows = CHUNK_OF[name]
    to_bytes: dict[str, Any] = {"name": "bytes"}
    if dtype.itemsize > 1:
        to_bytes["configuration"] = {"endian": "little"}
    num_chunks = -(-num_rows // chunk_rows)
    fill: Any = {"b": False, "f": "NaN" if name == "state" else 0.0}.get(dtype.kind, 0)
    metadata = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [num_rows, *row_shape],
        "data_type": dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [num_chunks * chunk_rows, *row_shape]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": fill,
        "codecs": [
            {
                "name": "sharding_indexed",
                "configuration": {
                    "chunk_shape": [chunk_rows, *row_shape],
                    "codecs": [to_bytes, *CODECS[codec], {"name": "crc32c"}],
                    "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
                    "index_location": "end",
                },
            }
        ],
        "dimension_names": dimensions or ["row", *(f"action_{i}" for i in range(len(row_shape)))],
        "attributes": {"role": role, "unit": unit},
        "storage_transformers": [],
    }
    return json.dumps(metadata, indent=1).encode()


def crc32c(data: bytes | np.ndarray) -> int:
    """Return the CRC-32C (Castagnoli) of some bytes, which may be a contiguous array."""
    return google_crc32c.value(data)  # pyright: ignore[reportArgumentType]


def check_store(place: Place) -> str:
    """Check that a place is a store of this format, and return the codec that its writers use.

    Raises:
        StoreError: If it is not.
    """
    root = place.at("")
    try:
        facts = json.loads(place.read(STORE_FILE))
        version, codec = facts["worldsim_store"], facts.get("codec", "zstd")
    except OSError:
        raise StoreError(
            f"{root} is not a rollout store: it has no {STORE_FILE}; make one with worldsim collect"
        ) from None
    except (AttributeError, KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError):
        raise StoreError(f"{place.at(STORE_FILE)} is damaged; restore it from a copy of the store") from None
    if version != FORMAT:
        raise StoreError(f"{root} has store format {version}; this worldsim reads format {FORMAT}: upgrade worldsim")
    return check_codec(codec)


def check_exclusive(place: Place) -> None:
    """Check that a place refuses to create what exists already, which all safety between writers rests on.

    Raises:
        StoreError: If it does not.
    """
    if place.create(STORE_FILE, place.read(STORE_FILE)):  # the same bytes: harmless where it goes wrong
        raise StoreError(
            f"{place.at('')} cannot hold a store: it overwrites names that are taken, so that two writers could take "
            "one number; use an object store that honours If-None-Match, or a local disk"
        )


def _canonical(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
