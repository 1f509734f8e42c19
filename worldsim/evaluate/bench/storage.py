"""What a random window of frames costs from the rollout store and from others, on the same episodes in one run.

All readers take short turns, again and again, over the same windows, so that whatever else the machine does falls on
all alike. Time is CPU time of the process, all threads; a figure is a median over turns. A row is one system:

- ``memmap``: rows of one raw file, mapped; the limit, and what ``rel_memmap`` is measured against;
- ``floor``: the store's own chunks, kept in memory, decoded by numcodecs, and the rows copied out, no more;
- ``worldsim``: ``store.window``, with actions and rewards; a chunk's checksum is compared when it is first read, which
  the first windows of a new handle show (``first_cpu_us_per_window``);
- ``zarr-python``: the same bytes through zarr, for each codec;
- ``hdf5``, ``mp4``, ``minari``: what ``worldsim export`` writes, read by h5py, PyAV and Minari;
- ``png``, ``jpeg q95``: size only.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.errors import MissingExtraError, StoreError
from worldsim.store import RolloutStore, export_store, merge
from worldsim.store.codecs import CODECS, decoder
from worldsim.store.place import open_place
from worldsim.store.reader import ZarrReader
from worldsim.train.git import commit_name

__all__ = ["StorageBudget", "bench_storage"]

_NUM_WINDOWS = 512  # drawn once, repeated
_NUM_IMAGES = 64  # frames whose size as an image file is measured

Read = Callable[[int, int], np.ndarray]
"""Returns the frames of the window of an episode from step t on, (length + 1, H, W, 3) uint8."""
Times = dict["_System", tuple[list[float], list[float]]]
"""System to CPU and wall seconds per window, one of each per turn."""


@dataclass(frozen=True, kw_only=True)
class StorageBudget:
    """How long is measured."""

    length: int = 16
    """Steps per window."""
    num_turns: int = 10
    turn_s: float = 0.3
    """Seconds of a turn; at least one window is read."""


@dataclass(frozen=True)
class _System:
    name: str
    codec: str
    read: Read
    num_bytes: int
    is_lossless: bool = True
    store: RolloutStore | None = None
    """What ``worldsim`` reads."""


def bench_storage(
    stores: Mapping[str, RolloutStore],
    folder: Path,
    *,
    budget: StorageBudget | None = None,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Measure every system on every store.

    Args:
        stores: Name to rollouts; each is copied into every format.
        folder: An empty directory for the copies, on the disk that is to be measured.
        budget: How long is measured.
        seed: Decides the windows.
        progress: Called with the stage, the turns done and their number.

    Raises:
        StoreError: If a store has no window of that length, or a system returns other frames than were stored.
    """
    budget = budget or StorageBudget()
    rows, ratios, writing, skipped = [], [], [], []
    for data, store in stores.items():
        place = folder / data
        place.mkdir(parents=True)
        copies, written = _copies(store, place)
        systems = [_memmap(store, place, budget), *(_own(copy, budget) for copy in copies.values())]
        systems += [_floor(copy, budget) for copy in copies.values()]
        systems += [_zarr(copy, budget) for copy in copies.values()]
        for make in (_hdf5, _mp4, _minari):
            try:
                systems.append(make(store, place, budget))
            except MissingExtraError as error:
                skipped.append({"system": make.__name__[1:], "data": data, "reason": str(error)})
        windows = _windows(store, budget.length, seed)
        _check(store, systems, windows[0], budget)
        times = _times(systems, windows, budget, data, progress)
        rows += [_row(data, store, system, times, windows, budget.length) for system in systems] + _image_rows(
            data, store
        )
        ratios += [_ratios(data, system, times) for system in systems if system.store]
        writing += [{"data": data, **speed} for speed in written]
    settings = {"length": budget.length, "turns": budget.num_turns, "seed": seed, "commit": commit_name()}
    return {"rows": rows, "ratios": ratios, "writing": writing, "skipped": skipped, **settings}


