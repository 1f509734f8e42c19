"""Rollouts from and to the formats of others; every export says what it does not keep.

What a format has no place for (captions, variation, provenance) lies beside its data, so that what was exported here
can be imported here again; what is still lost is in the list that ``export_store`` returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from worldsim.errors import StoreError
from worldsim.store.formats import diffusion_policy, hdf5, lerobot, minari, mp4, npz, stable_worldmodel
from worldsim.store.formats.episodes import Item, Progress
from worldsim.store.ingest import ingest
from worldsim.store.store import RolloutStore

__all__ = ["FORMATS", "Format", "export_store", "import_into"]


@dataclass(frozen=True)
class Format:
    """How to write and read one format."""

    write: Callable[[RolloutStore, Path, Progress], list[str]]
    """Returns what is lost, as sentences."""
    read: Callable[[Path], Iterator[Item]]
    is_at: Callable[[Path], bool]
    """Whether a path looks like it."""


FORMATS = {
    "npz": Format(npz.write, npz.read, npz.is_at),
    "swm": Format(stable_worldmodel.write_hdf5, stable_worldmodel.read_hdf5, stable_worldmodel.is_hdf5_at),
    "swm-lance": Format(stable_worldmodel.write_lance, stable_worldmodel.read_lance, stable_worldmodel.is_lance_at),
    "hdf5": Format(hdf5.write, hdf5.read, hdf5.is_at),
    "minari": Format(minari.write, minari.read, minari.is_at),
    "lerobot": Format(lerobot.write_images, lerobot.read, lerobot.is_at),
    "lerobot-mp4": Format(lerobot.write_films, lerobot.read, lerobot.is_at),
    "diffusion-policy": Format(diffusion_policy.write, diffusion_policy.read, diffusion_policy.is_at),
    "mp4": Format(mp4.write, mp4.read, mp4.is_at),
}


def export_store(
    store: RolloutStore, path: str | Path, *, to: str, progress: Progress = lambda done: None
) -> list[str]:
    """Write every episode of a store in another format.

    Args:
        store: What to write.
        path: A new file or directory.
        to: One of ``FORMATS``.
        progress: Called with the number of episodes written.

    Returns:
        What the copy does not keep, as sentences; empty if it keeps everything.

    Raises:
        StoreError: If the path is taken, the format unknown or the store empty.
        MissingExtraError: If a package that the format needs is not installed.
    """
    target = Path(path)
    if to not in FORMATS:
        raise StoreError(f"the format must be one of {', '.join(FORMATS)}; got {to!r}")
    if target.exists():
        raise StoreError(f"{target} exists already; choose another path")
    if not len(store):
        raise StoreError(f"{store.path} holds no episodes to export")
    target.parent.mkdir(parents=True, exist_ok=True)
    return FORMATS[to].write(store, target, progress)


def format_of(path: str | Path, source: str | None = None) -> str:
    """Return the format of a file or directory, one of ``FORMATS``: ``source`` if that is given, else as it looks.

    Raises:
        StoreError: If it does not exist or is none of the formats.
    """
    origin = Path(path)
    if not origin.exists():
        raise StoreError(f"{origin} does not exist")
    name = source or next((name for name, format in FORMATS.items() if format.is_at(origin)), None)
    if name not in FORMATS:
        raise StoreError(f"{origin} looks like none of {', '.join(FORMATS)}; got the format {source!r}")
    return name


def import_into(
    store: RolloutStore, path: str | Path, *, source: str | None = None, progress: Progress = lambda done: None
) -> int:
    """Add every episode of a file or directory in another format; doing it twice adds nothing.

    Args:
        store: Where they go.
        path: What to read.
        source: One of ``FORMATS``; told from the files if None.
        progress: Called with the number of episodes read.

    Returns:
        How many episodes were new.

    Raises:
        StoreError: If the path is none of the formats, or its episodes do not fit the store.
        MissingExtraError: If a package that the format needs is not installed.
    """
    origin, name = Path(path), format_of(path, source)

    def counted() -> Iterator[Item]:
        for done, (run_id, key, rollout) in enumerate(FORMATS[name].read(origin), start=1):
            yield run_id or f"import/{name}", key, rollout
            progress(done)

    return ingest(store, counted())
