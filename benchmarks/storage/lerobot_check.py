"""Whether the real LeRobot library reads what worldsim exports, and worldsim what LeRobot records.

LeRobot on Python 3.11 wants an older torch, so it runs in an environment of its own, by the path of its Python:

    python -m venv lerobot-env && lerobot-env/bin/pip install lerobot==0.4.4
    python benchmarks/storage/lerobot_check.py lerobot-env/bin/python

Prints a line per check; exit 1 if one fails.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

KINDS = ("lerobot", "lerobot-mp4")
NUM_EPISODES, NUM_STEPS, RATE = 3, 24, 10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("python", help="Python of the environment that has LeRobot")
    parser.add_argument("--theirs", metavar="DIR", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.theirs:
        return theirs(arguments.theirs)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        ours_out(root)
        command = [arguments.python, __file__, arguments.python, "--theirs", str(root)]
        return 1 if subprocess.run(command, check=False).returncode or not ours_in(root) else 0


def ours_out(root: Path) -> None:
    """Collect real episodes and export them; NumPy files tell the other side what is in them."""
    from worldsim.collect import collect
    from worldsim.store import export_store

    store = collect("worldsim/City-v0", NUM_EPISODES, root / "rollouts", max_steps=NUM_STEPS)
    for kind in (*KINDS, "npz"):
        losses = export_store(store, root / kind, to=kind)
        print(f"export {kind}: {'; '.join(losses) or 'nothing lost'}", flush=True)


def theirs(root: Path) -> int:
    """Run in LeRobot's environment: read ours, then record the same episodes with LeRobot's own writer."""
    from importlib.metadata import version

    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    print(f"LeRobot {version('lerobot')}, torch {version('torch')}, datasets {version('datasets')}", flush=True)
    episodes = [dict(np.load(file)) for file in sorted((root / "npz").glob("*.npz"))]
    is_well = True
    for kind in KINDS:
        dataset = LeRobotDataset(f"worldsim/{kind}", root=root / kind, video_backend="pyav")
        items = [dataset[i] for i in range(len(dataset))]
        frames = np.stack([(item["observation.image"].numpy() * 255).round() for item in items]).transpose(0, 2, 3, 1)
        wanted = np.concatenate([episode["obs"][:-1] for episode in episodes])
        actions = np.concatenate([episode["action"] for episode in episodes])
        is_well &= said(
            f"{kind}: episodes and rows", (dataset.num_episodes, len(dataset)), (len(episodes), len(wanted))
        )
        is_well &= said(f"{kind}: actions", same([item["action"].numpy() for item in items], actions), True)
        rewards = np.concatenate([episode["reward"] for episode in episodes])
        is_well &= said(f"{kind}: rewards", same([item["next.reward"].item() for item in items], rewards), True)
        is_well &= said_frames(kind, frames, wanted)
        is_well &= said(f"{kind}: a task per row", all(isinstance(item["task"], str) for item in items), True)
        stats = dataset.meta.stats["action"]["mean"]
        is_well &= said(f"{kind}: mean action", bool(np.allclose(stats, actions.mean(0), atol=1e-5)), True)
        window = LeRobotDataset(
            f"worldsim/{kind}",
            root=root / kind,
            video_backend="pyav",
            delta_timestamps={"observation.image": [-2 / RATE, 0.0], "action": [0.0, 1 / RATE]},
        )[5]
        is_well &= said(f"{kind}: a window by timestamps", tuple(window["observation.image"].shape[:2]), (2, 3))
    for kind in KINDS:
        record(LeRobotDataset, root, kind, episodes)
    return 0 if is_well else 1


def record(library, root: Path, kind: str, episodes: list[dict[str, np.ndarray]]) -> None:
    is_film, (height, width) = kind.endswith("mp4"), episodes[0]["obs"].shape[1:3]
    features = {
        "observation.image": {
            "dtype": "video" if is_film else "image",
            "shape": (height, width, 3),
            "names": ["height", "width", "channels"],
        },
        "action": {"dtype": "float32", "shape": (episodes[0]["action"].shape[1],), "names": None},
        "next.reward": {"dtype": "float32", "shape": (1,), "names": None},
    }
    dataset = library.create(f"theirs/{kind}", RATE, features, root=root / f"their-{kind}", use_videos=is_film)
    for episode in episodes:
        for obs, action, reward in zip(episode["obs"], episode["action"], episode["reward"], strict=False):
            step = {"observation.image": obs, "action": action, "next.reward": np.array([reward], np.float32)}
            dataset.add_frame({**step, "task": "drive through the city"})
        dataset.save_episode()
    dataset.finalize()


def ours_in(root: Path) -> bool:
    """Import what LeRobot recorded, and what worldsim exported."""
    from worldsim import RolloutStore
    from worldsim.store import import_into

    truth, is_well = RolloutStore.open(root / "rollouts"), True
    for folder in (f"{whose}{kind}" for kind in KINDS for whose in ("", "their-")):
        store = RolloutStore.create(root / "back" / folder)
        import_into(store, root / folder)
        rollouts = [store.episode(i) for i in range(len(store))]
        originals = [truth.episode(i) for i in range(len(truth))]
        cut = 1 if folder.startswith("their-") else 0  # the last step of a foreign episode has no next frame
        is_well &= said(f"import {folder}: steps", store.lengths.tolist(), [n - cut for n in truth.lengths.tolist()])
        got, want = (np.concatenate([r.action[: len(o) - cut] for r, o in zip(side, originals, strict=True)])
                     for side in (rollouts, originals))  # fmt: skip
        is_well &= said(f"import {folder}: actions", same(got, want), True)
        got, want = (np.concatenate([r.obs[: len(o) + 1 - cut] for r, o in zip(side, originals, strict=True)])
                     for side in (rollouts, originals))  # fmt: skip
        is_well &= said_frames(f"import {folder}", got.astype(float), want)
    return is_well


def same(got, want: np.ndarray) -> bool:
    return bool(np.array_equal(np.asarray(got, want.dtype), want))


def said_frames(name: str, got: np.ndarray, want: np.ndarray) -> bool:
    error = ((got - want) ** 2).mean()
    decibels = 10 * np.log10(255**2 / max(error, 1e-12))
    is_well = decibels > 30 if "mp4" in name else error == 0
    print(f"{'ok ' if is_well else 'BAD'} {name}: frames {'exact' if not error else f'{decibels:.1f} dB'}", flush=True)
    return bool(is_well)


def said(name: str, got: object, want: object) -> bool:
    print(f"{'ok ' if got == want else 'BAD'} {name}: {got}{'' if got == want else f', not {want}'}", flush=True)
    return got == want


if __name__ == "__main__":
    sys.exit(main())
