"""The main job on a bundled model: imagine beside the truth, score, store, and write what there is to see."""

from __future__ import annotations

import shutil
from pathlib import Path

from worldsim.errors import StoreError
from worldsim.evaluate.compare import Progress, compare
from worldsim.evaluate.report import Report
from worldsim.evaluate.sheet import contact_sheet
from worldsim.model import load
from worldsim.store import RolloutStore

__all__ = ["demo"]

_RUN_ID = "demo"


def demo(
    out_dir: str | Path,
    *,
    model: str = "city-64",
    episodes: int = 8,
    horizon: int = 64,
    seed: int = 200_000,
    progress: Progress | None = None,
) -> Report:
    """Imagine test episodes beside the truth and leave ``report.html``, ``contact-sheet.png`` and ``rollouts`` behind.

    Args:
        out_dir: Folder to write into; what an earlier demo left there is replaced.
        model: Name or path of a model; its own truth is the one it is held against.
        episodes: Number of clips.
        horizon: Steps per clip.
        seed: First env seed; 200,000-209,999 are for tests.
        progress: Called with (stage, done, total).

    Raises:
        CheckpointError: If the model cannot be loaded.
        StoreError: If ``rollouts`` in the folder exists and is anything but the store of an earlier demo.
    """
    out_dir = Path(out_dir)
    store_path = out_dir / "rollouts"
    if store_path.exists():
        _check_own(RolloutStore.open(store_path))
    world_model = load(model)
    report = compare(
        world_model, world_model.spec.env_id, episodes=episodes, horizon=horizon, seed=seed, progress=progress
    )
    rollouts = [rollout for pair in report.rollouts for rollout in (pair.truth, pair.imagined)]
    if store_path.exists():
        shutil.rmtree(store_path)  # only now that there is something to take its place
    RolloutStore.create(store_path).append(rollouts, run_id=_RUN_ID)
    contact_sheet(report.rollouts, out_dir / "contact-sheet.png")
    report.save(out_dir / "report.html")
    return report


def _check_own(store: RolloutStore) -> None:
    """Check that an earlier demo wrote every episode of a store."""
    others = {store.info(i).run_id for i in range(len(store))} - {_RUN_ID}
    if others:
        raise StoreError(f"{store.path} holds rollouts of {sorted(others)[0]!r}, not of a demo; choose another folder")
