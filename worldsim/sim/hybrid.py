"""The hybrid: a truth owns the state, a renderer draws what is seen of it.

Cameras, rewards, ends, events and collisions are the truth's own, exactly; the frame is a diffusion model's, drawn from
a plain picture of the same moment and from the frame that it drew before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.utils import EzPickle

from worldsim.errors import EnvError
from worldsim.model import PLAIN_MODES, Renderer, compute_dtype, load_renderer
from worldsim.sim.stream import check_arguments, pick_device, torch_threads
from worldsim.sim.tape import Tape

__all__ = ["HybridEnv", "HybridSnapshot"]

Obs = np.ndarray | dict[str, np.ndarray]
"""A frame, or arrays by key."""


@dataclass(frozen=True, kw_only=True)
class HybridSnapshot:
    """A moment: the truth's own, and what the renderer showed and needs. It can be pickled."""

    truth: Any
    """What the truth's own ``snapshot()`` returned."""
    frames: np.ndarray
    """(C, H, W, 3) uint8, what each camera showed, read-only."""
    cameras: tuple[str, ...]
    seed: int
    """Of the noise."""
    elapsed: int
    """Steps since the first frame that was drawn upon nothing; the noise is keyed by it."""
    renderer_sha: str
    begun: int = 0
    """``elapsed`` when the episode began: more than 0 if it began from a snapshot."""

    def __post_init__(self) -> None:
        self.frames.setflags(write=False)


