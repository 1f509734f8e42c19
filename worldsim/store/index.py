"""The episodes of a segment: what its index says of each, and in which row it starts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from worldsim.errors import StoreError
from worldsim.store.format import SEGMENTS, Commit, EpisodeInfo, crc32c
from worldsim.store.place import Place

__all__ = ["Entry", "parse_entries", "read_entries"]


@dataclass(frozen=True, slots=True)
class Entry:
    """Where an episode lies, and what is known of it."""

    segment: str
    row: int
    """Of its first frame."""
    info: EpisodeInfo


def read_entries(place: Place, commit: Commit) -> list[Entry]:
    """Return the episodes that a commit makes visible, after a look at the sizes of its files.

    Raises:
        StoreError: If a file is missing, cut off or damaged.
    """
    assert commit.segment is not None
    folder = f"{SEGMENTS}/{commit.segment}"
    sizes = place.sizes(folder)
    for name, record in commit.objects.items():
        path = place.at(f"{folder}/{name}")
        if name not in sizes:
            raise StoreError(f"{path} is missing; restore it from a copy of the store, or run worldsim repair")
        if sizes[name] != record.num_bytes:
            raise StoreError(
                f"{path} is cut off or damaged: it has {sizes[name]} bytes instead of {record.num_bytes}; "
                "restore it from a copy of the store, or run worldsim repair"
            )
    return parse_entries(place, commit)


def parse_entries(place: Place, commit: Commit) -> list[Entry]:
    """Return the episodes that a commit makes visible, whatever became of their arrays.

    Raises:
        StoreError: If the index of the segment is missing or damaged.
    """
    assert commit.segment is not None
    name = f"{SEGMENTS}/{commit.segment}/zarr.json"
    path = place.at(name)
    try:
        data = place.read(name)
    except FileNotFoundError:
        raise StoreError(f"{path} is missing; restore it from a copy of the store") from None
    if crc32c(data) != commit.objects["zarr.json"].crc32c:
        raise StoreError(f"{path} is damaged: its checksum does not match; restore it from a copy")
    index = json.loads(data)["attributes"]
    return [
        Entry(commit.segment, entry["row"], _episode_info(entry, index))
        for i, entry in enumerate(index["episodes"])
        if i not in commit.duplicates
    ]


def _episode_info(entry: Mapping[str, Any], index: Mapping[str, Any]) -> EpisodeInfo:
    spec = index["specs"][entry["spec"]]
    return EpisodeInfo(
        length=entry["length"],
        seed=entry["seed"],
        policy=entry["policy"],
        env_id=spec["env_id"],
        spec=spec["spec"],
        control_dt=spec["control_dt"],
        action_spec=tuple(spec["action_spec"]),
        variation=entry["variation"],
        captions=tuple((t, *index["captions"][caption]) for t, caption in entry["captions"]),
        events=tuple((t, _with_words(facts, text, index)) for t, text, facts in entry.get("events", ())),
        bodies=None if entry["bodies"] is None else tuple(entry["bodies"]),
        terminated=entry["terminated"],
        truncated=entry["truncated"],
        return_=entry["return"],
        run_id=entry["run_id"],
        key=entry["key"],
        source=entry["source"],
        model=entry["model"],
        licence=spec.get("licence"),
        code_version=spec.get("code_version"),
    )


def _with_words(facts: Mapping[str, Any], text: int | None, index: Mapping[str, Any]) -> Mapping[str, Any]:
    return facts if text is None else {**facts, **dict(zip(("en", "zh"), index["captions"][text], strict=True))}