def _copies(store: RolloutStore, place: Path) -> tuple[dict[str, RolloutStore], list[dict[str, Any]]]:
    """Return the store packed by each codec, and how fast one core wrote each."""
    rollouts = [store.episode(i) for i in range(min(len(store), 16))]
    num_bytes = sum(rollout.obs.nbytes for rollout in rollouts)
    copies, written = {}, []
    for codec in CODECS:
        trial = RolloutStore.create(place / f"trial-{codec}", codec=codec)
        cpu, wall = time.process_time(), time.perf_counter()
        trial.append(rollouts)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        written.append({"codec": codec, "mb_per_cpu_s": num_bytes / 1e6 / cpu, "mb_per_s": num_bytes / 1e6 / wall})
        copies[codec] = RolloutStore.create(place / codec, codec=codec)
        merge(copies[codec], store)
        copies[codec].compact()
        copies[codec].gc(dry_run=False, grace_s=0)  # what was replaced is not part of the size
    return copies, written


def _memmap(store: RolloutStore, place: Path, budget: StorageBudget) -> _System:
    shape = (store.num_frames, store.height, store.width, 3)
    frames = np.lib.format.open_memmap(place / "frames.npy", "w+", np.uint8, shape)
    firsts = np.concatenate([[0], np.cumsum(store.lengths + 1)]).tolist()
    for i in range(len(store)):
        store.read_into(i, 0, frames[firsts[i] : firsts[i + 1]])
    frames.flush()
    mapped = np.lib.format.open_memmap(place / "frames.npy", "r")

    def read(episode: int, t: int) -> np.ndarray:
        first = firsts[episode] + t
        return np.array(mapped[first : first + budget.length + 1])

    return _System("memmap", "none", read, mapped.nbytes)


def _own(store: RolloutStore, budget: StorageBudget) -> _System:
    def read(episode: int, t: int) -> np.ndarray:
        return store.window(episode=episode, t=t, length=budget.length)[0]

    return _System("worldsim", store.codec, read, _size(store.path), store=store)


