"""The world model: a denoiser, a sampler, heads, and an explicit state. ``step(state, action) -> (state, prediction)``.

A `WorldState` is a value: keep it, copy it, branch it, store it. Nothing that a step depends on lives anywhere else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import nn

from worldsim.errors import ActionError, EnvError, PromptError
from worldsim.model.denoiser import MAX_AGE
from worldsim.model.exclusions import Exclusions
from worldsim.model.first_frame import FirstFrameNet
from worldsim.model.frame import FrameDenoiser
from worldsim.model.memory import Memory
from worldsim.model.networks import Networks, from_pixels, to_pixels
from worldsim.model.noise import keyed_noise
from worldsim.model.parts import in_parts
from worldsim.model.precision import autocast, compute_dtype
from worldsim.model.prediction import Imagined, Prediction
from worldsim.model.presets import ModelConfig
from worldsim.model.sampler import sample_frame
from worldsim.model.spec import ModelSpec, encode_actions, encode_factors
from worldsim.model.state import WorldState
from worldsim.rollout import Caption

__all__ = ["MAX_GUIDANCE", "Start", "WorldModel", "check_sampling"]

MAX_GUIDANCE = 10.0
_FIRST_FRAME_NOISE, _EDIT_NOISE = 255, 254  # numbers that no sampler step of an env step has
_EDIT_STEPS = 8
_EDIT_GUIDANCE = 2.0


@dataclass(frozen=True, kw_only=True)
class Start:
    """A context from which an imagined episode begins."""

    frames: np.ndarray
    """(C, H, W, 3) uint8."""
    actions: np.ndarray
    """(C - 1, ...) in the units of the action space."""
    caption: Caption


@dataclass(kw_only=True)
class WorldModel:
    """A world that a model imagines.

    The frame, reward and end of a step follow from the state and the action alone: `encode` frames into a state,
    `step` it, `decode` what it shows; `rollout` and `imagine` do many steps under actions or under a policy.
    """

    networks: Networks
    spec: ModelSpec
    config: ModelConfig
    starts: Sequence[Start] = ()
    name: str = "untrained"
    sha: str = ""
    """First 12 hex digits of the sha256 of the weights file."""
    path: Path | None = None
    """Directory that it was loaded from."""
    card: Mapping[str, Any] = field(default_factory=dict)
    """Data card: what it was trained on."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    """The rest of config.json: git sha, versions, env fingerprint."""
    terminate_scale: float = 1.0
    """Temperature of the termination head: its logit times this, plus ``terminate_bias``, is a calibrated log-odds."""
    terminate_bias: float = 0.0
    first_frame_net: FirstFrameNet | None = None
    """What draws first frames from text alone; most models have nothing of the kind."""
    exclusions: Exclusions | None = None
    """Which words of a prompt take the place of which; it comes with what draws first frames."""

    def __post_init__(self) -> None:
        self.networks.eval().requires_grad_(False)
        if self.first_frame_net is not None:
            self.first_frame_net.eval().requires_grad_(False)
        self._hold()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.networks.denoiser.position.device

    @property
    def dtype(self) -> torch.dtype:
        """In which matrices and kernels are held and multiplied; see `compute_dtype`."""
        return self.networks.denoiser.patchify.weight.dtype

    def _hold(self) -> None:
        """Hold matrices and kernels in what their device multiplies fast: no call needs a copy of them then."""
        dtype = compute_dtype(self.device)
        for module in self.networks.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                module.to(dtype)

    @property
    def num_parameters(self) -> int:
        """Number of trained values, text encoder included, without what draws first frames."""
        return sum(p.numel() for p in self.networks.parameters())

    def to(self, device: str | torch.device) -> WorldModel:
        """Move the weights and return the model."""
        self.networks.to(device)
        if self.first_frame_net is not None:
            self.first_frame_net.to(device)
        self._hold()
        self.__dict__.pop("_denoiser", None)
        return self

    @cached_property
    def _denoiser(self) -> FrameDenoiser:
        """Made at the first step, from the weights as they are then."""
        with torch.inference_mode():
            return FrameDenoiser(self.networks.denoiser)

    def spaces(self) -> tuple[gym.spaces.Box, gym.Space]:
        """Return the observation and action space of the world."""
        return self.spec.spaces()

    def understand(self, prompt: str) -> tuple[list[str], list[str]]:
        """Return the known and the unknown words of a prompt.

        Raises:
            PromptError: If no word is known.
        """
        try:
            return self.networks.text.understand(prompt)
        except PromptError as error:
            seen = sorted({start.caption for start in self.starts}, key=lambda caption: len(caption.en))
            if not seen:
                raise
            middle = seen[len(seen) // 3]  # neither the tersest nor the longest
            raise PromptError(f"{error}; it learned from captions such as {middle.en!r} and {middle.zh!r}") from None

    @property
    def terminate_threshold(self) -> float:
        """Probability above which a step is taken for an end: what the head's own 0.5 is worth once it is calibrated.

        The chance of an end is spread over the steps at which it may come, each of which may be far below 0.5.
        """
        return 1 / (1 + math.exp(-self.terminate_bias))

    @property
    def is_trained_for_first_frames(self) -> bool:
        """Whether `first_frames` can imagine a first frame; `worldsim train-first-frames` teaches it."""
        return self.first_frame_net is not None

    @property
    def repaints(self) -> bool:
        """Whether a prompt repaints the present frame of an imagined world unless something else is asked for."""
        return self.first_frame_net is not None and self.first_frame_net.config.repaint

    def nearest_start(self, prompt: str) -> int:
        """Return the index of the start whose caption shares most words with a prompt (rare words count more)."""
        vocabulary = self.networks.text.vocabulary
        captions = [
            set(vocabulary.encode(start.caption.en)) | set(vocabulary.encode(start.caption.zh)) for start in self.starts
        ]
        wanted = set(vocabulary.encode(prompt))
        weight = {token: np.log((1 + len(captions)) / (1 + sum(token in c for c in captions))) for token in wanted}
        return int(np.argmax([sum(weight[token] for token in wanted & caption) for caption in captions]))

    @torch.inference_mode()
    def encode(
        self,
        frames: np.ndarray,
        actions: np.ndarray,
        *,
        prompts: Sequence[str | None],
        seeds: Sequence[int] | np.ndarray,
        num_frames: Sequence[int] | np.ndarray | None = None,
        factors: Sequence[Mapping[str, float] | None] | None = None,
    ) -> WorldState:
        """Return the state after a context of known frames.

        Args:
            frames: (N, C, H, W, 3) uint8; the last ``num_context`` are used, and if there are fewer the first is
                repeated and marked as padding.
            actions: (N, C - 1, ...) in the units of the action space.
            prompts: Text or None per stream.
            seeds: Noise seed per stream.
            num_frames: (N,) how many of the last frames are real; all of them if None.
            factors: Values by name per stream, for a model that knows factors.

        Raises:
            EnvError: If the frames have another size or type, the numbers of prompts, seeds and factors are not N, or
                a factor is unknown.
            ActionError: If an action is not in the space.
        """
        frames = np.asarray(frames)
        size = (self.spec.height, self.spec.width, 3)
        if frames.ndim != 5 or frames.shape[2:] != size or frames.dtype != np.uint8 or 0 in frames.shape[:2]:
            raise EnvError(
                f"{self.name} starts from (N, C, {size[0]}, {size[1]}, 3) uint8 frames; "
                f"got {frames.shape} {frames.dtype}"
            )
        batch, num_given = frames.shape[:2]
        counts = {len(prompts), len(seeds), batch if factors is None else len(factors)}
        if counts != {batch}:
            raise EnvError(
                f"{batch} streams need as many prompts, seeds and sets of factors; got {len(prompts)} prompts, "
                f"{len(seeds)} seeds" + ("" if factors is None else f" and {len(factors)} sets of factors")
            )
        real = np.full(batch, num_given) if num_frames is None else np.asarray(num_frames)
        if real.shape != (batch,) or (real < 1).any() or (real > num_given).any():
            raise EnvError(f"num_frames must be {batch} numbers in 1 to {num_given}; got {real}")
        if np.shape(actions)[:2] != (batch, num_given - 1):
            raise ActionError(
                f"{num_given} frames need ({batch}, {num_given - 1}, ...) actions; got shape {np.shape(actions)}"
            )
        encoded = encode_actions(self.spec, actions, batch_ndim=2)  # (N, C - 1, A)

        window = self.config.num_context
        frames, encoded = frames[:, -window:].copy(), encoded[:, -(window - 1) :]
        missing = window - frames.shape[1]
        if missing:
            frames = np.concatenate([np.repeat(frames[:, :1], missing, axis=1), frames], axis=1)
            encoded = np.concatenate([np.zeros((batch, missing, encoded.shape[2]), np.float32), encoded], axis=1)
        num_padding = np.maximum(window - real, 0)  # (N,)
        for i, padding in enumerate(num_padding):
            frames[i, :padding] = frames[i, padding]
            encoded[i, :padding] = 0
        padded = np.arange(1, window)[None] <= num_padding[:, None]  # (N, P)

        told = self._encode_factors([None] * batch if factors is None else factors)
        text = torch.cat([self.encode_text(prompts), told], dim=1)
        ages = torch.from_numpy(np.where(padded, MAX_AGE + 1, 0))
        return WorldState(
            memory=self._remember(frames, encoded, ages, text),
            frames=torch.from_numpy(frames[:, [-1, -2]].copy()).to(self.device),
            text=text,
            age=torch.zeros(batch, dtype=torch.long),
            step_count=torch.zeros(batch, dtype=torch.long),
            seeds=torch.as_tensor(np.asarray(seeds, dtype=np.int64)),
        )

    @torch.inference_mode()
    def first_frames(
        self,
        prompts: Sequence[str | None],
        seeds: Sequence[int] | np.ndarray,
        *,
        factors: Sequence[Mapping[str, float] | None] | None = None,
        sampler_steps: int | None = None,
        guidance: float | None = None,
    ) -> np.ndarray:
        """Imagine first frames (N, H, W, 3) uint8, one per prompt, from text alone.

        A frame is a function of its prompt, its factors and its seed, whatever its company.

        Args:
            prompts: Text or None per frame.
            seeds: Noise seed per frame.
            factors: Values by name per frame, for a model that knows factors.
            sampler_steps: Steps from noise to a frame; the checkpoint's default if None.
            guidance: How much stronger than learned a prompt acts, 0 to 10, where any value but 1 doubles the work; the
                checkpoint's default if None.

        Raises:
            EnvError: If the model was not trained for it, a factor is unknown, the numbers of prompts, seeds and
                factors differ, or ``sampler_steps`` or ``guidance`` is out of range.
        """
        net = self._painter(
            "begin from text alone; give a start, or a prompt without one, which begins at the nearest caption; or"
        )
        num_steps = net.config.sampler_steps if sampler_steps is None else sampler_steps
        strength = net.config.guidance if guidance is None else guidance
        check_sampling(num_steps, strength)
        told = [None] * len(prompts) if factors is None else factors
        if not len(prompts) == len(seeds) == len(told) or not prompts:
            raise EnvError(
                f"first_frames takes one seed, and one set of factors, per prompt, and at least one prompt; got "
                f"{len(prompts)} prompts, {len(seeds)} seeds and {len(told)} sets of factors"
            )
        text = self.first_frame_text(self.networks.text.features(prompts), words=net.config.words)
        condition = torch.cat([text, self._encode_factors(told)], dim=1)  # (N, C)
        keys = np.asarray(seeds, dtype=np.int64)
        noise = keyed_noise(keys, np.zeros_like(keys), _FIRST_FRAME_NOISE, net.codes.shape).to(self.device)
        frames = torch.empty((len(keys), self.spec.height, self.spec.width, 3), dtype=torch.uint8, device=self.device)

        def imagine(rows: slice) -> None:
            with torch.inference_mode(), self._precision():
                frames[rows] = net.draw(noise[rows], condition[rows], num_steps=num_steps, guidance=strength)

        if self.device.type == "cpu":
            in_parts(imagine, len(keys))
        else:
            imagine(slice(None))
        return frames.cpu().numpy()

    def retold(self, told: str | None, prompt: str) -> str:
        """Return a prompt together with all that was told before and still holds; see `Exclusions`."""
        vocabulary = self.networks.text.vocabulary
        known = self.exclusions or Exclusions(vocabulary, np.zeros((len(vocabulary), len(vocabulary)), np.bool_))
        return known.retold(told, prompt)

    def edit(
        self,
        clips: np.ndarray,
        prompts: Sequence[str],
        *,
        seeds: Sequence[int] | np.ndarray,
        told: Sequence[str | None] | None = None,
        strength: float = 1.0,
        sampler_steps: int = _EDIT_STEPS,
        guidance: float = _EDIT_GUIDANCE,
    ) -> np.ndarray:
        """Return clips as they would look if their prompts held, by what draws first frames; shapes stay.

        All frames of a clip are edited alike, each by itself. What the prompt does not touch of what was told stays.

        Args:
            clips: (N, T, H, W, 3) uint8, seen or imagined.
            prompts: What is asked for, per clip.
            seeds: Noise seed per clip.
            told: A caption of each clip as it is, or None; none at all if None. With it much less is changed that was
                not asked for.
            strength: In 0 to 1: from how far back towards noise a frame comes. 0 changes nothing, 1 most.
            sampler_steps: Steps on that way.
            guidance: How much stronger than learned the difference between the texts acts, 0 to 10.

        Raises:
            EnvError: If the model was not trained for first frames, the clips have another size or type, the numbers
                differ, or ``strength``, ``sampler_steps`` or ``guidance`` is out of range.
        """
        before = [None] * len(prompts) if told is None else list(told)
        counts = {len(clips), len(prompts), len(seeds), len(before)}
        size = (self.spec.height, self.spec.width, 3)
        if np.ndim(clips) != 5 or np.shape(clips)[2:] != size or np.asarray(clips).dtype != np.uint8:
            raise EnvError(
                f"{self.name} edits clips of (N, T, {size[0]}, {size[1]}, 3) uint8 frames; got {np.shape(clips)} "
                f"{np.asarray(clips).dtype}"
            )
        if len(counts) > 1:
            raise EnvError(
                f"{len(clips)} clips need as many prompts, seeds and captions; got {len(prompts)} prompts, "
                f"{len(seeds)} seeds and {len(before)} captions"
            )
        wanted = [self.retold(text, prompt) for text, prompt in zip(before, prompts, strict=True)]
        keys = np.asarray(seeds, dtype=np.int64)
        pixels = torch.from_numpy(np.ascontiguousarray(clips)).to(self.device)
        return (
            self._edited(
                pixels,
                before,
                wanted,
                keys,
                np.zeros_like(keys),
                strength=strength,
                num_steps=sampler_steps,
                guidance=guidance,
            )
            .cpu()
            .numpy()
        )

    @torch.inference_mode()
    def _edited(
        self,
        clips: torch.Tensor,
        told: Sequence[str | None],
        wanted: Sequence[str],
        seeds: np.ndarray,
        step_counts: np.ndarray,
        *,
        strength: float = 1.0,
        num_steps: int = _EDIT_STEPS,
        guidance: float = _EDIT_GUIDANCE,
    ) -> torch.Tensor:
        """Return (N, T, H, W, 3) clips as they would look if something else had been told."""
        net = self._painter("edit what it sees;")
        check_sampling(num_steps, guidance)
        if not 0 <= strength <= 1:
            raise EnvError(f"strength is in 0 to 1; got {strength!r}")
        if not clips.numel():
            return clips
        both = [
            self.first_frame_text(self.networks.text.features(texts), words=net.config.words)
            for texts in (told, wanted)
        ]
        factors = self._encode_factors([None] * len(wanted))
        before, after = (torch.cat([text, factors], dim=1) for text in both)  # (N, C)
        noise = keyed_noise(seeds, step_counts, _EDIT_NOISE, (num_steps, *net.codes.shape)).to(self.device)
        clip = torch.arange(len(clips)).repeat_interleave(clips.shape[1])  # (N T,)
        frames = clips.flatten(0, 1)
        edited = torch.empty_like(frames)

        def edit(rows: slice) -> None:
            of = clip[rows].to(self.device)
            with torch.inference_mode(), self._precision():
                edited[rows] = net.edit(
                    frames[rows],
                    before[of],
                    after[of],
                    noise[of].transpose(0, 1),
                    strength=strength,
                    guidance=guidance,
                )

        if self.device.type == "cpu":
            in_parts(edit, len(frames))
        else:
            edit(slice(None))
        return edited.view_as(clips)

    def _painter(self, what: str) -> FirstFrameNet:
        if self.first_frame_net is None:
            raise EnvError(f"the model {self.name!r} cannot {what} teach it with `worldsim train-first-frames`")
        return self.first_frame_net

    @torch.inference_mode()
    def step(
        self, state: WorldState, actions: np.ndarray, *, sampler_steps: int | None = None, guidance: float = 1.0
    ) -> tuple[WorldState, Prediction]:
        """Imagine one step of every stream.

        Args:
            state: N streams; it is not changed.
            actions: (N, ...) in the units of the action space.
            sampler_steps: Denoiser calls for the frame; the checkpoint's default if None.
            guidance: How much stronger than learned a prompt acts, 0 to 10; any value but 1 doubles the work where
                there is a prompt.

        Raises:
            ActionError: If an action is not in the space.
            EnvError: If the state has no stream, or ``sampler_steps`` or ``guidance`` is out of range.
        """
        num_steps = self.config.sampler_steps if sampler_steps is None else sampler_steps
        check_sampling(num_steps, guidance)
        if state.num_streams == 0:
            raise EnvError("the state has no stream that could be stepped")
        if len(actions) != state.num_streams:
            raise ActionError(f"{state.num_streams} streams need as many actions; got {len(actions)}")
        encoded = torch.from_numpy(encode_actions(self.spec, actions)).to(self.device)[:, None]  # (N, 1, A)
        if guidance != 1 and not state.text.any():
            guidance = 1.0  # there is nothing to strengthen
        room, memory = state.memory.to(self.dtype).room()
        frames = torch.empty_like(state.frames)  # (N, 2, H, W, 3)
        scalars = torch.empty(state.num_streams, 2, device=self.device)

        def imagine(rows: slice) -> None:
            with torch.inference_mode():
                noise = None
                if num_steps > 1:
                    shape = (1, 3, self.spec.height, self.spec.width)
                    noise = keyed_noise(state.seeds[rows].numpy(), state.step_count[rows].numpy(), 0, shape)
                out = sample_frame(
                    self._denoiser,
                    None if noise is None else noise.to(self.device),
                    num_steps=num_steps,
                    previous=from_pixels(state.frames[rows])[:, None],
                    action=encoded[rows],
                    age=state.age[rows, None].to(self.device),
                    text=state.text[rows, None],
                    cache=room[:, :, :, rows],
                    guidance=guidance,
                )
                frames[rows, 0], frames[rows, 1] = to_pixels(out.frame[:, 0]), state.frames[rows, 0]
                scalars[rows, 0], scalars[rows, 1] = out.reward[:, 0], out.terminate[:, 0]

        if self.device.type == "cpu":
            in_parts(imagine, state.num_streams)
        else:
            imagine(slice(None))
        new_state = replace(
            state,
            memory=memory,
            frames=frames,
            age=(state.age + 1).clamp_max(MAX_AGE),
            step_count=state.step_count + 1,
        )
        terminate = self.terminate_scale * scalars[:, 1] + self.terminate_bias
        return new_state, Prediction(
            pixels=frames[:, 0],
            reward=scalars[:, 0].cpu().numpy(),
            terminate_prob=terminate.sigmoid().cpu().numpy(),
        )

    def decode(self, state: WorldState) -> np.ndarray:
        """Return the frames that a state shows, (N, H, W, 3) uint8; the arrays are the caller's own."""
        return state.frames[:, 0].cpu().numpy().copy()

    def rollout(
        self, state: WorldState, actions: np.ndarray, *, sampler_steps: int | None = None, guidance: float = 1.0
    ) -> tuple[WorldState, Imagined]:
        """Imagine under given actions. Nothing ends: ``terminate_prob`` says where the world would have.

        Args:
            state: N streams; it is not changed.
            actions: (N, T, *A) with T at least 1.
            sampler_steps, guidance: As in `step`.

        Raises:
            ActionError: If there are no actions, or one is not in the space.
            EnvError: If ``sampler_steps`` or ``guidance`` is out of range.
        """
        actions = np.asarray(actions)
        if actions.ndim < 2 or actions.shape[1] < 1:
            raise ActionError(f"rollout takes (N, T, *A) actions with T at least 1; got shape {actions.shape}")
        predictions = []
        for t in range(actions.shape[1]):
            state, predicted = self.step(state, actions[:, t], sampler_steps=sampler_steps, guidance=guidance)
            predictions.append(predicted)
        return state, Imagined(actions=actions, predictions=predictions)

    def imagine(
        self,
        state: WorldState,
        policy: Callable[[np.ndarray], np.ndarray],
        num_steps: int,
        *,
        sampler_steps: int | None = None,
        guidance: float = 1.0,
    ) -> tuple[WorldState, Imagined]:
        """Imagine under a policy that sees every frame. Nothing ends, as in `rollout`.

        Args:
            state: N streams; it is not changed.
            policy: ``policy(frames (N, H, W, 3) uint8) -> actions (N, *A)``.
            num_steps: T, at least 1.
            sampler_steps, guidance: As in `step`.

        Raises:
            ActionError: If an action is not in the space.
            EnvError: If ``num_steps``, ``sampler_steps`` or ``guidance`` is out of range.
        """
        if num_steps < 1:
            raise EnvError(f"num_steps must be at least 1; got {num_steps}")
        frames, actions, predictions = self.decode(state), [], []
        for _ in range(num_steps):
            actions.append(np.array(policy(frames)))
            state, predicted = self.step(state, actions[-1], sampler_steps=sampler_steps, guidance=guidance)
            frames = predicted.frames
            predictions.append(predicted)
        return state, Imagined(actions=np.stack(actions, axis=1), predictions=predictions)

    @torch.inference_mode()
    def set_prompt(
        self, state: WorldState, prompts: Sequence[str | None], mask: Sequence[bool] | np.ndarray | None = None
    ) -> WorldState:
        """Return the state with new prompts, from the next step on.

        Args:
            state: N streams.
            prompts: Text or None per stream.
            mask: (N,) which streams change; all if None.
        """
        chosen = torch.ones(state.num_streams, dtype=torch.bool) if mask is None else torch.as_tensor(np.asarray(mask))
        dim = self.config.text_dim
        text = torch.where(chosen[:, None].to(self.device), self.encode_text(prompts), state.text[:, :dim])
        return replace(state, text=torch.cat([text, state.text[:, dim:]], dim=1))

    @torch.inference_mode()
    def repaint(
        self,
        state: WorldState,
        wanted: Sequence[str],
        *,
        told: Sequence[str | None],
        mask: Sequence[bool] | np.ndarray | None = None,
    ) -> WorldState:
        """Return the state with new prompts, whose last frame shows them already; see `edit`.

        The memory stays, so that the street goes on as it was.

        Args:
            state: N streams.
            wanted: What each stream is to be told, as `retold` says it of a prompt.
            told: What each stream has been told so far, or None.
            mask: (N,) which streams change; all if None.

        Raises:
            EnvError: If the model was not trained for first frames.
        """
        chosen = np.ones(state.num_streams, np.bool_) if mask is None else np.asarray(mask)
        rows = np.flatnonzero(chosen).tolist()
        at = torch.as_tensor(rows, dtype=torch.long)
        seen = state.frames[at.to(state.frames.device)]  # (n, 2, H, W, 3)
        edited = self._edited(
            seen[:, :1],
            [told[i] for i in rows],
            [wanted[i] for i in rows],
            state.seeds[at].numpy(),
            state.step_count[at].numpy(),
        )
        change = edited.short() - seen[:, :1].short()  # of the last frame; the one before hardly differs
        frames = state.frames.clone()
        frames[at.to(frames.device)] = (seen.short() + change).clamp(0, 255).to(torch.uint8)
        return replace(self.set_prompt(state, wanted, chosen), frames=frames)

    @torch.inference_mode()
    def set_factors(
        self,
        state: WorldState,
        factors: Sequence[Mapping[str, float] | None],
        mask: Sequence[bool] | np.ndarray | None = None,
    ) -> WorldState:
        """Return the state with new factors, from the next step on.

        Args:
            state: N streams.
            factors: Values by name per stream; what is not named is not given.
            mask: (N,) which streams change; all if None.

        Raises:
            EnvError: If the model does not know a factor.
        """
        chosen = torch.ones(state.num_streams, dtype=torch.bool) if mask is None else torch.as_tensor(np.asarray(mask))
        dim = self.config.text_dim
        told = torch.where(chosen[:, None].to(self.device), self._encode_factors(factors), state.text[:, dim:])
        return replace(state, text=torch.cat([state.text[:, :dim], told], dim=1))

    def _remember(self, frames: np.ndarray, encoded: np.ndarray, ages: torch.Tensor, text: torch.Tensor) -> Memory:
        """Return the memory behind (N, C, H, W, 3) frames, their (N, C - 1, A) encoded actions and ages."""
        batch, window = frames.shape[:2]
        shape = self.networks.denoiser.cache_shape(batch, window - 1)
        cache = torch.empty(shape, dtype=self.dtype, device=self.device)

        def remember(rows: slice) -> None:
            pixels = from_pixels(torch.from_numpy(frames[rows]).to(self.device))  # (n, C, 3, H, W)
            before = torch.cat([pixels[:, :1], pixels[:, : window - 2]], dim=1)
            with torch.inference_mode(), self._precision():
                cache[rows] = self.networks.denoiser.remember(
                    torch.stack([pixels[:, :-1], before], dim=2),
                    torch.from_numpy(encoded[rows]).to(self.device),
                    ages[rows].to(self.device),
                    text[rows, None].expand(-1, window - 1, -1),
                )

        if self.device.type == "cpu":
            in_parts(remember, batch)
        else:
            remember(slice(None))
        return Memory.of(cache)

    @torch.inference_mode()
    def encode_text(self, prompts: Sequence[str | None]) -> torch.Tensor:
        """Return (N, C) what the networks are told of prompts; zeros for None."""
        return self._encode_features(self.networks.text.features(prompts).to(self.device))

    def first_frame_text(self, features: torch.Tensor, *, words: bool) -> torch.Tensor:
        """Return (N, C) what a network for first frames is told of prompts; zeros for none.

        Args:
            features: (N, F) of the text encoder.
            words: Whether it hears plain words too, which come first.
        """
        features = features.to(self.device)
        encoded = self._encode_features(features)
        return torch.cat([self.networks.text.plain(features), encoded], dim=1) if words else encoded

    def _encode_features(self, features: torch.Tensor) -> torch.Tensor:
        with torch.no_grad(), self._precision():
            return self.networks.text(features).float()

    def _encode_factors(self, factors: Sequence[Mapping[str, float] | None]) -> torch.Tensor:
        return torch.from_numpy(encode_factors(self.spec, factors, strict=True)).to(self.device)

    def _precision(self) -> AbstractContextManager[object]:
        return autocast(self.device, self.dtype)


def check_sampling(num_steps: int, guidance: float) -> None:
    """Raise an EnvError if a number of denoiser calls or a guidance is out of its range."""
    if not 0 <= guidance <= MAX_GUIDANCE:
        raise EnvError(f"guidance must be 0 to {MAX_GUIDANCE:g}; got {guidance!r}")
    if num_steps < 1:
        raise EnvError(f"sampler_steps must be at least 1; got {num_steps}")
