"""Writing and reading for long, and how much memory that holds.

What counts is memory of the process's own (anonymous pages): mapped shards are the system's cache, which it takes back
when it needs the room.
"""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.store.store import RolloutStore
from worldsim.store.windows import Windows

__all__ = ["soak"]

_STEPS_PER_EPISODE = 250
_ALLOWED_MB = 16.0
"""Growth that counts as flat: an index of the segment and what the allocator keeps."""
_NUM_SAMPLES = 50


def soak(path: Path, *, num_frames: int, minutes: float, size: int = 64, seed: int = 0) -> dict[str, Any]:
    """Stream episodes into one segment of a new store, then read random windows, and sample the memory of both.

    Args:
        path: Where the store is made.
        num_frames: How many frames are written.
        minutes: How long windows are read.
        size: Height and width of a frame, pixels.
        seed: Decides frames and windows.

    Returns:
        ``writing_mb`` and ``reading_mb``: samples of the process's own memory, in MB;
        ``growth_mb`` of each: mean of the last tenth less that of the first; and ``frames``, ``raw_mb``, ``windows``,
        ``seconds``, ``is_flat``.
    """
    store = RolloutStore.create(path)
    start = time.monotonic()
    writing = _write(store, num_frames, size, seed)
    written = time.monotonic()
    num_windows, reading = _read(store, 60 * minutes, seed)
    growth = {"writing": _growth(writing), "reading": _growth(reading)}
    return {
        "frames": store.num_frames,
        "raw_mb": store.num_frames * size * size * 3 / 1e6,
        "windows": num_windows,
        "seconds": {"writing": written - start, "reading": time.monotonic() - written},
        "writing_mb": writing,
        "reading_mb": reading,
        "growth_mb": growth,
        "is_flat": max(growth.values()) <= _ALLOWED_MB,
    }


def _write(store: RolloutStore, num_frames: int, size: int, seed: int) -> list[float]:
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (size, size, 3), np.uint8)
    samples, every = [], max(1, num_frames // _NUM_SAMPLES)
    with store.writer("soak") as writer:
        done = 0
        while done < num_frames:
            episode = writer.begin(picture, seed=done, policy="soak", state={"ego": np.zeros(13)})
            num_steps = min(_STEPS_PER_EPISODE, max(1, num_frames - done - 1))
            for t in range(num_steps):
                picture = np.roll(picture, 3 * (done % 5 + 1))  # moves, so that chunks differ
                state = {f"body{i}": np.full(13, t, np.float32) for i in range(1 + done % 7)}
                episode.step(
                    rng.uniform(-1, 1, 2).astype(np.float32), picture, 0.0, truncated=t == num_steps - 1, state=state
                )
                done += 1
                if done % every == 0:
                    samples.append(_own_mb())
            episode.end()
            done += 1
    return samples


def _read(store: RolloutStore, seconds: float, seed: int) -> tuple[int, list[float]]:
    windows = Windows(store, 16, batch_size=8, seed=seed)
    batch = windows.empty_batch()
    samples, count = [], 0
    start = last = time.monotonic()
    while (now := time.monotonic()) - start < seconds or not samples:
        windows.next(batch)
        count += len(batch.index)
        if now - last >= seconds / _NUM_SAMPLES:
            samples.append(_own_mb())
            last = now
    return count, samples


def _growth(samples: list[float]) -> float:
    tenth = max(1, len(samples) // 10)
    return float(np.mean(samples[-tenth:]) - np.mean(samples[:tenth]))


def _own_mb() -> float:
    """Return the anonymous memory of this process, in MB (Linux)."""
    gc.collect()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("this kernel does not say RssAnon")
