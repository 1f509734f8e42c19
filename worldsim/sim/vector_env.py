"""N imagined streams as a native Gymnasium vector env: one model, one batch; every stream keeps its own noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from worldsim.errors import EnvError
from worldsim.model import Prediction, WorldState
from worldsim.sim.actions import action_batch, neutral_actions
from worldsim.sim.stream import (
    Snapshot,
    Stream,
    ask,
    begin,
    check_arguments,
    check_repaint,
    check_snapshot,
    open_model,
    read_prompt,
    torch_threads,
)
from worldsim.sim.tape import Tape
from worldsim.sim.uncertainty import Calibration, open_gauge

__all__ = ["WorldModelVectorEnv"]

_PER_STREAM = ("prompt", "start", "snapshot", "variation")


@dataclass(frozen=True, kw_only=True)
class _Moment:
    """All that the next steps of a batch depend on, automatic resets included."""

    state: WorldState
    frames: np.ndarray
    """(N, H, W, 3) uint8."""
    streams: tuple[Stream, ...]
    elapsed: np.ndarray
    """(N,)."""
    ended: np.ndarray
    """(N,) bool."""
    rngs: tuple[Mapping[str, Any], ...]
    """State of each stream's generator, which draws the starts to come."""


class WorldModelVectorEnv(VectorEnv[np.ndarray, Any, np.ndarray]):
    """N independent streams of one world model, imagined as one batch.

    A stream with seed s is what ``WorldModelEnv`` gives for seed s; ``reset(seed=s)`` seeds stream i with s + i.
    In reset options, ``prompt``, ``start``, ``snapshot`` and ``variation`` are one for all streams or a list with one
    (or None) for each; ``reset_mask`` (N,) bool resets only some. An automatic reset draws from the model's starts.

    Args:
        num_envs: Number of streams N.
        model: Name of a bundled model, path of a checkpoint, or a loaded model.
        env_id: The truth that the model must be of; None takes any.
        render_mode: None or ``rgb_array``.
        autoreset_mode: NEXT_STEP (the step after the end resets and ignores its action), SAME_STEP (the step that ends
            also resets; the last frame and info are ``final_obs`` and ``final_info``) or DISABLED (use ``reset_mask``).
        horizon: Steps after which an episode is truncated; None takes the truth's own limit.
        max_episode_steps: A second bound on the horizon, as ``gym.make_vec`` passes it.
        sampler_steps: Denoiser calls per frame; None takes the checkpoint's.
        guidance: How much stronger than learned a prompt acts, 0 to 10; see `WorldModel.step`.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: Torch threads during a call of the model; None leaves torch as it is.
        uncertainty: As in `WorldModelEnv`.
        uncertainty_limit: A step more uncertain than this quantile in [0, 1] truncates its episode; None never does.
        burnin: As in `WorldModelEnv`, in the infos of every reset, automatic ones too.
        repaint: As in `WorldModelEnv`; it takes time for every stream that gets a prompt.
        rewind_limit: Steps that ``rewind`` can go back. For them the whole batch is kept every 32 steps, about 3 MB per
            stream of a 64-pixel model, so 0 keeps nothing.

    Raises:
        CheckpointError: If the checkpoint is missing, damaged, or models another truth than ``env_id``.
        EnvError: If another argument is out of its range, or there is no such device.
    """

    def __init__(
        self,
        num_envs: int,
        model: Any,
        env_id: str | None = None,
        render_mode: str | None = None,
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        horizon: int | None = None,
        max_episode_steps: int | None = None,
        sampler_steps: int | None = None,
        guidance: float = 1.0,
        device: str = "cpu",
        threads: int | None = None,
        uncertainty: bool | str | Calibration = False,
        uncertainty_limit: float | None = None,
        burnin: bool = False,
        repaint: bool | None = None,
        rewind_limit: int = 0,
    ) -> None:
        if num_envs < 1:
            raise EnvError(f"num_envs must be at least 1; got {num_envs}")
        if rewind_limit < 0:
            raise EnvError(f"rewind_limit is a number of steps, 0 or more; got {rewind_limit}")
        if render_mode not in (None, "rgb_array"):
            raise EnvError(f"render_mode is None or 'rgb_array'; got {render_mode!r}")
        check_arguments(sampler_steps=sampler_steps, guidance=guidance, threads=threads)
        self.model = open_model(model, env_id, device)
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        horizon = self.model.spec.max_steps if horizon is None else horizon
        self.horizon = min(horizon, max_episode_steps or horizon)
        if self.horizon < 1:
            raise EnvError(f"horizon is a number of steps, at least 1; got {horizon}")
        self.sampler_steps = sampler_steps
        self.guidance = guidance
        self.threads = threads
        self.burnin = burnin
        self.repaint = check_repaint(self.model, repaint)
        self.rewind_limit = rewind_limit
        self._tape: Tape[_Moment] | None = None
        self._gauge = open_gauge(uncertainty, model, self.model)
        if uncertainty_limit is not None and (self._gauge is None or not 0 <= uncertainty_limit <= 1):
            raise EnvError(f"uncertainty_limit is a quantile in [0, 1] and needs uncertainty; got {uncertainty_limit}")
        self.uncertainty_limit = uncertainty_limit
        self.control_dt = self.model.spec.control_dt
        self.action_spec = self.model.spec.action_spec
        self.single_observation_space, self.single_action_space = self.model.spec.spaces()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.metadata = {
            "render_modes": ["rgb_array"],
            "render_fps": round(1 / self.control_dt),
            "autoreset_mode": self.autoreset_mode,
        }
        self._rngs = [seeding.np_random()[0] for _ in range(num_envs)]
        self._state: WorldState | None = None
        self._frames = np.zeros(self.observation_space.shape or (), np.uint8)  # (N, H, W, 3)
        self._streams = [Stream()] * num_envs
        self._elapsed = np.zeros(num_envs, np.int64)
        self._ended = np.zeros(num_envs, np.bool_)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode in every stream, or in those of ``options["reset_mask"]``.

        Raises:
            EnvError: If an option is unknown or does not fit, or the first reset leaves streams out.
            PromptError: If no word of a prompt was understood.
        """
        options = dict(options or {})
        mask = self._mask(options.pop("reset_mask", None))
        if self._state is None and not mask.all():
            raise EnvError("the first reset must be of every stream; leave reset_mask out")
        seeds = [seed] * self.num_envs if seed is None else seed
        seeds = [seeds + i for i in range(self.num_envs)] if isinstance(seeds, int) else list(seeds)
        if len(seeds) != self.num_envs:
            raise EnvError(f"seed is one number or {self.num_envs} of them; got {len(seeds)}")
        for i in np.flatnonzero(mask):
            if seeds[i] is not None:
                self._rngs[i] = seeding.np_random(seeds[i])[0]
        burnin = self._begin(mask, self._options_per_stream(options))
        self._begin_tape()
        return self._frames.copy(), self._infos(mask) | burnin

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Imagine the next frame of every stream under its action.

        Raises:
            ActionError: If the actions do not fit the action space.
            EnvError: Before a reset; or, with autoreset DISABLED, if a stream has ended and was not reset.
        """
        results = self._step(actions)
        if self._tape is not None:
            self._tape.record(actions, self._moment)
        return results

    def _step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        if self._state is None:
            raise EnvError("step() needs an episode; call reset() first")
        resetting = self._ended.copy()
        if resetting.any() and self.autoreset_mode is AutoresetMode.DISABLED:
            raise EnvError(
                f"streams {np.flatnonzero(resetting).tolist()} have ended; reset them with "
                'options={"reset_mask": ...}, or use another autoreset_mode'
            )
        stepping = ~resetting
        self._state, predicted, stepped_infos = self._imagine(self._state, actions, resetting)
        self._frames = predicted.frames.copy()
        self._elapsed += 1
        reward = np.where(stepping, predicted.reward, 0.0).astype(np.float64)
        terminate_prob = stepped_infos["terminate_prob"]
        terminated = stepping & (terminate_prob > self.model.terminate_threshold)
        truncated = stepping & (self._elapsed >= self.horizon)
        if self.uncertainty_limit is not None:
            truncated |= stepping & (stepped_infos["uncertainty"] > self.uncertainty_limit)
        ended = terminated | truncated
        infos: dict[str, Any] = {}
        if self.autoreset_mode is AutoresetMode.SAME_STEP and ended.any():
            final = np.full(self.num_envs, None, dtype=object)
            for i in np.flatnonzero(ended):
                final[i] = self._frames[i].copy()
            final_info = self._infos(ended) | _masked(stepped_infos, ended)
            infos = {
                "final_obs": final,
                "_final_obs": ended.copy(),
                "final_info": final_info,
                "_final_info": ended.copy(),
            }
            resetting = resetting | ended
        if resetting.any():
            infos |= self._begin(resetting, [{}] * self.num_envs)
        self._ended = ended & ~resetting
        infos |= self._infos(np.ones(self.num_envs, np.bool_)) | _masked(stepped_infos, ~resetting)
        return self._frames.copy(), reward, terminated, truncated, infos

    def render(self) -> tuple[np.ndarray, ...] | None:  # type: ignore[override]
        """Return the present frame of every stream, each (H, W, 3) uint8, or None without a render mode."""
        return tuple(frame.copy() for frame in self._frames) if self.render_mode == "rgb_array" else None

    def snapshot(self, indices: Sequence[int] | None = None) -> list[Snapshot]:
        """Return the present moment of each stream, or of the given ones; negative indices count from the end.

        Raises:
            EnvError: Before a reset, or if there is no such stream.
        """
        if self._state is None:
            raise EnvError("snapshot() needs an episode; call reset() first")
        return [
            Snapshot(
                state=self._state.take([i]),
                frame=self._frames[i].copy(),
                stream=self._streams[i],
                elapsed=int(self._elapsed[i]),
                ended=bool(self._ended[i]),
                model_sha=self.model.sha,
            )
            for i in self._rows(indices)
        ]

    def restore(self, snapshots: Sequence[Snapshot], indices: Sequence[int] | None = None) -> None:
        """Continue each stream, or the given ones, from a snapshot; one moment given N times is a branch into N.

        Raises:
            EnvError: If the numbers differ, there is no such stream or it is given twice, another model imagined a
                snapshot, or streams are left out before a reset.
        """
        rows = self._rows(indices)
        if len(set(rows)) < len(rows):
            raise EnvError(f"restore takes each stream once; got {indices}")
        if len(rows) != len(snapshots):
            raise EnvError(f"restore needs one snapshot per stream: {len(rows)} streams, {len(snapshots)} snapshots")
        for snapshot in snapshots:
            check_snapshot(snapshot, self.model)
        self._put(rows, WorldState.cat([snapshot.state for snapshot in snapshots]))
        for i, snapshot in zip(rows, snapshots, strict=True):
            self._frames[i], self._streams[i] = snapshot.frame, snapshot.stream
            self._elapsed[i], self._ended[i] = snapshot.elapsed, snapshot.ended
        self._begin_tape()

    def rewind(self, num_steps: int = 1) -> np.ndarray:
        """Take the whole batch back some steps, bit for bit, and return the frames (N, H, W, 3) shown then.

        Automatic resets on the way are undone too. A prompt that was set at that moment stays set.

        Raises:
            EnvError: If ``rewind_limit``, or the last call of reset or restore, is nearer than that.
        """
        if self._tape is None:
            raise EnvError(
                "rewind() needs an episode; call reset() first"
                if self.rewind_limit
                else "nothing was kept to rewind to; make the envs with rewind_limit=..."
            )
        moment, actions = self._tape.cut(num_steps)
        self._state, self._frames, self._streams = moment.state, moment.frames.copy(), list(moment.streams)
        self._elapsed, self._ended = moment.elapsed.copy(), moment.ended.copy()
        for rng, state in zip(self._rngs, moment.rngs, strict=True):
            rng.bit_generator.state = state
        for batch in actions:
            self._step(batch)
        return self._frames.copy()

    def set_prompt(self, prompt: str, mask: np.ndarray | None = None) -> list[str]:
        """Ask all streams, or those of a mask (N,) bool, for something else; see `WorldModelEnv.set_prompt`.

        Returns:
            The words that the model does not know.

        Raises:
            PromptError: If no word was understood.
        """
        if self._state is None:
            raise EnvError("set_prompt() needs an episode; call reset() first")
        mask = self._mask(mask)
        unknown = read_prompt(self.model, prompt)
        for i in np.flatnonzero(mask):
            self._streams[i] = replace(self._streams[i], prompt=prompt, prompt_unknown=unknown)
        with torch_threads(self.threads):
            self._state, streams = ask(self.model, self._state, self._streams, mask, repaint=self.repaint)
        self._streams, self._frames = list(streams), self.model.decode(self._state)
        if self._tape is not None:
            self._tape.mark(self._moment())
        return list(unknown)

    def _imagine(
        self, state: WorldState, actions: Any, ignored: np.ndarray
    ) -> tuple[WorldState, Prediction, dict[str, Any]]:
        """Return the next state, what was predicted, and what ``info`` says of the step, each entry (N,)."""
        batch = action_batch(actions, self.single_action_space, self.num_envs)  # (N, *A)
        neutral = neutral_actions(self.single_action_space, self.num_envs)
        batch = np.where(ignored.reshape(-1, *[1] * (batch.ndim - 1)), neutral, batch)
        with torch_threads(self.threads):
            next_state, predicted = self.model.step(
                state, batch, sampler_steps=self.sampler_steps, guidance=self.guidance
            )
            infos: dict[str, Any] = {"terminate_prob": predicted.terminate_prob.astype(np.float64)}
            if self._gauge is not None:
                infos |= self._gauge.info(state, batch, predicted.frames)
        return next_state, predicted, infos

    def _begin(self, mask: np.ndarray, options: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Begin an episode in the streams of ``mask``; return the burn-in that infos are to hold."""
        rows = np.flatnonzero(mask).tolist()
        with torch_threads(self.threads):
            begun = begin(self.model, [self._rngs[i] for i in rows], [options[i] for i in rows], repaint=self.repaint)
        self._put(rows, begun.state)
        self._frames[rows] = begun.frames
        self._elapsed[rows], self._ended[rows] = 0, False
        infos: dict[str, Any] = {}
        for i, stream, burnin in zip(rows, begun.streams, begun.burnin, strict=True):
            self._streams[i] = stream
            infos = self._add_info(infos, burnin if self.burnin else {}, i)
        return infos

    def _put(self, rows: Sequence[int] | np.ndarray, fresh: WorldState) -> None:
        """Put the streams of ``fresh`` into these rows of the batch."""
        if len(np.unique(rows)) == self.num_envs:
            self._state = fresh.take(np.argsort(rows))
        elif self._state is None:
            raise EnvError("without a reset every stream must be given")
        else:
            self._state = self._state.put(rows, fresh)

    def _begin_tape(self) -> None:
        if self.rewind_limit:
            self._tape = Tape(self._moment(), self.rewind_limit)

    def _moment(self) -> _Moment:
        assert self._state is not None
        return _Moment(
            state=self._state.compact(),
            frames=self._frames.copy(),
            streams=tuple(self._streams),
            elapsed=self._elapsed.copy(),
            ended=self._ended.copy(),
            rngs=tuple(rng.bit_generator.state for rng in self._rngs),
        )

    def _rows(self, indices: Sequence[int] | None) -> list[int]:
        """Return the streams that indices mean, each 0 to N - 1."""
        rows = np.arange(self.num_envs)
        try:
            return rows.tolist() if indices is None else rows[list(indices)].tolist()
        except IndexError:
            raise EnvError(f"there are the streams 0 to {self.num_envs - 1}; got {indices}") from None

    def _mask(self, mask: Any) -> np.ndarray:
        if mask is None:
            return np.ones(self.num_envs, np.bool_)
        if (
            not isinstance(mask, np.ndarray)
            or mask.shape != (self.num_envs,)
            or mask.dtype != np.bool_
            or not mask.any()
        ):
            raise EnvError(f"a mask of streams is a ({self.num_envs},) bool array with at least one True; got {mask!r}")
        return mask

    def _options_per_stream(self, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Split options that hold a list with one entry per stream; a None entry asks for nothing."""
        per_stream: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for name, value in options.items():
            values = list(value) if name in _PER_STREAM and isinstance(value, list | tuple) else [value] * self.num_envs
            if len(values) != self.num_envs:
                raise EnvError(f"option {name!r} is one for all or a list of {self.num_envs}; got {len(values)}")
            for i, one in enumerate(values):
                if one is not None:
                    per_stream[i][name] = one
        return per_stream

    def _infos(self, mask: np.ndarray) -> dict[str, Any]:
        """Return the infos of the streams in ``mask``, batched as Gymnasium does: every key k with its mask ``_k``."""
        infos: dict[str, Any] = {}
        for i in np.flatnonzero(mask):
            infos = self._add_info(infos, self._streams[i].info(), int(i))
        return infos


def _masked(infos: Mapping[str, Any], mask: np.ndarray) -> dict[str, Any]:
    """Return infos (N,) batched as Gymnasium does: zero outside the mask, and each key k with its mask ``_k``."""
    masked: dict[str, Any] = {}
    for key, value in infos.items():
        if mask.any():
            masked[key] = _masked(value, mask) if isinstance(value, Mapping) else np.where(mask, value, 0.0)
            masked[f"_{key}"] = mask.copy()
    return masked
