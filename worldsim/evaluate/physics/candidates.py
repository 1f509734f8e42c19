"""Whatever can continue a clip: a world model, an imagined env, a Python function, or a folder of films made elsewhere.

The one idea to know: everything the benchmark wants to see is a `Request`, frames and actions in, frames out, and every
kind of model is one function from requests to frames. A folder of films is such a function too.
"""

from __future__ import annotations

import importlib
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from PIL import Image

from worldsim.errors import CheckpointError, EnvError
from worldsim.evaluate.setting import setting_warnings
from worldsim.model import WorldModel, load
from worldsim.sim import WorldModelEnv, pick_device
from worldsim.store.formats.films import read_film

__all__ = ["Candidate", "Request", "candidate", "from_callable", "from_env", "from_folder", "from_model"]

_BATCH = 64
_FILM, _ARRAYS, _IMAGES = ".mp4", (".npy", ".npz"), (".png", ".jpg", ".webp")


@dataclass(frozen=True, kw_only=True)
class Request:
    """One continuation that is wanted."""

    key: str
    """Names it in a run; a file name without its ending."""
    frames: np.ndarray
    """(C, H, W, 3) uint8 true frames."""
    past: np.ndarray
    """(C - 1, ...) actions between them."""
    actions: np.ndarray
    """(T, ...) actions from the last of them on."""
    prompt: str | None = None
    seed: int = 0
    """Of the noise."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A model under test."""

    name: str
    imagine: Callable[[Sequence[Request]], list[np.ndarray]]
    """Returns (T, H, W, 3) uint8 per request, in their order."""
    num_context: int = 1
    """Frames that it looks at; requests hold at least as many."""
    draws_noise: bool = True
    """Whether another seed can give other frames."""
    has: Callable[[str], bool] = lambda key: True
    """Whether it can answer the request of a key; a folder holds only what was put there."""
    doubts: Callable[[str, Sequence[int]], list[str]] = lambda env_id, seeds: []
    """From the truth's id and the env seeds of clips to sentences on what makes figures doubtful."""
    begin: Callable[[str, int], tuple[np.ndarray, np.ndarray]] | None = None
    """From a text alone and a seed to frames (C, H, W, 3) and the actions between them (C - 1, ...), of those that
    the model holds; None if it needs frames."""
    draw: Callable[[str, int], tuple[np.ndarray, np.ndarray]] | None = None
    """The same, by a first frame that the model imagines; None if it cannot."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What is printed on every row: checkpoint, parameters, sampler steps, training minutes, data."""


def candidate(
    model: str | WorldModel | Candidate, *, sampler_steps: int | None = None, device: str = "cpu"
) -> Candidate:
    """Return the candidate that a name means.

    Args:
        model: A world model; the name or path of one; ``module:function``; the id of an imagined env
            (``worldsim/LabDream-v0``); or a folder of results (films, frames or arrays named by request).
        sampler_steps: Denoiser calls per frame of a world model.
        device: Where a named world model runs; ``auto`` takes a GPU if there is one.

    Raises:
        CheckpointError: If it is none of these.
        EnvError: If the function or the env cannot be used.
    """
    if isinstance(model, Candidate):
        return model
    if isinstance(model, WorldModel):
        return from_model(model, sampler_steps)
    path = Path(model)
    if path.is_dir() and _has_results(path):
        return from_folder(path)
    if not path.is_dir() and re.search(r"-v\d+$", model):
        return from_env(model, sampler_steps=sampler_steps, device=device)
    if not path.is_dir() and ":" in model:
        return from_callable(model)
    return from_model(load(model).to(pick_device(device)), sampler_steps)


