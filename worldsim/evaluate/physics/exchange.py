"""Clips as files: kept in a run, handed to another lab, or brought in from elsewhere with tracks of their objects.

The one idea to know: a clip is one npz file without pickle, its numbers as arrays and the rest as JSON beside them.
Physics from elsewhere is a flat world seen from far away: metres right and up, pixels per metre, and nothing to render.
"""

from __future__ import annotations

import csv
import json
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from worldsim.errors import EnvError
from worldsim.evaluate.physics.candidates import Request
from worldsim.evaluate.physics.clip import Body, Clip, Touch

__all__ = ["clip_from_tracks", "export_requests", "load_clip", "load_foreign", "refuse_existing", "save_clip"]

_UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)
"""What a damaged npz file raises."""
_FAR = 1000.0  # m from the camera to a flat world: a ball there is a circle
_ARRAYS = ("frames", "actions", "gravity", "K", "c2w")
_TEXTS = ("env_id", "scenario", "split", "seed", "policy", "num_context", "dt", "caption", "variation", "normal")

_README = """\
# Scenes to continue

{count} scenes of {env}, {steps} steps of {dt:g} s. `scenes.json` lists them; each has a folder with its first frames
(`context_00.png` ..., the last one is the present) and `actions.csv`, one row per step to imagine.

Put a film `KEY.mp4`, an array `KEY.npy` (T, H, W, 3) uint8, or pictures `KEY/000.png` ... into one folder, one frame
per step, frame 1 being the one after the present. Then, with the other options of the export (`--full`, `--scenarios`):

    worldsim bench physics --model THAT_FOLDER --suite {suite} --run THE_RUN_THAT_EXPORTED_THIS
"""