def _floor(store: RolloutStore, budget: StorageBudget) -> _System:
    unpack = decoder(CODECS[store.codec])
    assert unpack is not None
    chunks: dict[str, list[np.ndarray]] = {}
    places = [store.location(i) for i in range(len(store))]
    for folder, _ in places:
        if folder not in chunks:
            chunks[folder] = _packed_chunks(Path(folder) / "obs" / "c.0.0.0.0")
    scratch = np.empty((8, store.height, store.width, 3), np.uint8)

    def read(episode: int, t: int) -> np.ndarray:
        folder, row = places[episode]
        start, stop = row + t, row + t + budget.length + 1
        out = np.empty((stop - start, *scratch.shape[1:]), np.uint8)
        for chunk in range(start // 8, -(-stop // 8)):
            low, high = max(8 * chunk, start), min(8 * chunk + 8, stop)
            unpack(chunks[folder][chunk], scratch)
            out[low - start : high - start] = scratch[low - 8 * chunk : high - 8 * chunk]
        return out

    return _System("floor", store.codec, read, _size(store.path))


def _packed_chunks(shard: Path) -> list[np.ndarray]:
    """Return the chunks of a shard without their checksums; its index has an offset and a length for each."""
    data = np.frombuffer(shard.read_bytes(), np.uint8)
    index_start = int(data[-20:-4].view("<u8").sum())  # the last chunk ends where the index begins
    index = data[index_start:-4].view("<u8").reshape(-1, 2).tolist()
    return [data[offset : offset + length - 4] for offset, length in index]


def _zarr(store: RolloutStore, budget: StorageBudget) -> _System:
    arrays: dict[str, ZarrReader] = {}
    places = [store.location(i) for i in range(len(store))]
    for folder, _ in places:
        arrays.setdefault(folder, ZarrReader(open_place(folder), "obs"))

    def read(episode: int, t: int) -> np.ndarray:
        folder, row = places[episode]
        out = np.empty((budget.length + 1, store.height, store.width, 3), np.uint8)
        arrays[folder].read(row + t, out)
        return out

    return _System("zarr-python", store.codec, read, _size(store.path))


def _hdf5(store: RolloutStore, place: Path, budget: StorageBudget) -> _System:
    export_store(store, place / "rollouts.hdf5", to="hdf5")
    import h5py

    # HDF5 keeps 1 MB per dataset unpacked, all of a short episode; here it keeps what one window touches.
    cache = (budget.length // 8 + 2) * 8 * store.height * store.width * 3
    data: Any = h5py.File(place / "rollouts.hdf5", "r", rdcc_nbytes=cache)["data"]
    frames = [data[f"demo_{i}/frames"] for i in range(len(store))]
    return _System(
        "hdf5", "gzip", lambda episode, t: frames[episode][t : t + budget.length + 1], _size(place / "rollouts.hdf5")
    )


def _mp4(store: RolloutStore, place: Path, budget: StorageBudget) -> _System:
    export_store(store, place / "films", to="mp4")
    import av

    films = [av.open(str(film)) for film in sorted((place / "films").glob("*.mp4"))]
    for film in films:
        film.streams.video[0].codec_context.thread_count = 1

    def read(episode: int, t: int) -> np.ndarray:
        film = films[episode]
        stream = film.streams.video[0]
        per_frame = 1 / (stream.average_rate * stream.time_base)  # pyright: ignore[reportOperatorIssue,reportOptionalOperand]
        film.seek(int(t * per_frame), stream=stream)
        out = []
        for frame in film.decode(video=0):
            if frame.pts is not None and round(frame.pts / per_frame) >= t:
                out.append(frame.to_ndarray(format="rgb24"))
            if len(out) == budget.length + 1:
                break
        return np.stack(out)

    return _System("mp4", "h264", read, _size(place / "films"), is_lossless=False)


def _minari(store: RolloutStore, place: Path, budget: StorageBudget) -> _System:
    export_store(store, place / "street-v0", to="minari")
    from minari import MinariDataset

    dataset = MinariDataset(place / "street-v0" / "data")

    def read(episode: int, t: int) -> np.ndarray:
        return dataset[episode].observations[t : t + budget.length + 1]  # pyright: ignore[reportIndexIssue]

    return _System("minari", "none", read, _size(place / "street-v0"))


def _windows(store: RolloutStore, length: int, seed: int) -> list[tuple[int, int]]:
    long_enough = np.flatnonzero(store.lengths >= length)
    if not len(long_enough):
        raise StoreError(f"{store.path} has no episode of {length} steps; collect longer ones, or read shorter windows")
    rng = np.random.default_rng(seed)
    episodes = rng.choice(long_enough, _NUM_WINDOWS)
    return [(int(i), int(rng.integers(0, store.lengths[i] - length + 1))) for i in episodes]


def _check(store: RolloutStore, systems: Sequence[_System], window: tuple[int, int], budget: StorageBudget) -> None:
    episode, t = window
    want = store.window(episode=episode, t=t, length=budget.length)[0]
    for system in systems:
        got = system.read(episode, t)
        worst = np.abs(got.astype(int) - want).mean() if got.shape == want.shape else np.inf
        if worst > (0 if system.is_lossless else 16):
            raise StoreError(
                f"{system.name} ({system.codec}) returned other frames than were stored: mean error {worst}"
            )


def _times(
    systems: Sequence[_System],
    windows: Sequence[tuple[int, int]],
    budget: StorageBudget,
    data: str,
    progress: Callable[[str, int, int], None] | None,
) -> Times:
    times: Times = {system: ([], []) for system in systems}
    drawn = {system: cycle(windows) for system in systems}
    for turn in range(budget.num_turns):
        for system in systems:
            count, cpu, start = 0, time.process_time(), time.perf_counter()
            while count == 0 or time.perf_counter() - start < budget.turn_s:
                system.read(*next(drawn[system]))
                count += 1
            times[system][0].append((time.process_time() - cpu) / count)
            times[system][1].append((time.perf_counter() - start) / count)
        if progress is not None:
            progress(f"reading {data}", turn + 1, budget.num_turns)
    return times


def _row(
    data: str, store: RolloutStore, system: _System, times: Times, windows: Sequence[tuple[int, int]], length: int
) -> dict[str, Any]:
    cpu, wall = (np.array(values) for values in times[system])
    limit = np.array(next(times[other][0] for other in times if other.name == "memmap"))
    floor = [np.array(times[other][0]) for other in times if (other.name, other.codec) == ("floor", system.codec)]
    over_floor = float(np.median(cpu / floor[0])) if floor and system.name == "worldsim" else None
    return {
        "system": system.name,
        "data": data,
        "codec": system.codec,
        "cpu_us_per_window": 1e6 * float(np.median(cpu)),
        "wall_us_per_window": 1e6 * float(np.median(wall)),
        "first_cpu_us_per_window": _first_cpu_us(system.store, windows, length) if system.store else None,
        "rel_memmap": float(np.median(limit / cpu)),
        "over_floor": over_floor,
        "bytes_per_frame": system.num_bytes / store.num_frames,
    }


def _first_cpu_us(store: RolloutStore, windows: Sequence[tuple[int, int]], length: int) -> float:
    """Return the CPU time per window of a new handle, while nearly every chunk it meets is new to it; microseconds."""
    few = windows[: max(1, store.num_frames // 64)]
    costs = []
    for _ in range(3):
        handle = RolloutStore.open(store.path)
        cpu = time.process_time()
        for episode, t in few:
            handle.window(episode=episode, t=t, length=length)
        costs.append((time.process_time() - cpu) / len(few))
    return 1e6 * float(np.median(costs))


def _ratios(data: str, system: _System, times: Times) -> dict[str, Any]:
    """Return what other systems take for the same windows over what this one takes; None where one was skipped."""
    own = np.array(times[system][0])
    others = {(other.name, other.codec): np.array(times[other][0]) for other in times}
    over = {
        "over_zarr_python": ("zarr-python", system.codec),
        "over_hdf5_gzip": ("hdf5", "gzip"),
        "over_mp4": ("mp4", "h264"),
        "over_minari": ("minari", "none"),
    }
    ratios = {name: float(np.median(others[key] / own)) if key in others else None for name, key in over.items()}
    floor = float(np.median(own / others["floor", system.codec]))
    return {"data": data, "codec": system.codec, "cpu_over_floor": floor, **ratios}


def _image_rows(data: str, store: RolloutStore) -> list[dict[str, Any]]:
    from PIL import Image

    rng = np.random.default_rng(0)
    sizes: dict[str, list[int]] = {"png": [], "jpeg q95": []}
    for i in rng.integers(0, len(store), _NUM_IMAGES).tolist():
        frame = np.empty((1, store.height, store.width, 3), np.uint8)
        store.read_into(i, int(rng.integers(0, store.lengths[i] + 1)), frame)
        for name, options in (("png", {"format": "PNG"}), ("jpeg q95", {"format": "JPEG", "quality": 95})):
            packed = io.BytesIO()
            Image.fromarray(frame[0]).save(packed, **options)
            sizes[name].append(packed.tell())
    figures = ("cpu_us_per_window", "wall_us_per_window", "first_cpu_us_per_window", "rel_memmap", "over_floor")
    blank = dict.fromkeys(figures)
    return [
        {"system": name, "data": data, "codec": name, **blank, "bytes_per_frame": float(np.mean(values))}
        for name, values in sizes.items()
    ]


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())