def from_model(model: WorldModel, sampler_steps: int | None = None) -> Candidate:
    """Return a world model as a candidate; one sampler step draws no noise."""
    steps = model.config.sampler_steps if sampler_steps is None else sampler_steps
    training = model.meta.get("training", {})

    def imagine(requests: Sequence[Request]) -> list[np.ndarray]:
        out: list[np.ndarray] = [np.empty(0)] * len(requests)
        for part in _alike(requests):
            frames = _imagine_batch(model, [requests[i] for i in part], steps)
            for row, i in enumerate(part):
                out[i] = frames[row]
        return out

    def begin(text: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
        start = model.starts[model.nearest_start(text)]
        return start.frames, start.actions

    def draw(text: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
        return model.first_frames([text], [seed]), np.zeros((0, *model.spec.action_shape), np.float32)

    return Candidate(
        name=model.name,
        imagine=imagine,
        begin=begin if model.starts else None,
        draw=draw if model.is_trained_for_first_frames else None,
        doubts=lambda env_id, seeds: setting_warnings(model, env_id, model.spec.env_kwargs, seeds),
        num_context=model.config.num_context,
        draws_noise=steps > 1,
        facts={
            "checkpoint_sha": model.sha,
            "parameters": model.num_parameters,
            "sampler_steps": steps,
            "training_minutes": training.get("minutes_done"),
            "data": _data_line(model.card),
            "trained_at_commit": model.meta.get("git_sha"),
        },
    )


def _imagine_batch(model: WorldModel, requests: Sequence[Request], steps: int) -> np.ndarray:
    """Return (N, T, H, W, 3) for requests of one length."""
    num_context = model.config.num_context
    state = model.encode(
        np.stack([r.frames[-num_context:] for r in requests]),
        np.stack([r.past[len(r.past) + 1 - num_context :] for r in requests]),
        prompts=[_understood(model, r.prompt) for r in requests],
        seeds=np.array([r.seed for r in requests], np.int64),
    )
    actions = np.stack([r.actions for r in requests])  # (N, T, ...)
    return model.rollout(state, actions, sampler_steps=steps)[1].frames


def _understood(model: WorldModel, prompt: str | None) -> str | None:
    return prompt if prompt and model.networks.text.vocabulary.encode(prompt) else None


def _alike(requests: Sequence[Request]) -> list[list[int]]:
    """Group requests of one shape into batches."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, request in enumerate(requests):
        groups.setdefault((len(request.actions), *request.frames.shape), []).append(i)
    return [group[k : k + _BATCH] for group in groups.values() for k in range(0, len(group), _BATCH)]


def _data_line(card: Mapping[str, Any]) -> str:
    if not card:
        return "unknown"
    seeds = card.get("seeds", {})
    return f"{card.get('episodes', '?')} episodes, seeds {seeds.get('min', '?')} to {seeds.get('max', '?')}"


def from_callable(target: str | Callable[..., Any], name: str | None = None) -> Candidate:
    """Return a function as a candidate: ``f(frames (C, H, W, 3), actions (T, ...), prompt, seed) -> (T, H, W, 3)``.

    Args:
        target: The function, or ``module:function``.
        name: How tables call it; its own name if None.

    Raises:
        EnvError: If there is no such function.
    """
    function = _imported(target) if isinstance(target, str) else target

    def imagine(requests: Sequence[Request]) -> list[np.ndarray]:
        return [_checked(function(r.frames, r.actions, r.prompt, r.seed), r) for r in requests]

    return Candidate(name=name or str(target if isinstance(target, str) else function.__name__), imagine=imagine)


def _imported(target: str) -> Callable[..., Any]:
    module, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise EnvError(f"a model as a function is named module:function; {target!r} is not one: {error}") from None


def from_env(env_id: str, *, sampler_steps: int | None = None, device: str = "cpu", **kwargs: Any) -> Candidate:
    """Return an imagined env as a candidate: one that takes ``reset(options={"start": {"frames", "actions"}})``.

    Behind an end that it declares, its last frame stands still.

    Args:
        env_id: Of the env; one of a world model is asked as the model itself is, in batches, and does not end.
        sampler_steps, device: Of a world model, as in `candidate`.
        kwargs: Of the env's constructor.

    Raises:
        EnvError: If it cannot be made, or has no sampler whose steps could be set.
    """
    try:
        env = gym.make(env_id, disable_env_checker=True, **kwargs).unwrapped
    except (gym.error.Error, TypeError) as error:
        raise EnvError(f"cannot make {env_id!r}: {error}") from None
    model = getattr(env, "model", None)
    if type(env) is WorldModelEnv:
        steps = env.sampler_steps if sampler_steps is None else sampler_steps
        return replace(from_model(env.model.to(pick_device(device)), steps), name=env_id)
    if sampler_steps is not None:
        raise EnvError(f"{env_id} has no sampler steps that could be set; leave --sampler-steps out")

    def imagine(requests: Sequence[Request]) -> list[np.ndarray]:
        out = []
        for r in requests:
            options = {"start": {"frames": r.frames, "actions": r.past}} | ({"prompt": r.prompt} if r.prompt else {})
            env.reset(seed=r.seed, options=options)
            frames: list[np.ndarray] = []
            for action in r.actions:
                obs, _, terminated, truncated, _ = env.step(action)
                frames.append(np.array(obs, np.uint8))
                if terminated or truncated:
                    frames += [frames[-1]] * (len(r.actions) - len(frames))
                    break
            out.append(_checked(np.stack(frames), r))
        return out

    num_context = model.config.num_context if isinstance(model, WorldModel) else 1
    return Candidate(name=env_id, imagine=imagine, num_context=num_context)


def from_folder(path: str | Path) -> Candidate:
    """Return results made elsewhere as a candidate: ``KEY.mp4``, ``KEY.npy``, ``KEY.npz`` or ``KEY/*.png`` per request.

    A result has one frame per step, of any size: it is scaled to the clip's by area. Surplus frames behind the horizon
    are left out; if it has exactly one more, its first is taken to be the last context frame and left out instead.
    Further noise samples of a clip may stand beside ``*.sample0`` as ``*.sample1`` and so on, for every clip alike.
    """
    root = Path(path)

    def imagine(requests: Sequence[Request]) -> list[np.ndarray]:
        return [_checked(_trimmed(_read_result(root, r.key), r), r) for r in requests]

    return Candidate(
        name=root.name,
        imagine=imagine,
        draws_noise=any(root.glob("*.sample1*")),
        has=lambda key: _result_of(root, key) is not None,
    )


def _has_results(root: Path) -> bool:
    if (root / "config.json").exists() or (root / "checkpoint").exists():
        return False
    films = any(p.suffix in (_FILM, *_ARRAYS) for p in root.iterdir())
    return films or any(p.is_dir() and any(q.suffix in _IMAGES for q in p.iterdir()) for p in root.iterdir())


def _result_of(root: Path, key: str) -> Path | None:
    found = (root / f"{key}{ending}" for ending in (_FILM, *_ARRAYS, ""))
    return next((path for path in found if path.exists()), None)


def _read_result(root: Path, key: str) -> np.ndarray:
    path = _result_of(root, key)
    if path is None:
        raise CheckpointError(
            f"{root} has no result for {key!r}; expected {key}{_FILM}, {key}.npy, {key}.npz or {key}/*.png: "
            "generate every scene that worldsim bench physics --export lists"
        )
    if path.suffix == _FILM:
        return read_film(path)
    try:
        if path.suffix in _ARRAYS:
            data = np.load(path, allow_pickle=False)
            frames = data["frames"] if path.suffix == ".npz" else data
        else:
            images = sorted(p for p in path.iterdir() if p.suffix in _IMAGES)
            frames = np.stack([np.asarray(Image.open(p).convert("RGB")) for p in images])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path} cannot be read: {error}; generate it again") from None
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
        raise CheckpointError(f"{path} must hold frames (T, H, W, 3) uint8; got {frames.shape} {frames.dtype}")
    return frames


def _trimmed(frames: np.ndarray, request: Request) -> np.ndarray:
    horizon = len(request.actions)
    if len(frames) == horizon + 1:
        frames = frames[1:]
    frames = frames[:horizon]
    height, width = request.frames.shape[1:3]
    if frames.shape[1:3] == (height, width):
        return frames
    return np.stack([np.asarray(Image.fromarray(f).resize((width, height), Image.Resampling.BOX)) for f in frames])


def _checked(frames: Any, request: Request) -> np.ndarray:
    frames = np.asarray(frames)
    shape = (len(request.actions), *request.frames.shape[1:])
    if frames.shape != shape or frames.dtype != np.uint8:
        raise EnvError(f"the continuation of {request.key!r} must be {shape} uint8; got {frames.shape} {frames.dtype}")
    return frames
