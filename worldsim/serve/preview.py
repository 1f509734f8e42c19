"""A scene, seen: a few seconds of a world as a picture, an animation, a page with the frame player, or a 3-D file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from PIL import Image

from worldsim.collect import policies_of
from worldsim.collect.worker import make_image_env
from worldsim.errors import EnvError, PromptError
from worldsim.page import Scene, Track, page_html, player_html
from worldsim.rollout import control_dt_of
from worldsim.serve.record import gif_film, labelled, mp4_film
from worldsim.sim import WorldModelEnv
from worldsim.sim.actions import neutral_actions

__all__ = ["KINDS", "MAX_SECONDS", "Film", "fitted", "preview", "write_film"]

KINDS = (".png", ".gif", ".mp4", ".html", ".glb")
"""What a preview may be written as, by the file's name; GLB is of the truth alone."""
MAX_SECONDS = 60.0
_SHEET = 5  # frames of a picture, side by side
_CALM = ("lane_follower", "expert")  # policies that show a world at its best, the first that it has
_ENCODERS = {".gif": gif_film, ".mp4": mp4_film}


def preview(
    prompt: str,
    out: str | Path,
    *,
    env_id: str = "worldsim/City-v0",
    model: Any = None,
    image: str | Path | None = None,
    from_text: bool = False,
    cameras: Sequence[str] = (),
    seconds: float = 4.0,
    seed: int = 0,
    env_kwargs: Mapping[str, Any] | None = None,
) -> Path:
    """Write a few seconds of a world, driven by its calmest policy, or with the controls at rest where it is imagined.

    Args:
        prompt: Asks the world for something; empty for nothing.
        out: File to write; its ending says as what, see ``KINDS``.
        env_id: The true world.
        model: Name, path or loaded model: its imagined world instead of the true one.
        image: A still that the imagined world begins from; resized to the model's frames.
        from_text: Whether a model imagines its first frame too, from the prompt alone.
        cameras: Named cameras of the true world, side by side, all of the same moment; its default one if empty. A
            picture then shows one moment, the last.
        seconds: How long, up to 60.
        seed: Everything random follows from it.
        env_kwargs: Constructor arguments of the true world.

    Raises:
        EnvError: If the ending, the time, a camera or the combination is not possible.
        PromptError: If the world understood no word of the prompt.
        CheckpointError: If there is no such model.
    """
    path = Path(out)
    if path.suffix not in KINDS:
        raise EnvError(f"a preview is one of {', '.join(KINDS)}; got {path.name!r}")
    if not 0 < seconds <= MAX_SECONDS:
        raise EnvError(f"a preview takes up to {MAX_SECONDS:g} seconds; got {seconds:g}")
    if image is not None and model is None:
        raise EnvError("a still can only be continued by a model; add --model")
    if from_text and (model is None or image is not None or not prompt):
        raise EnvError("a beginning from text takes a model and a prompt, and no still; see --model and --image")
    if cameras and model is not None:
        raise EnvError("a model imagines the camera that it was trained on; leave out --camera or --model")
    if path.suffix == ".glb":
        if model is not None:
            raise EnvError("an imagined world has no geometry; a .glb is of the true one: leave out --model")
        return _write_scene(path, env_id, prompt, seed, env_kwargs or {})
    if model is None:
        film = _true(env_id, prompt, tuple(cameras), seconds, seed, env_kwargs or {})
    else:
        film = _imagined(model, prompt, image, from_text, seconds, seed)
    return write_film(path, film, prompt)


@dataclass(frozen=True)
class Film:
    """What was seen of a world, every ``frame_dt`` seconds."""

    views: Mapping[str, np.ndarray]
    """(T + 1, H, W, 3) uint8 by label; one that begins with ``imagined`` stands out."""
    frame_dt: float
    env_id: str
    shows_one_moment: bool = False
    """Whether a picture of it shows one moment, the last, and not several."""


def _true(
    env_id: str, prompt: str, cameras: tuple[str, ...], seconds: float, seed: int, env_kwargs: Mapping[str, Any]
) -> Film:
    env, views_of = _seen_by(env_id, cameras, env_kwargs)
    try:
        policies = policies_of(env)
        policy = next((policies[name] for name in _CALM if name in policies), policies["mixture"])(seed)
        obs, info = _reset(env, env_id, prompt, seed)
        moments = [views_of(obs)]
        for _ in range(round(seconds / control_dt_of(env))):
            action: Any = policy(obs, info)
            if isinstance(env.action_space, gym.spaces.Discrete):
                action = int(action)
            obs, _, terminated, truncated, info = env.step(action)
            moments.append(views_of(obs))
            if terminated or truncated:
                break
        views = {label: np.stack([moment[label] for moment in moments]) for label in moments[0]}
        return Film(views, control_dt_of(env), env_id, shows_one_moment=len(views) > 1)
    finally:
        env.close()