class HybridEnv(gym.Env[Obs, Any], EzPickle):
    """A true world, seen through a renderer.

    ## Description
    The truth steps; instead of its frame it shows plain colours, depth and sorts of bodies, all out of one picture, and
    the numbers of light and weather. A diffusion model draws the frame from these and from the frame before.

    ## Action Space and Observation Space
    Exactly those of the truth under the same arguments. What is "rgb" in an observation is drawn; depth, masks, states
    and ranges are the truth's.

    ## Rewards, Starting State and Episode End
    Those of the truth, reset options included: a prompt changes the truth, and what it changes there is drawn. A
    ``snapshot`` of a hybrid goes on with the frame that it showed; the truth's own snapshot is drawn anew. The count of
    steps to ``horizon`` is part of the moment: it is restored, rewound and branched with it.

    ## Info
    The truth's; with ``truth_obs`` also ``truth_obs``, what the truth would have shown: {"rgb/camera": frame}.

    ## Arguments
    See below. Every one is a JSON value, unless a loaded renderer is given.

    ## Version History
    v0: first version.

    Args:
        model: Name of a bundled renderer, path of a checkpoint or run, or a loaded renderer.
        env_id: The truth; None takes the one that the renderer learned from.
        render_mode: None or ``rgb_array``, which shows the first camera.
        horizon: Steps after which an episode is truncated; None takes the truth's own limit.
        obs_modes, cameras: As the truth takes them.
        sampler_steps: Denoiser calls per frame; None takes the checkpoint's.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: Torch threads during a call of the renderer; None leaves torch as it is.
        precision: ``float32``, ``bfloat16``, or ``auto``: bfloat16 where the processor has instructions for it, which
            is several times faster and moves few pixels by a level.
        truth_obs: Let ``info`` hold what the truth would have shown, at the cost of drawing it.
        truth: Further arguments of the truth, such as ``task``.

    Raises:
        CheckpointError: If the checkpoint is missing or damaged.
        EnvError: If the truth cannot be made or does not show what the renderer draws from, or an argument is out of
            its range.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - Gymnasium's name and form

    def __init__(
        self,
        model: Any,
        env_id: str | None = None,
        render_mode: str | None = None,
        *,
        horizon: int | None = None,
        obs_modes: Sequence[str] = ("rgb",),
        cameras: Sequence[str] = ("front",),
        sampler_steps: int | None = None,
        device: str = "cpu",
        threads: int | None = 1,
        precision: str = "auto",
        truth_obs: bool = False,
        **truth: Any,
    ) -> None:
        options = {
            "horizon": horizon,
            "obs_modes": obs_modes,
            "cameras": cameras,
            "sampler_steps": sampler_steps,
            "device": device,
            "threads": threads,
            "precision": precision,
            "truth_obs": truth_obs,
        }
        EzPickle.__init__(self, model, env_id, render_mode, **options, **truth)
        self._arguments = {"env_id": env_id, "render_mode": render_mode, **options, **truth}
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise EnvError(f"render_mode is None or 'rgb_array'; got {render_mode!r}")
        if precision not in ("auto", "float32", "bfloat16"):
            raise EnvError(f"precision is auto, float32 or bfloat16; got {precision!r}")
        if horizon is not None and horizon < 1:
            raise EnvError(f"horizon is a number of steps, at least 1; got {horizon}")
        check_arguments(sampler_steps=sampler_steps, guidance=1.0, threads=threads)
        device = pick_device(device)
        self.model = model if isinstance(model, Renderer) else load_renderer(model).to(device)
        self.render_mode = render_mode
        self.sampler_steps, self.threads = sampler_steps, threads
        self.bfloat16 = precision == "bfloat16" or (precision == "auto" and compute_dtype(device) == torch.bfloat16)
        self.truth_obs = truth_obs
        made = self._make_truth(env_id, obs_modes, cameras, truth)
        self.truth: Any = made.unwrapped
        limit = made.spec.max_episode_steps if made.spec else None
        self.horizon = limit if horizon is None else horizon
        self._cameras = tuple(cameras)
        self._wanted = tuple(obs_modes)
        self._is_frame = False
        inner = self.truth.observation_space
        assert isinstance(inner, gym.spaces.Dict)
        frame = gym.spaces.Box(0, 255, (self.model.spec.height, self.model.spec.width, 3), np.uint8)
        drawn = {f"rgb/{name}": frame for name in self._cameras} if "rgb" in self._wanted else {}
        spaces = {**{key: space for key, space in inner.items() if self._is_shown(key)}, **drawn}
        self._is_frame = list(spaces) == list(drawn) and len(drawn) == 1
        self.observation_space: gym.Space = frame if self._is_frame else gym.spaces.Dict(spaces)
        self.action_space = self.truth.action_space
        self.metadata = {**self.metadata, "render_fps": self.truth.metadata.get("render_fps", 10)}
        for name in ("control_dt", "physics_dt", "action_spec", "policies"):
            if hasattr(self.truth, name):
                setattr(self, name, getattr(self.truth, name))
        self._frames: np.ndarray | None = None

    def _make_truth(
        self, env_id: str | None, obs_modes: Sequence[str], cameras: Sequence[str], truth: Mapping[str, Any]
    ) -> gym.Env:
        spec = self.model.spec
        env_id = env_id or spec.env_id
        hidden = dict.fromkeys([*(mode for mode in obs_modes if mode != "rgb"), *PLAIN_MODES])
        modes = [*(["rgb"] if self.truth_obs else []), *hidden]
        kwargs = {**spec.env_kwargs, **truth, "obs_modes": modes, "cameras": cameras}
        if not obs_modes or isinstance(obs_modes, str) or len(set(obs_modes)) < len(obs_modes):
            raise EnvError(f"obs_modes must be a list of the modes of {env_id}, each once; got {obs_modes!r}")
        try:
            env = gym.make(env_id, disable_env_checker=True, **kwargs)
        except TypeError as error:
            raise EnvError(f"{env_id} cannot be drawn: it takes no obs_modes, or no {list(truth)} ({error})") from None
        space = env.observation_space
        assert isinstance(space, gym.spaces.Dict)
        shape = space[f"plain/{cameras[0]}"].shape
        if shape != (spec.height, spec.width, 3):
            env.close()
            raise EnvError(
                f"the renderer {self.model.name!r} draws frames of {spec.height}x{spec.width} pixels; {env_id} was "
                f"asked for {shape}; leave height and width out"
            )
        return env

    @property
    def scene_card(self) -> dict[str, Any]:
        """Return the truth's."""
        return self.truth.scene_card

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Obs, dict[str, Any]]:
        """Begin an episode of the truth, and draw its first moment.

        Raises:
            EnvError: If an option is unknown, or a snapshot is of another renderer or other cameras.
            PromptError: If no word of the prompt was understood.
        """
        super().reset(seed=seed)
        options = dict(options or {})
        moment = options.get("snapshot")
        if isinstance(moment, HybridSnapshot):
            options["snapshot"] = self._checked(moment).truth
        obs, info = self.truth.reset(seed=seed, options=options)
        noise_seed = int(self.np_random.integers(2**31))
        if isinstance(moment, HybridSnapshot):
            self._take(moment)
        else:
            self._frames, self._seed, self._elapsed = None, noise_seed, 0
            self._frames = self._draw(obs)
        self._begun = self._elapsed
        self._tape = Tape(self.snapshot())
        return self._shown(obs), self._told(obs, info)

    def step(self, action: Any) -> tuple[Obs, float, bool, bool, dict[str, Any]]:
        """Advance the truth by one control step, and draw what it shows.

        Raises:
            ActionError: If the action does not fit the action space.
            EnvError: Before a reset, or after the end of the episode.
        """
        obs, reward, terminated, truncated, info = self._advance(action)
        self._tape.record(action, self.snapshot)
        return self._shown(obs), reward, terminated, truncated, self._told(obs, info)

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """Return the present frame of the first camera (H, W, 3) uint8, or None without a render mode."""
        frames = self._present("render")
        return frames[0].copy() if self.render_mode == "rgb_array" else None

    def snapshot(self) -> HybridSnapshot:
        """Return the present moment as a value, to be pickled, or restored here or in another hybrid."""
        frames = self._present("snapshot")
        return HybridSnapshot(
            truth=self.truth.snapshot(),
            frames=frames.copy(),
            cameras=self._cameras,
            seed=self._seed,
            elapsed=self._elapsed,
            renderer_sha=self.model.sha,
            begun=self._begun,
        )

    def restore(self, snapshot: HybridSnapshot) -> None:
        """Continue from a snapshot, bit for bit, its frames and count of steps included.

        Raises:
            EnvError: If it is of another renderer or other cameras.
        """
        self.truth.restore(self._checked(snapshot).truth)
        self._take(snapshot)
        self._tape = Tape(snapshot)

    def rewind(self, num_steps: int = 1) -> np.ndarray:
        """Go back some steps, bit for bit, and return the frame (H, W, 3) that the first camera showed then.

        Raises:
            EnvError: If the last reset or restore is nearer than that.
        """
        self._present("rewind")
        moment, actions = self._tape.cut(num_steps)
        self.truth.restore(moment.truth)
        self._take(moment)
        for action in actions:
            self._advance(action)
        return self._present("rewind")[0].copy()

    def branch(self, n: int) -> list[HybridEnv]:
        """Return n independent envs at the present moment; they share the loaded renderer."""
        now = self.snapshot()
        envs = [HybridEnv(self.model, **self._arguments) for _ in range(n)]
        for env in envs:
            env.restore(now)
        return envs

    def set_prompt(self, text: str) -> list[str]:
        """Change the truth in mid-episode as a prompt says; returns the words that it cannot express.

        Raises:
            PromptError: If no word was understood.
        """
        self._present("set_prompt")
        unknown = self.truth.set_prompt(text)
        self._tape.mark(self.snapshot())
        return unknown

    def export_scene(self, path: str) -> None:
        """Write what the truth holds now as one GLB file."""
        self.truth.export_scene(path)

    def close(self) -> None:
        """Close the truth."""
        self.truth.close()

    def _advance(self, action: Any) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self.truth.step(action)
        self._elapsed += 1
        self._frames = self._draw(obs)
        is_late = self.horizon is not None and self._elapsed - self._begun >= self.horizon
        return obs, reward, terminated, truncated or is_late, info

    def _draw(self, obs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return what the cameras show, (C, H, W, 3) uint8; camera c has the noise of seed + c."""
        num = len(self._cameras)
        with torch_threads(self.threads):
            return self.model.draw(
                {mode: np.stack([obs[f"{mode}/{name}"] for name in self._cameras]) for mode in PLAIN_MODES},
                self._frames,
                seeds=self._seed + np.arange(num),
                steps=np.full(num, self._elapsed),
                sampler_steps=self.sampler_steps,
                bfloat16=self.bfloat16,
            )

    def _shown(self, obs: Mapping[str, np.ndarray]) -> Obs:
        frames = self._present("step")
        if self._is_frame:
            return frames[0].copy()
        drawn = {f"rgb/{name}": frame.copy() for name, frame in zip(self._cameras, frames, strict=True)}
        shown = {key: value for key, value in obs.items() if self._is_shown(key)}
        return {**shown, **drawn} if "rgb" in self._wanted else shown

    def _is_shown(self, key: str) -> bool:
        """Return whether a key of the truth's observation is one that was asked for; frames are drawn instead."""
        mode, stroke, _ = key.partition("/")
        return mode != "rgb" and (not stroke or mode in self._wanted)

    def _told(self, obs: Mapping[str, np.ndarray], info: dict[str, Any]) -> dict[str, Any]:
        if not self.truth_obs:
            return info
        return {**info, "truth_obs": {f"rgb/{name}": obs[f"rgb/{name}"] for name in self._cameras}}

    def _take(self, snapshot: HybridSnapshot) -> None:
        self._frames, self._seed = snapshot.frames.copy(), snapshot.seed
        self._elapsed, self._begun = snapshot.elapsed, snapshot.begun

    def _checked(self, snapshot: Any) -> HybridSnapshot:
        if not isinstance(snapshot, HybridSnapshot):
            raise EnvError(f"restore needs a HybridSnapshot from snapshot(); got {type(snapshot).__name__}")
        if snapshot.renderer_sha != self.model.sha or snapshot.cameras != self._cameras:
            raise EnvError(
                f"the snapshot is of the renderer {snapshot.renderer_sha} and the cameras {snapshot.cameras}; this env "
                f"has {self.model.sha} and {self._cameras}; its `truth` can be drawn anew: "
                "reset(options={'snapshot': snapshot.truth})"
            )
        return snapshot

    def _present(self, call: str) -> np.ndarray:
        if self._frames is None:
            raise EnvError(f"{call}() needs an episode; call reset() first")
        return self._frames
