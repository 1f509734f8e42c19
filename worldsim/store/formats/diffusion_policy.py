"""The zarr layout of Diffusion Policy: all steps in a row in ``data/*``; ``meta/episode_ends`` says where episodes end.

It has a row per step, so the frame behind the last step of an episode has no place in ``data``; it stands in
``meta/last_img``, which other readers pass over.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.errors import StoreError
from worldsim.store.formats.episodes import STEP_FIELDS, Item, Progress, build, describe, has_states
from worldsim.store.store import RolloutStore

__all__ = ["is_at", "read", "write"]

_CHUNK_FRAMES, _CHUNK_STEPS = 8, 4096
_IMAGES = ("img", "image", "camera_0", "agentview_image")


def is_at(path: Path) -> bool:
    """Return whether a path is a zarr directory in this layout."""
    return (path / "data").is_dir() and (path / "meta" / "episode_ends").is_dir()


def write(store: RolloutStore, path: Path, progress: Progress) -> list[str]:
    """Write a store in the layout of Diffusion Policy, as zarr version 2, which its readers use."""
    import zarr

    ends = np.cumsum(store.lengths)
    total, frame, schema = int(ends[-1]), (store.height, store.width, 3), store.schema
    root = zarr.open_group(str(path), mode="w-", zarr_format=2)
    shapes = {
        "img": (frame, np.uint8),
        "action": (schema.action_shape, schema.action_dtype),
        "reward": ((), np.float32),
        "terminated": ((), np.bool_),
        "truncated": ((), np.bool_),
    }
    data = {
        name: root.create_array(
            f"data/{name}",
            shape=(total, *row),
            chunks=(_CHUNK_FRAMES if name == "img" else _CHUNK_STEPS, *row),
            dtype=dtype,
        )
        for name, (row, dtype) in shapes.items()
    }
    last = root.create_array(
        "meta/last_img", shape=(len(store), *frame), chunks=(_CHUNK_FRAMES, *frame), dtype=np.uint8
    )
    root.create_array("meta/episode_ends", data=ends.astype(np.int64))
    root.attrs["worldsim"] = [{**describe(store, i), "bodies": None} for i in range(len(store))]
    for i, end in enumerate(ends.tolist()):
        rollout = store.episode(i)
        rows = slice(end - len(rollout), end)
        data["img"][rows] = rollout.obs[:-1]
        last[i] = rollout.obs[-1]
        for name in STEP_FIELDS:
            data[name][rows] = getattr(rollout, name)
        progress(i + 1)
    return ["the states of bodies have no place in it"] if has_states(store) else []


def read(path: Path) -> Iterator[Item]:
    """Yield the episodes of a zarr directory in the layout of Diffusion Policy.

    A foreign one lacks the last frame of every episode, so its last step is left out.

    Raises:
        StoreError: If it has no images or actions.
    """
    import zarr

    root: Any = zarr.open_group(str(path), mode="r")
    data, facts = root["data"], root.attrs.get("worldsim")
    names = set(data.array_keys())
    image = next((name for name in _IMAGES if name in names), None)
    if image is None or "action" not in names:
        raise StoreError(
            f"{path} needs data/action and images as one of data/{{{', '.join(_IMAGES)}}}; it has {', '.join(names)}"
        )
    start = 0
    for i, end in enumerate(np.asarray(root["meta/episode_ends"][:]).tolist()):
        obs = np.asarray(data[image][start:end])
        if facts:
            obs = np.concatenate([obs, np.asarray(root["meta/last_img"][i : i + 1])])
        steps = {name: np.asarray(data[name][start : start + len(obs) - 1]) for name in STEP_FIELDS if name in names}
        num_steps = len(obs) - 1
        terminated = steps.get("terminated", np.zeros(num_steps, bool))
        is_cut = (np.arange(num_steps) == num_steps - 1) & ~terminated
        yield build(
            facts[i] if facts else {},
            obs=obs,
            action=steps["action"],
            reward=steps["reward"] if "reward" in steps else np.zeros(num_steps, np.float32),
            terminated=terminated,
            truncated=steps.get("truncated", is_cut),  # pyright: ignore[reportArgumentType]
        )
        start = end