def _seen_by(
    env_id: str, cameras: tuple[str, ...], env_kwargs: Mapping[str, Any]
) -> tuple[gym.Env, Callable[[Any], dict[str, np.ndarray]]]:
    """Make an env, and a function from its obs to what each camera sees, by label."""
    if len(cameras) < 2:
        env, to_frame = make_image_env(env_id, {**env_kwargs, **({"cameras": cameras} if cameras else {})})
        label = f"truth, {cameras[0]}" if cameras else "truth"
        return env, lambda obs: {label: np.array(to_frame(obs))}
    env = gym.make(env_id, disable_env_checker=True, **{**env_kwargs, "cameras": cameras})
    return env, lambda obs: {f"truth, {name}": np.array(obs[f"rgb/{name}"]) for name in cameras}


def _imagined(model: Any, prompt: str, image: str | Path | None, from_text: bool, seconds: float, seed: int) -> Film:
    env = WorldModelEnv(model)
    spec = env.model.spec
    options: dict[str, Any] = {"prompt": prompt} if prompt else {}
    if image is not None:
        options["start"] = _still(Path(image), spec.height, spec.width)
    if from_text:
        options["start"] = {"prompt": prompt}
    frame, _ = env.reset(seed=seed, options=options)
    frames = [frame]
    (rest,) = neutral_actions(env.action_space, 1)
    for _ in range(round(seconds / env.control_dt)):
        frame, _, terminated, truncated, _ = env.step(rest)
        frames.append(frame)
        if terminated or truncated:
            break
    return Film({"imagined": np.stack(frames)}, env.control_dt, spec.env_id)


def _reset(env: gym.Env, env_id: str, prompt: str, seed: int) -> tuple[Any, Mapping[str, Any]]:
    if not prompt:
        return env.reset(seed=seed)
    if not hasattr(env.unwrapped, "set_prompt"):
        raise PromptError(f'{env_id} takes no prompts; give an empty one: worldsim preview ""')
    return env.reset(seed=seed, options={"prompt": prompt})


def _write_scene(path: Path, env_id: str, prompt: str, seed: int, env_kwargs: Mapping[str, Any]) -> Path:
    env, _ = make_image_env(env_id, env_kwargs)
    try:
        export: Any = getattr(env.unwrapped, "export_scene", None)
        if export is None:
            raise EnvError(f"{env_id} has no geometry to export; choose another ending than .glb")
        _reset(env, env_id, prompt, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:  # a broken export leaves no half file
            export(str(Path(folder) / path.name))
            (Path(folder) / path.name).replace(path)
    finally:
        env.close()
    return path


def write_film(path: Path, film: Film, prompt: str) -> Path:
    """Write a film as what its file is named; return the file.

    Args:
        path: Ends with one of ``KINDS`` but ``.glb``; its directory is made if missing.
        film: What was seen.
        prompt: Title and caption of a page.

    Raises:
        MissingExtraError: If PyAV is not installed and a ``.mp4`` is wanted.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    num_frames = len(next(iter(film.views.values())))
    if path.suffix == ".html":
        tracks = [Track(label=label, frames=frames) for label, frames in film.views.items()]
        scene = Scene(title=prompt or film.env_id, tracks=tracks, captions=[(0, prompt)] if prompt else [])
        body = player_html([scene], frame_dt=film.frame_dt, difference=None)
        title = f"{film.env_id}, {next(iter(film.views)).partition(',')[0]}"
        path.write_text(page_html(title, f"<h1>{escape(title)}</h1>\n{body}"), encoding="utf-8")
    elif path.suffix == ".png":
        if film.shows_one_moment:
            picture = labelled([(frames[-1], label) for label, frames in film.views.items()])
        else:
            moments = np.linspace(0, num_frames - 1, min(_SHEET, num_frames)).round().astype(int)
            rows = [
                np.asarray(labelled([(frames[t], f"{label}, {t * film.frame_dt:.1f} s") for t in moments]))
                for label, frames in film.views.items()
            ]
            picture = Image.fromarray(np.concatenate(rows))
        picture.save(path)
    else:
        pictures = (labelled([(frames[t], label) for label, frames in film.views.items()]) for t in range(num_frames))
        path.write_bytes(_ENCODERS[path.suffix](pictures, film.frame_dt))
    return path


def _still(path: Path, height: int, width: int) -> np.ndarray:
    """Return an image file as a frame (H, W, 3) uint8: its middle in the shape of the frame, resized."""
    try:
        with Image.open(path) as image:
            picture = image.convert("RGB")
    except OSError as error:
        raise EnvError(f"the still {path} cannot be read: {error.strerror or error}") from None
    return fitted(picture, height, width)


def fitted(picture: Image.Image, height: int, width: int) -> np.ndarray:
    """Return the middle of a picture in the shape of a frame (H, W, 3) uint8, resized."""
    scale = max(width / picture.width, height / picture.height)
    w, h = width / scale, height / scale
    left, top = (picture.width - w) / 2, (picture.height - h) / 2
    box = (left, top, left + w, top + h)
    return np.asarray(picture.resize((width, height), Image.Resampling.BOX, box=box))
