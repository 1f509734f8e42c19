"""How an imagined episode begins, for one stream or a batch of them; and the snapshot, the value that an env holds.

All that is random about a stream comes from its own generator: which start it draws, the seed of its noise. So stream i
of a batch is the stream that the same seed gives alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from worldsim.errors import CheckpointError, EnvError
from worldsim.model import WorldModel, WorldState, load
from worldsim.model.world_model import check_sampling
from worldsim.sim.start import Context, imagine_contexts, pad, prompt_of, read_start

__all__ = [
    "Begun",
    "Snapshot",
    "Stream",
    "ask",
    "begin",
    "check_arguments",
    "check_repaint",
    "check_snapshot",
    "open_model",
    "pick_device",
    "read_prompt",
    "torch_threads",
]

_OPTIONS = ("prompt", "start", "snapshot", "variation")


@dataclass(frozen=True, kw_only=True)
class Stream:
    """What one stream was asked to imagine."""

    prompt: str = ""
    prompt_unknown: tuple[str, ...] = ()
    """Words of the prompt that the model does not know."""
    start: str = ""
    """What it began from."""
    told: str = ""
    """What the model is told: the caption of a start, a prompt, or a prompt and what still holds of what was told."""

    def info(self) -> dict[str, Any]:
        """Return a fresh ``info`` that shares nothing with the stream."""
        return {
            "prompt": self.prompt,
            "prompt_unknown": list(self.prompt_unknown),
            "source": "imagined",
            "start": self.start,
        }


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A moment of one imagined stream: all that its next steps depend on, and the frame it shows. It can be pickled."""

    state: WorldState
    """Of one stream."""
    frame: np.ndarray
    """(H, W, 3) uint8, read-only."""
    stream: Stream
    elapsed: int
    """Steps since the reset."""
    ended: bool
    model_sha: str
    """Of the model that imagined it; another model cannot continue it."""

    def __post_init__(self) -> None:
        self.frame.setflags(write=False)


@dataclass(frozen=True, kw_only=True)
class Begun:
    """N streams at their first moment."""

    state: WorldState
    frames: np.ndarray
    """(N, H, W, 3) uint8: what each shows."""
    streams: tuple[Stream, ...]
    burnin: tuple[dict[str, np.ndarray], ...]
    """What came before, for policies with a memory: ``burnin_obs`` (C - 1, H, W, 3) and ``burnin_actions`` (C - 1, *A),
    the context without the frame shown. Empty for a snapshot, which does not hold it."""


@dataclass(frozen=True, kw_only=True)
class _Draw:
    """One stream before the model has seen it: a context or its text with a noise seed, or a snapshot."""

    stream: Stream
    """What it says that it was told is what its frames show; its prompt may ask for something else."""
    seed: int
    context: Context | None = None
    text: str | None = None
    """What the model is to imagine the context from."""
    snapshot: Snapshot | None = None
    factors: Mapping[str, float] | None = None
    is_asked: bool = False
    """Whether its prompt asks for something else than its frames show."""


def open_model(model: Any, env_id: str | None, device: str) -> WorldModel:
    """Return a loaded model, checked against the truth that the env stands for.

    Raises:
        CheckpointError: If there is no such checkpoint, or it models another truth than ``env_id``.
        EnvError: If there is no such device.
    """
    loaded = model if isinstance(model, WorldModel) else load(model).to(pick_device(device))
    if env_id is not None and env_id != loaded.spec.env_id:
        raise CheckpointError(
            f"{env_id} was asked for, but the checkpoint {loaded.name!r} models {loaded.spec.env_id}; "
            "give a checkpoint of that env, or use worldsim/Dream-v0, which takes any"
        )
    return loaded


def check_arguments(*, sampler_steps: int | None, guidance: float, threads: int | None) -> None:
    """Raise an EnvError if an argument that every imagined env takes is out of its range."""
    check_sampling(1 if sampler_steps is None else sampler_steps, guidance)
    if threads is not None and threads < 1:
        raise EnvError(f"threads is a number of torch threads, at least 1, or None; got {threads}")


def check_repaint(model: WorldModel, repaint: bool | None) -> bool:
    """Return whether prompts repaint the present frame; None takes the model's default.

    Raises:
        EnvError: If they are to, and the model has not learned first frames.
    """
    if repaint and not model.is_trained_for_first_frames:
        raise EnvError(
            f"the model {model.name!r} cannot repaint a frame; leave repaint out, or teach it with "
            "`worldsim train-first-frames`"
        )
    return model.repaints if repaint is None else repaint


