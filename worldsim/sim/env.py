"""One imagined stream as a Gymnasium env. It holds one value, a `Snapshot`; a step replaces it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import EzPickle

from worldsim.errors import EnvError
from worldsim.model import Prediction
from worldsim.sim.actions import action_batch
from worldsim.sim.stream import (
    Snapshot,
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
from worldsim.sim.uncertainty import Calibration, info_of_one, open_gauge

__all__ = ["WorldModelEnv"]


class WorldModelEnv(gym.Env[np.ndarray, Any], EzPickle):
    """A world that a video diffusion model imagines, step by step, as the actions say.

    ## Description
    The model looks back on the last frames and actions and gives the next frame, its reward and whether the episode
    ends.
    The truth that it learned from is not consulted.

    ## Action Space and Observation Space
    Exactly those of the truth that the checkpoint models (``env_id``); observations are (H, W, 3) uint8 RGB.

    ## Rewards
    What the model's reward head expects the truth to pay.

    ## Starting State
    ``reset(seed=...)`` draws one of the checkpoint's starts, which goes on as its caption says until there is a prompt,
    and the seed of the noise. ``options`` may hold:

    | option | means |
    |---|---|
    | ``prompt`` | English or Chinese text that conditions every frame; alone, it starts at the nearest caption, |
    | | which with ``repaint`` shows it |
    | ``start`` | a Rollout, ``{"frames", "actions"}``, ``{"store", "episode", "t"}``, an env that renders, an image, |
    | | or ``{"prompt": text}``: the model imagines the first frame too, if it was trained for it |
    | ``snapshot`` | a moment kept by ``snapshot()``, as the first moment of a new episode |

    ## Episode End
    ``terminated`` when the chance of an end is above the model's ``terminate_threshold``, which is 0.5 unless it was
    calibrated; ``truncated`` after ``horizon`` steps.

    ## Info
    ``prompt``, ``prompt_unknown`` (words that the model does not know), ``source`` ("imagined"), ``start`` (what it
    began from), and after a step ``terminate_prob``; with ``uncertainty`` also ``uncertainty``, a quantile in [0, 1]
    among held-out steps, and ``uncertainty_signs``, what it comes from.

    ## Arguments
    See below. Every one is a JSON value, unless a loaded model is given.

    ## Version History
    v0: first version.

    Args:
        model: Name of a bundled model, path of a checkpoint, or a loaded model.
        env_id: The truth that the model must be of; None takes any.
        render_mode: None or ``rgb_array``.
        horizon: Steps after which an episode is truncated; None takes the truth's own limit.
        sampler_steps: Denoiser calls per frame; None takes the checkpoint's.
        guidance: How much stronger than learned a prompt acts, 0 to 10; see `WorldModel.step`.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: Torch threads during a call of the model; None leaves torch as it is. One stream is fastest on one.
        uncertainty: Say in ``info`` how far a step can be trusted, at about six times the work: True takes the
            calibration beside the checkpoint, a path another one.
        burnin: Let a reset's ``info`` hold ``burnin_obs`` (C - 1, H, W, 3) and ``burnin_actions`` (C - 1, *A), what the
            model saw before the first frame, for policies with a memory.
        repaint: Let the present frame show at once what a new prompt asks for, and keep what it leaves out of what was
            told before; None takes the model's default, which of the bundled ones the city's do. Otherwise a prompt is
            all that the model is told, and what it asks for comes over the next frames.

    Raises:
        CheckpointError: If the checkpoint is missing, damaged, or models another truth than ``env_id``.
        EnvError: If another argument is out of its range, or there is no such device.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(
        self,
        model: Any,
        env_id: str | None = None,
        render_mode: str | None = None,
        *,
        horizon: int | None = None,
        sampler_steps: int | None = None,
        guidance: float = 1.0,
        device: str = "cpu",
        threads: int | None = 1,
        uncertainty: bool | str | Calibration = False,
        burnin: bool = False,
        repaint: bool | None = None,
    ) -> None:
        options = {
            "horizon": horizon,
            "sampler_steps": sampler_steps,
            "guidance": guidance,
            "device": device,
            "threads": threads,
            "uncertainty": uncertainty,
            "burnin": burnin,
            "repaint": repaint,
        }
        EzPickle.__init__(self, model, env_id, render_mode, **options)
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise EnvError(f"render_mode is None or 'rgb_array'; got {render_mode!r}")
        check_arguments(sampler_steps=sampler_steps, guidance=guidance, threads=threads)
        self.model = open_model(model, env_id, device)
        self.render_mode = render_mode
        self.horizon = self.model.spec.max_steps if horizon is None else horizon
        if self.horizon < 1:
            raise EnvError(f"horizon is a number of steps, at least 1; got {horizon}")
        self.sampler_steps = sampler_steps
        self.guidance = guidance
        self.threads = threads
        self.burnin = burnin
        self.repaint = check_repaint(self.model, repaint)
        self._gauge = open_gauge(uncertainty, model, self.model)
        self.control_dt = self.model.spec.control_dt
        self.action_spec = self.model.spec.action_spec
        self.observation_space, self.action_space = self.model.spec.spaces()
        self.metadata = {**self.metadata, "render_fps": round(1 / self.control_dt)}
        self._now: Snapshot | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode and return the last frame before the first imagined one.

        Raises:
            EnvError: If an option is unknown or does not fit the model.
            PromptError: If no word of the prompt was understood.
        """
        super().reset(seed=seed)
        with torch_threads(self.threads):
            begun = begin(self.model, [self.np_random], [options or {}], repaint=self.repaint)
        self._now = Snapshot(
            state=begun.state,
            frame=begun.frames[0],
            stream=begun.streams[0],
            elapsed=0,
            ended=False,
            model_sha=self.model.sha,
        )
        self._tape = Tape(self._now)
        return self._now.frame.copy(), self._now.stream.info() | (begun.burnin[0] if self.burnin else {})

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Imagine the next frame under an action.

        Raises:
            ActionError: If the action does not fit the action space.
            EnvError: Before a reset, or after the end of the episode.
        """
        now = self._present("step")
        if now.ended:
            raise EnvError("the episode has ended; call reset() before the next step")
        actions = action_batch([action], self.action_space, 1)  # (1, *A)
        self._now, predicted = self._after(now, actions)
        self._tape.record(actions[0], self._moment)
        terminate_prob = float(predicted.terminate_prob[0])
        terminated, truncated = terminate_prob > self.model.terminate_threshold, self._now.elapsed >= self.horizon
        info = {**now.stream.info(), "terminate_prob": terminate_prob}
        if self._gauge is not None:
            with torch_threads(self.threads):
                info |= info_of_one(self._gauge.info(now.state, actions, predicted.frames))
        return self._now.frame.copy(), float(predicted.reward[0]), terminated, truncated, info

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """Return the present frame (H, W, 3) uint8, or None without a render mode."""
        return self._present("render").frame.copy() if self.render_mode == "rgb_array" else None

    def snapshot(self) -> Snapshot:
        """Return the present moment as a value, to be pickled, or restored here or in another env of the same model."""
        return self._present("snapshot")

    def restore(self, snapshot: Snapshot) -> None:
        """Continue from a snapshot, bit for bit, its count of steps included.

        Raises:
            EnvError: If another model imagined it.
        """
        self._now = check_snapshot(snapshot, self.model)
        self._tape = Tape(self._now)

    def rewind(self, num_steps: int = 1) -> np.ndarray:
        """Go back some steps, bit for bit, and return the frame (H, W, 3) shown then.

        A prompt that was set at that moment stays set.

        Raises:
            EnvError: If the last reset or restore is nearer than that.
        """
        self._present("rewind")
        now, actions = self._tape.cut(num_steps)
        for action in actions:
            now, _ = self._after(now, action[None])
        self._now = now
        return now.frame.copy()

    def branch(self, n: int) -> list[WorldModelEnv]:
        """Return n independent envs at the present moment; they share the loaded model.

        They also share the noise to come: under the same actions they stay equal.
        """
        now = self._present("branch")
        envs = []
        for _ in range(n):
            env = WorldModelEnv(
                self.model,
                render_mode=self.render_mode,
                horizon=self.horizon,
                sampler_steps=self.sampler_steps,
                guidance=self.guidance,
                threads=self.threads,
                uncertainty=self._gauge.calibration if self._gauge else False,
                burnin=self.burnin,
                repaint=self.repaint,
            )
            env.restore(now)
            envs.append(env)
        return envs

    def set_prompt(self, text: str) -> list[str]:
        """Ask for something else; returns the words that the model does not know.

        It comes from the next frame on, or with ``repaint`` in the present one, as `render` shows, which takes longer
        than a step.

        Raises:
            PromptError: If no word was understood.
        """
        now = self._present("set_prompt")
        unknown = read_prompt(self.model, text)
        stream = replace(now.stream, prompt=text, prompt_unknown=unknown)
        with torch_threads(self.threads):
            state, (stream,) = ask(self.model, now.state, [stream], np.array([True]), repaint=self.repaint)
        self._now = replace(now, state=state, frame=self.model.decode(state)[0], stream=stream)
        self._tape.mark(self._now)
        return list(unknown)

    def _after(self, now: Snapshot, actions: np.ndarray) -> tuple[Snapshot, Prediction]:
        """Return the moment after one step under actions (1, *A), and what was predicted."""
        with torch_threads(self.threads):
            state, predicted = self.model.step(
                now.state, actions, sampler_steps=self.sampler_steps, guidance=self.guidance
            )
        elapsed = now.elapsed + 1
        ended = float(predicted.terminate_prob[0]) > self.model.terminate_threshold or elapsed >= self.horizon
        return replace(now, state=state, frame=predicted.frames[0].copy(), elapsed=elapsed, ended=ended), predicted

    def _moment(self) -> Snapshot:
        now = self._present("step")
        return replace(now, state=now.state.compact())

    def _present(self, call: str) -> Snapshot:
        if self._now is None:
            raise EnvError(f"{call}() needs an episode; call reset() first")
        return self._now
