"""What an imagined episode begins from: read a window of a store, frames, an env or one image into model context.

Every kind of start becomes a `Context`: the last frames that the model looks back on, and the actions between them.
A text alone has none, so that the model imagines the frame.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from PIL import Image, UnidentifiedImageError

from worldsim.errors import EnvError
from worldsim.model import Start, WorldModel
from worldsim.rollout import Rollout
from worldsim.sim.actions import action_batch, neutral_actions
from worldsim.store import RolloutStore

__all__ = ["Context", "imagine_contexts", "pad", "prompt_of", "read_start"]

_KINDS = (
    'a Rollout, {"frames": (C, H, W, 3), "actions": (C - 1, A), "caption": text}, '
    '{"store": path, "episode": i, "t": t}, an env made with render_mode="rgb_array", '
    'one image ((H, W, 3) uint8 or a file), or {"prompt": text} alone'
)


@dataclass(frozen=True, kw_only=True)
class Context:
    """The last C frames before the first imagined one; C is at least 1 and at most the model's context."""

    frames: np.ndarray
    """(C, H, W, 3) uint8."""
    actions: np.ndarray
    """(C - 1, *A): ``actions[t]`` took ``frames[t]`` to ``frames[t + 1]``."""
    text: str
    """Where the frames came from."""
    caption: str = ""
    """What the frames show, if that is known; it holds until something else is asked for."""


def read_start(start: Any, model: WorldModel) -> Context:
    """Read any kind of start into a context that fits the model.

    Args:
        start: A Rollout, a mapping with ``frames`` (and ``actions``, ``caption``), a mapping with ``store``,
            ``episode`` and ``t`` (the moment of the last true frame), a start of a checkpoint, an env that renders, an
            image or its file.
        model: That is to continue it.

    Raises:
        EnvError: If it is none of these, or its frames have another size than the model's.
        ActionError: If its actions have another shape than the action space.
        StoreError: If the store, the episode or the moment does not exist.
    """
    spec, num_context = model.spec, model.config.num_context
    _, action_space = spec.spaces()
    frames, actions, text = _frames_of(start, num_context)
    frames = np.asarray(frames)
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or len(frames) == 0:
        raise EnvError(f"frames of a start must be (C, H, W, 3) uint8 RGB; got {frames.shape} {frames.dtype}")
    if frames.shape[1:3] != (spec.height, spec.width):
        raise EnvError(
            f"the model imagines {spec.height}x{spec.width} frames (height x width); the start has "
            f"{frames.shape[1]}x{frames.shape[2]}; resize it, or load a model of that size"
        )
    num_frames = min(len(frames), num_context)
    if num_frames == 1:
        actions = neutral_actions(action_space, 0)
    elif actions is None:
        raise EnvError(
            f"a start of {len(frames)} frames needs the {len(frames) - 1} actions between them; or give one frame"
        )
    elif len(actions) != len(frames) - 1:
        raise EnvError(f"a start of {len(frames)} frames needs {len(frames) - 1} actions; got {len(actions)}")
    else:
        actions = action_batch(actions[len(actions) - num_frames + 1 :], action_space, num_frames - 1)
    caption = start.get("caption", "") if isinstance(start, Mapping) else ""
    if not isinstance(caption, str):
        raise EnvError(f"the caption of a start is a text; got {type(caption).__name__}")
    return Context(frames=frames[-num_frames:].copy(), actions=actions, text=text, caption=caption)


def prompt_of(start: Any) -> Any:
    """Return the text of a start that is a text alone, or None for any other start."""
    return start["prompt"] if isinstance(start, Mapping) and set(start) == {"prompt"} else None


def imagine_contexts(
    model: WorldModel,
    prompts: Sequence[str],
    seeds: Sequence[int],
    factors: Sequence[Mapping[str, float] | None],
) -> list[Context]:
    """Return one context per prompt, of one frame that the model imagines; see `WorldModel.first_frames`.

    Raises:
        EnvError: If the model was not trained for it.
    """
    _, action_space = model.spec.spaces()
    return [
        Context(frames=frame[None], actions=neutral_actions(action_space, 0), text=f"imagined from {prompt!r}")
        for frame, prompt in zip(model.first_frames(prompts, seeds, factors=factors), prompts, strict=True)
    ]


def pad(context: Context, model: WorldModel) -> tuple[np.ndarray, np.ndarray]:
    """Return as many frames as the model's context, the first repeated in front, and the actions between them."""
    missing = model.config.num_context - len(context.frames)
    _, action_space = model.spec.spaces()
    frames = np.concatenate([np.repeat(context.frames[:1], missing, axis=0), context.frames])  # (C, H, W, 3)
    actions = np.concatenate([neutral_actions(action_space, missing), context.actions])  # (C - 1, *A)
    return frames, actions


def _frames_of(start: Any, num_context: int) -> tuple[Any, Any, str]:
    """Return (frames, actions or None, text) as they came; the caller checks them."""
    if isinstance(start, Start):
        return start.frames, start.actions, "a start of the checkpoint"
    if isinstance(start, Rollout):
        return start.obs, start.action, f"the end of a rollout of {start.env_id or 'an unnamed env'}"
    if isinstance(start, Mapping):
        return _frames_of_mapping(start, num_context)
    if isinstance(start, gym.Env):
        return _frame_of_env(start)[None], None, "the present frame of an env"
    if isinstance(start, str | Path):
        return _frame_of_file(Path(start))[None], None, f"the image {Path(start).name}"
    if isinstance(start, np.ndarray):
        if start.ndim != 3:
            raise EnvError(f"an image must be (H, W, 3) uint8 RGB; got {start.shape} {start.dtype}")
        return start[None], None, "one image"
    raise EnvError(f"a start is {_KINDS}; got {type(start).__name__}")


def _frames_of_mapping(start: Mapping[str, Any], num_context: int) -> tuple[Any, Any, str]:
    if "frames" in start and set(start) <= {"frames", "actions", "caption"}:
        return start["frames"], start.get("actions"), "given frames"
    if {"store", "episode"} <= set(start) <= {"store", "episode", "t"}:
        try:
            episode, t = operator.index(start["episode"]), operator.index(start.get("t", num_context - 1))
        except TypeError:
            raise EnvError(f"episode and t of a start must be whole numbers; got {dict(start)}") from None
        length = max(0, min(num_context - 1, t))
        obs, action, _ = RolloutStore.open(start["store"]).window(episode=episode, t=t - length, length=length)
        return obs, action, f"step {t} of episode {episode} of {Path(start['store']).name}"
    raise EnvError(f"a start is {_KINDS}; got a mapping with {', '.join(map(repr, start))}")


def _frame_of_env(env: gym.Env) -> np.ndarray:
    if env.render_mode != "rgb_array":
        raise EnvError(f'an env as a start must be made with render_mode="rgb_array"; this one has {env.render_mode!r}')
    return np.asarray(env.render())


def _frame_of_file(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except UnidentifiedImageError:
        raise EnvError(f"{path} is not an image; give a PNG or JPEG file, or {_KINDS}") from None
    except OSError as error:
        raise EnvError(f"the start image {path} cannot be read: {error.strerror or error}") from None