def save_clip(path: Path, clip: Clip) -> None:
    """Write a clip as one npz file; its snapshot, which only its own simulator can read, is left out."""
    arrays = {name: getattr(clip, name) for name in _ARRAYS}
    arrays |= {f"state/{name}": rows for name, rows in clip.state.items()}
    arrays |= {f"fine/{name}": rows for name, rows in clip.fine.items()}
    if clip.masks is not None:
        arrays["masks"] = clip.masks
    facts = {name: getattr(clip, name) for name in _TEXTS}
    facts |= {
        "palette": {name: list(color) for name, color in clip.palette.items()},
        "bodies": [asdict(body) for body in clip.bodies.values()],
        "contacts": [asdict(touch) for touch in clip.contacts],
        "events": list(clip.events),
        "mask_names": list(clip.mask_names),
        "goal": clip.goal,
    }
    arrays["facts"] = np.frombuffer(json.dumps(facts, default=_plain).encode(), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.npz")
    np.savez_compressed(partial, **arrays)
    partial.replace(path)


def load_clip(path: Path) -> Clip:
    """Read a clip that `save_clip` wrote.

    Raises:
        EnvError: If it is no such file.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
        facts = json.loads(arrays.pop("facts").tobytes())
    except _UNREADABLE as error:
        raise EnvError(f"{path} is not a clip of the physics benchmark: {error}; record it again") from None
    return Clip(
        **{name: facts[name] for name in _TEXTS if name != "normal"},
        normal=tuple(facts["normal"]),
        palette={name: tuple(color) for name, color in facts["palette"].items()},
        bodies={body["name"]: Body(**{**body, "half": tuple(body["half"])}) for body in facts["bodies"]},
        contacts=tuple(Touch(**touch) for touch in facts["contacts"]),
        events=tuple((t, text) for t, text in facts["events"]),
        mask_names=tuple(facts["mask_names"]),
        goal=None if facts["goal"] is None else tuple(facts["goal"]),
        masks=arrays.get("masks"),
        state=_under(arrays, "state/"),
        fine=_under(arrays, "fine/"),
        **{name: arrays[name] for name in _ARRAYS},
    )


def _under(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): rows for name, rows in arrays.items() if name.startswith(prefix)}


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else dict(value)


# ---- out: scenes for another lab


def refuse_existing(folder: Path) -> None:
    """Raise if scenes cannot go to a folder.

    Raises:
        EnvError: If it exists.
    """
    if folder.exists():
        raise EnvError(f"{folder} exists already; choose a new folder for the scenes")


def export_requests(folder: Path, requests: Sequence[Request], clip: Clip, suite: str) -> Path:
    """Write first frames, actions and a list of what is wanted, so that others can generate without this package.

    Args:
        folder: New folder.
        requests: What a model is asked.
        clip: Any of their clips, for the names of actions and the time step.
        suite: Name of the suite, for the instructions.

    Raises:
        EnvError: If the folder exists.
    """
    refuse_existing(folder)
    scenes = []
    for request in requests:
        place = folder / request.key
        place.mkdir(parents=True)
        for i, frame in enumerate(request.frames):
            Image.fromarray(frame).save(place / f"context_{i:02d}.png")
        with open(place / "actions.csv", "w", newline="") as file:
            table = csv.writer(file)
            flat = request.actions.reshape(len(request.actions), -1)
            table.writerow(["step", *(f"action_{k}" for k in range(flat.shape[1]))])
            for t, action in enumerate(flat.tolist(), 1):
                table.writerow([t, *action])
        past = request.past.reshape(len(request.past), -1).tolist()
        scenes.append(
            {
                "key": request.key,
                "steps": len(request.actions),
                "prompt": request.prompt,
                "seed": request.seed,
                "context_actions": past,
            }
        )
    height, width = clip.height, clip.width
    head = {"suite": suite, "env": clip.env_id, "dt": clip.dt, "height": height, "width": width, "scenes": scenes}
    (folder / "scenes.json").write_text(json.dumps(head, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    longest = max(len(request.actions) for request in requests)
    text = _README.format(count=len(scenes), env=clip.env_id, steps=f"up to {longest}", dt=clip.dt, suite=suite)
    (folder / "README.md").write_text(text, encoding="utf-8")
    return folder


# ---- in: physics from elsewhere


def clip_from_tracks(
    *,
    name: str,
    frames: np.ndarray,
    positions: np.ndarray,
    radii: Sequence[float],
    colors: Sequence[Sequence[int]],
    dt: float,
    num_context: int,
    pixels_per_metre: float = 1.0,
    origin_px: tuple[float, float] | None = None,
    gravity: float = 0.0,
    masses: Sequence[float] | None = None,
    actions: np.ndarray | None = None,
    scenario: str = "foreign",
) -> Clip:
    """Return a clip of a flat world recorded elsewhere, of which frames and the tracks of round objects are known.

    Args:
        name: Names the clip.
        frames: (F, H, W, 3) uint8.
        positions: (F, N, 2) metres, x to the right and y up; with the default scale and origin: pixels, y up from the
            lower edge.
        radii: N radii in metres.
        colors: N colours of the objects, RGB.
        dt: Seconds per frame.
        num_context: Frames that a model sees.
        pixels_per_metre: Scale of the picture.
        origin_px: (u, v) of the world's origin; the lower left corner if None.
        gravity: m/s2, downwards.
        masses: N masses in kg; 1 if None.
        actions: (F - 1, A); none, that is zeros of length 1, if None.
        scenario: Word under which its figures are collected.

    Raises:
        EnvError: If the arrays do not fit each other.
    """
    if positions.ndim != 3 or positions.shape[2] != 2 or frames.ndim != 4 or frames.shape[3] != 3:
        raise EnvError(
            f"{name}: frames must be (F, H, W, 3) and positions (F, N, 2); got {frames.shape} and {positions.shape}"
        )
    if not (dt > 0 and np.isfinite(dt) and pixels_per_metre > 0 and np.isfinite(positions).all()):
        raise EnvError(f"{name}: dt and pixels_per_metre must be more than 0, and positions finite")
    if actions is not None and len(actions) != len(frames) - 1:
        raise EnvError(f"{name}: {len(frames)} frames need {len(frames) - 1} actions; got {len(actions)}")
    if masses is not None and len(masses) != len(radii):
        raise EnvError(f"{name}: {len(radii)} objects need as many masses; got {len(masses)}")
    if not re.fullmatch(r"[\w-]+", scenario):
        raise EnvError(f"{name}: a scenario is a word of letters, digits, _ and -; got {scenario!r}")
    num_frames, num = positions.shape[:2]
    height = frames.shape[1]
    if len(frames) != num_frames or len(radii) != num or len(colors) != num or frames.dtype != np.uint8:
        raise EnvError(
            f"{name}: {num_frames} frames of {num} positions need as many uint8 frames, radii and colours; got "
            f"{frames.shape} {frames.dtype}, {len(radii)} and {len(colors)}"
        )
    if not 1 <= num_context < num_frames:
        raise EnvError(f"{name}: num_context must be 1 to {num_frames - 1}; got {num_context}")
    u, v = origin_px or (0.0, float(height))
    names = [chr(ord("a") + k) for k in range(num)]
    points = np.stack([positions[..., 0], np.zeros((num_frames, num)), positions[..., 1]], axis=-1)  # (F, N, 3)
    velocity = np.gradient(points, dt, axis=0)
    rows = np.zeros((num_frames, num, 13))
    rows[..., :3], rows[..., 6], rows[..., 7:10] = points, 1.0, velocity
    focal = pixels_per_metre * _FAR
    c2w = np.array([[1.0, 0, 0, 0], [0, 0, 1.0, -_FAR], [0, -1.0, 0, 0], [0, 0, 0, 1.0]])  # looks along +y, z is up
    return Clip(
        env_id=f"foreign/{name}",
        scenario=scenario,
        split="train",
        seed=0,
        policy="given",
        num_context=num_context,
        frames=frames,
        actions=np.zeros((num_frames - 1, 1), np.float32) if actions is None else actions,
        dt=dt,
        caption={},
        variation={"gravity": gravity},
        palette={n: (int(c[0]), int(c[1]), int(c[2])) for n, c in zip(names, colors, strict=True)},
        bodies={
            n: Body(
                name=n,
                shape="ball",
                half=(float(r), float(r), float(r)),
                color=n,
                mass=1.0 if masses is None else masses[k],
            )
            for k, (n, r) in enumerate(zip(names, radii, strict=True))
        },
        state={n: rows[:, k] for k, n in enumerate(names)},
        gravity=np.full(num_frames, float(gravity)),
        K=np.array([[focal, 0, u], [0, focal, v], [0, 0, 1.0]]),
        c2w=np.repeat(c2w[None], num_frames, axis=0),
        normal=(0.0, 1.0, 0.0),
    )


_GIVEN = ("frames", "positions", "radii", "colors", "dt", "num_context")
_MORE = ("pixels_per_metre", "origin_px", "gravity", "masses", "actions", "scenario")


def load_foreign(folder: Path) -> list[Clip]:
    """Read clips from elsewhere, one npz file each, whose arrays are the arguments of `clip_from_tracks`.

    Raises:
        EnvError: If there are none, a file is damaged, or an array is missing or does not fit.
    """
    files = sorted(folder.glob("*.npz"))
    if not files:
        raise EnvError(f"{folder} holds no npz files; each clip is one, with the arrays {', '.join(_GIVEN)}")
    clips = []
    for i, file in enumerate(files):
        try:
            with np.load(file, allow_pickle=False) as data:
                arrays = {name: data[name] for name in data.files}
        except _UNREADABLE as error:
            raise EnvError(f"{file} cannot be read: {error}; write it again") from None
        missing = [name for name in _GIVEN if name not in arrays]
        if missing:
            raise EnvError(f"{file} lacks {', '.join(missing)}; a clip from elsewhere has {', '.join(_GIVEN)}")
        more: dict[str, Any] = {name: arrays[name] for name in _MORE if name in arrays}
        for scalar in ("pixels_per_metre", "gravity"):
            if scalar in more:
                more[scalar] = float(more[scalar])
        if "origin_px" in more:
            if more["origin_px"].shape != (2,):
                raise EnvError(f"{file}: origin_px must be two numbers, u and v; got {more['origin_px']}")
            more["origin_px"] = (float(more["origin_px"][0]), float(more["origin_px"][1]))
        if "scenario" in more:
            more["scenario"] = str(more["scenario"])
        clip = clip_from_tracks(
            name=file.stem,
            frames=arrays["frames"],
            positions=arrays["positions"],
            radii=arrays["radii"].tolist(),
            colors=arrays["colors"].tolist(),
            dt=float(arrays["dt"]),
            num_context=int(arrays["num_context"]),
            **more,
        )
        clips.append(replace(clip, seed=i))
    return clips