def pick_device(device: str) -> str:
    """Return ``cpu`` or ``cuda`` for ``auto``, ``cpu`` or ``cuda``.

    Raises:
        EnvError: If it is none of these, or torch sees no GPU.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise EnvError(f"device is auto, cpu or cuda; got {device!r}")
    has_cuda = torch.cuda.is_available()
    if device == "cuda" and not has_cuda:
        raise EnvError(
            f"torch {torch.__version__} sees no CUDA device; use cpu or auto, or install a CUDA build of torch"
        )
    return "cuda" if has_cuda and device != "cpu" else "cpu"


def read_prompt(model: WorldModel, prompt: Any) -> tuple[str, ...]:
    """Return the words of a prompt that the model does not know, and warn once if there are any.

    Raises:
        PromptError: If it is not a text, is too long, or no word of it was understood.
    """
    _, unknown = model.understand(prompt)
    if unknown:
        warnings.warn(
            f"the model {model.name!r} does not know these words of the prompt: {', '.join(unknown)}", stacklevel=3
        )
    return tuple(unknown)


def begin(
    model: WorldModel,
    rngs: Sequence[np.random.Generator],
    options: Sequence[Mapping[str, Any]],
    *,
    repaint: bool = False,
) -> Begun:
    """Begin one stream per generator as its reset options ask.

    A generator gives the same numbers whatever is asked, so that the episodes after this one do not depend on it.

    Args:
        model: That imagines them.
        rngs: One per stream.
        options: One per stream.
        repaint: Whether what is known to show something else than its prompt is repainted; see `ask`.

    Raises:
        EnvError: If an option is unknown, is for the truth only, or does not fit the model.
        PromptError: If a prompt was not understood.
    """
    begun = [_draw(model, rng, option, repaint) for rng, option in zip(rngs, options, strict=True)]
    draws = _with_contexts(model, begun)
    fresh = [draw for draw in draws if draw.context is not None]
    parts = []
    padded = [pad(draw.context, model) for draw in fresh]  # type: ignore[arg-type]
    if fresh:
        parts.append(
            model.encode(
                np.stack([frames for frames, _ in padded]),  # (N, C, H, W, 3)
                np.stack([actions for _, actions in padded]),  # (N, C - 1, *A)
                num_frames=np.array([len(draw.context.frames) for draw in fresh]),  # type: ignore[union-attr]
                prompts=[draw.stream.told or None for draw in fresh],
                factors=[draw.factors for draw in fresh],
                seeds=np.array([draw.seed for draw in fresh], dtype=np.int64),
            )
        )
    parts += [draw.snapshot.state for draw in draws if draw.snapshot is not None]
    order = np.argsort([draw.snapshot is not None for draw in draws], kind="stable")  # row of parts -> stream
    state = WorldState.cat(parts).take(np.argsort(order))
    asked = np.array([draw.is_asked for draw in draws])
    state, streams = ask(model, state, [draw.stream for draw in draws], asked, repaint=repaint)
    before = iter([{"burnin_obs": obs[:-1], "burnin_actions": actions} for obs, actions in padded])
    burnin = tuple(next(before) if draw.context is not None else {} for draw in draws)
    return Begun(state=state, frames=model.decode(state), streams=streams, burnin=burnin)


def ask(
    model: WorldModel, state: WorldState, streams: Sequence[Stream], mask: np.ndarray, *, repaint: bool
) -> tuple[WorldState, tuple[Stream, ...]]:
    """Ask streams for what their prompts say, from their next frame on; return state and streams as they are then.

    Args:
        model: That imagines them.
        state: N streams.
        streams: Their prompts, and what they were told so far.
        mask: (N,) bool, which of them ask.
        repaint: Whether the last frame is to show it already; see `WorldModel.repaint`.
    """
    if not mask.any():
        return state, tuple(streams)
    prompts = [stream.prompt for stream in streams]
    wanted = prompts
    if repaint:
        told = [stream.told or None for stream in streams]
        wanted = [model.retold(text, prompt) for text, prompt in zip(told, prompts, strict=True)]
        state = model.repaint(state, wanted, told=told, mask=mask)
    else:
        state = model.set_prompt(state, prompts, mask)
    return state, tuple(
        replace(stream, told=text) if is_asked else stream
        for stream, text, is_asked in zip(streams, wanted, mask, strict=True)
    )


def check_snapshot(snapshot: Any, model: WorldModel) -> Snapshot:
    """Return the snapshot if this model can continue it.

    Raises:
        EnvError: If it is not a snapshot, or was imagined by another model.
    """
    if not isinstance(snapshot, Snapshot):
        raise EnvError(f"a snapshot is what env.unwrapped.snapshot() returned; got {type(snapshot).__name__}")
    if snapshot.model_sha != model.sha:
        raise EnvError(
            f"the snapshot was imagined by the model {snapshot.model_sha}, this env uses {model.sha} ({model.name}); "
            "use the frames as a start instead"
        )
    return snapshot


def _draw(model: WorldModel, rng: np.random.Generator, options: Mapping[str, Any], repaint: bool) -> _Draw:
    index, seed = int(rng.random() * len(model.starts)), int(rng.integers(2**31))
    for name in options:
        if name == "scenario" or (name == "variation" and not model.spec.factor_names):
            raise EnvError(
                f"an imagined world has no {name!r}; say it in options={{'prompt': ...}}, or give a start that has it"
            )
        if name not in _OPTIONS:
            raise EnvError(f"reset knows the options {', '.join(_OPTIONS)}; got {name!r}")
    prompt, start, snapshot, factors = (options.get(name) for name in _OPTIONS)
    if start is not None and snapshot is not None:
        raise EnvError("an episode begins from a start or from a snapshot; got both")
    text = prompt_of(start)
    if text is not None:
        prompt = text if prompt is None else prompt
    unknown = () if prompt is None else read_prompt(model, prompt)
    if text is not None and text != prompt:
        unknown = tuple(dict.fromkeys([*unknown, *read_prompt(model, text)]))
    if snapshot is not None and factors is not None:
        raise EnvError("a snapshot goes on with the factors it has; give a variation with a start")
    if snapshot is not None:
        snapshot = check_snapshot(snapshot, model)
        stream = snapshot.stream
        is_asked = prompt not in (None, stream.prompt)
        if is_asked:
            stream = replace(stream, prompt=prompt, prompt_unknown=unknown)
        return _Draw(stream=stream, seed=seed, snapshot=snapshot, is_asked=is_asked)
    if text is not None:
        stream = Stream(prompt=prompt or "", prompt_unknown=unknown, told=prompt or "")
        return _Draw(stream=stream, seed=seed, text=text, factors=factors)
    is_own = start is None
    if is_own:
        if not model.starts:
            raise EnvError(f"the model {model.name!r} has no starts of its own; give options={{'start': ...}}")
        index = index if prompt is None else model.nearest_start(prompt)
        start = model.starts[index]
        text = f"start {index} of {model.name}"
        context = replace(read_start(start, model), text=text, caption=start.caption.en)
    else:
        context = read_start(start, model)
    stream = Stream(prompt=prompt or "", prompt_unknown=unknown, start=context.text, told=prompt or context.caption)
    is_asked = False
    if prompt and repaint:
        is_asked = is_own  # a start that is given with a prompt shows what it says
        stream = replace(stream, told=context.caption if is_own else model.retold(context.caption, prompt))
    return _Draw(stream=stream, seed=seed, context=context, factors=factors, is_asked=is_asked)


def _with_contexts(model: WorldModel, draws: Sequence[_Draw]) -> list[_Draw]:
    """Return the draws with a context wherever one was to be imagined, all in one batch."""
    asked = [draw for draw in draws if draw.text is not None]
    if not asked:
        return list(draws)
    texts, seeds = [draw.text or "" for draw in asked], [draw.seed for draw in asked]
    contexts = iter(imagine_contexts(model, texts, seeds, [draw.factors for draw in asked]))
    done = []
    for draw in draws:
        if draw.text is not None:
            context = next(contexts)
            draw = replace(draw, context=context, stream=replace(draw.stream, start=context.text))
        done.append(draw)
    return done


@contextmanager
def torch_threads(num: int | None) -> Iterator[None]:
    """Run a block with ``num`` torch threads (None: as many as torch is set to), and put the old number back."""
    before = torch.get_num_threads()
    if num in (None, before):
        yield
        return
    torch.set_num_threads(num)
    try:
        yield
    finally:
        torch.set_num_threads(before)
