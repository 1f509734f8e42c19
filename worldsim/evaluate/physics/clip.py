"""A clip of a true world with everything the simulator knows about it, and how a model continues it.

A clip is F = C + T frames: C that the model sees (frame C - 1 is the last) and T that it has to imagine. It begins at
the reset, so that the physics is still to come. The truth is asked only for what its protocol names: ``info``,
``scene_card``, and, where the env has them, ``bodies``, ``trajectory``, ``contacts``, ``masks()`` and ``snapshot()``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np

from worldsim.collect.policies import policies_of
from worldsim.errors import EnvError
from worldsim.model import WorldModel
from worldsim.rollout import control_dt_of

__all__ = ["NEUTRAL", "Body", "Clip", "Touch", "imagine_clips", "noise_seed", "record_clip", "record_from"]

NOTHING = 255
"""Value of a mask where no named body is seen."""
NEUTRAL = 0.25
"""Colours of the palette less saturated than this belong to surroundings, not to objects."""
UPRIGHT = frozenset({
    "free_fall", "two_drops", "projectile", "rolling", "ramp", "collision_1d", "solid_wall", "occlusion", "pendulum",
    "double_pendulum", "stack", "dominoes", "support_removal",
})  # fmt: skip
"""Scenarios of the bench whose objects move in a vertical plane across the view; elsewhere they keep to the floor."""


@dataclass(frozen=True, kw_only=True)
class Body:
    """What is known about a body before it moves."""

    name: str
    shape: str
    """``ball``, ``box`` or another word."""
    half: tuple[float, float, float]
    """Half extents in metres; a ball's radius thrice."""
    color: str
    """Name in the palette."""
    mass: float
    """kg; 0 = fixed, or moved by a motor."""

    @property
    def radius(self) -> float:
        """Half of its height, metres."""
        return self.half[2]


@dataclass(frozen=True)
class Touch:
    """Two bodies that began to touch."""

    time_s: float
    """Seconds since the clip's first frame."""
    first: str
    second: str
    impulse: float = 0.0
    """N s."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """F true frames, C of them context, and what the simulator says about them."""

    env_id: str
    scenario: str
    split: str
    seed: int
    policy: str
    num_context: int
    """C; ``frames[C - 1]`` is the last frame that a model sees."""
    frames: np.ndarray
    """(F, H, W, 3) uint8, all of them true."""
    actions: np.ndarray
    """(F - 1, ...); ``actions[t]`` leads from frame t to t + 1."""
    dt: float
    """Seconds per frame."""
    caption: Mapping[str, str]
    """Texts in English and Chinese, by ``en`` and ``zh``, at frame C - 1."""
    variation: Mapping[str, Any]
    palette: Mapping[str, tuple[int, int, int]]
    """Colours under white light by name."""
    bodies: Mapping[str, Body]
    state: Mapping[str, np.ndarray]
    """Body to (F, 13): position m, quaternion xyzw, velocity m/s, angular velocity rad/s; NaN while it is away."""
    gravity: np.ndarray
    """(F,) m/s2, downwards."""
    K: np.ndarray
    """(3, 3) pixels."""
    c2w: np.ndarray
    """(F, 4, 4) metres, OpenCV axes."""
    normal: tuple[float, float, float] = (0.0, 0.0, 1.0)
    """Of the plane in which bodies move; it passes through where a body is in frame C - 1."""
    fine: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Rows as in ``state`` at the simulator's own rate, (1 + R (F - 1), 13); empty where it does not tell."""
    contacts: tuple[Touch, ...] = ()
    events: tuple[tuple[int, str], ...] = ()
    """Frame and text."""
    mask_names: tuple[str, ...] = ()
    masks: np.ndarray | None = None
    """(F, H, W) uint8, index into ``mask_names``, NOTHING where none is seen."""
    goal: tuple[float, ...] | None = None
    """Where the first object is to be brought, metres."""
    snapshot: Any = None
    """The true world at frame C - 1, for re-simulation; None if it cannot be saved."""

    def __len__(self) -> int:
        """Return F, the number of frames."""
        return len(self.frames)

    @property
    def horizon(self) -> int:
        """T, the number of frames to imagine."""
        return len(self.frames) - self.num_context

    @property
    def height(self) -> int:
        """Rows of a frame."""
        return self.frames.shape[1]

    @property
    def width(self) -> int:
        """Columns of a frame."""
        return self.frames.shape[2]

    @property
    def context(self) -> np.ndarray:
        """The frames that a model sees, (C, H, W, 3)."""
        return self.frames[: self.num_context]

    @property
    def future(self) -> np.ndarray:
        """The true frames that it does not see, (T, H, W, 3)."""
        return self.frames[self.num_context :]

    @property
    def context_actions(self) -> np.ndarray:
        """Actions between the context's frames, (C - 1, ...)."""
        return self.actions[: self.num_context - 1]

    @property
    def future_actions(self) -> np.ndarray:
        """Actions from the last context frame on, (T, ...)."""
        return self.actions[self.num_context - 1 :]

    @property
    def objects(self) -> tuple[Body, ...]:
        """Bodies that move and have a colour of their own: what is followed, in the order of their names."""
        movable = (body for name, body in sorted(self.bodies.items()) if body.mass > 0)
        return tuple(body for body in movable if _saturation(self.palette[body.color]) > NEUTRAL)

    @property
    def fine_dt(self) -> float:
        """Seconds per row of ``fine``; the frames' own if there are none."""
        rows = next(iter(self.fine.values()), None)
        return self.dt if rows is None else self.dt * (len(self) - 1) / (len(rows) - 1)

    def mask(self, name: str) -> np.ndarray:
        """Return where a body is seen, (F, H, W) bool.

        Raises:
            EnvError: If the clip was recorded without masks, or not with this body.
        """
        if self.masks is None or name not in self.mask_names:
            raise EnvError(f"this clip has masks of {', '.join(self.mask_names) or 'nothing'}; not of {name!r}")
        return self.masks == self.mask_names.index(name)

    def with_future(self, future: np.ndarray) -> np.ndarray:
        """Return the true context followed by given frames, (F, H, W, 3) uint8.

        Raises:
            EnvError: If they are not T frames of the clip's size.
        """
        if future.shape != self.future.shape or future.dtype != np.uint8:
            raise EnvError(
                f"the continuation of a clip must be {self.future.shape} uint8; got {future.shape} {future.dtype}"
            )
        return np.concatenate([self.context, future])


def _saturation(color: Sequence[int]) -> float:
    return (max(color) - min(color)) / max(*color, 1)


# ---- recording


def record_clip(
    env: gym.Env,
    scenario: str | None,
    seed: int,
    *,
    num_context: int = 16,
    horizon: int = 32,
    policy: str | None = None,
    split: str = "train",
    variation: Mapping[str, Any] | None = None,
    actions: np.ndarray | None = None,
) -> Clip:
    """Record a clip from a true world's reset on.

    Args:
        env: A true world; left open.
        scenario: Name of one of its scenarios; None if it has none.
        seed: Env seed; the policy is made from it too.
        num_context: C, frames that a model sees.
        horizon: T, frames after them.
        policy: Name of one of the env's policies; None takes ``expert`` where it exists and the scenario is one that is
            acted in, so that passive physics stays undisturbed, else ``noop``, else ``mixture``.
        split: Where the scenario's factors are drawn from; only asked for with a scenario.
        variation: Factors to set. On the bench None is {"change": "none"}: a law needs a gravity that stays.
        actions: (F - 1, ...) to give instead of a policy's.

    Raises:
        EnvError: If the world ends before the clip does, or the actions have another length.
    """
    truth = env.unwrapped
    options: dict[str, Any] = {}
    if scenario is not None:
        wished = {"change": "none"} if variation is None else dict(variation)
        options = {"scenario": scenario, "variation": {**wished, "split": split}}
    elif variation:
        options = {"variation": dict(variation)}
    policies = policies_of(env)
    name = policy or _fitting_policy(truth, scenario, policies)
    if name not in policies:
        raise EnvError(f"policy must be one of {', '.join(policies)}; got {name!r}")
    act = policies[name](seed)
    steps = num_context + horizon - 1
    if actions is not None and len(actions) != steps:
        raise EnvError(f"a clip of {steps + 1} frames needs {steps} actions; got {len(actions)}")
    obs, info = env.reset(seed=seed, options=options or None)
    tape = _Tape(truth, obs, info)
    snapshot = None
    for t in range(steps):
        if t == num_context - 1:
            snapshot = _snapshot(truth)
        action = act(tape.obs, tape.info) if actions is None else actions[t]
        tape.step(env, np.asarray(action))
    return tape.clip(
        env_id=env.spec.id if env.spec else type(truth).__name__,
        scenario=scenario or "",
        split=split,
        seed=seed,
        policy=name if actions is None else "given",
        num_context=num_context,
        snapshot=snapshot,
    )


def record_from(env: gym.Env, clip: Clip, actions: np.ndarray) -> Clip:
    """Record the same episode with other actions after the context; every frame up to it is the same.

    Args:
        env: The clip's true world.
        clip: Where the context comes from.
        actions: (T, ...) after the context.
    """
    given = np.concatenate([clip.context_actions, np.asarray(actions, clip.actions.dtype)])
    kept = {name: value for name, value in clip.variation.items() if name not in ("scenario", "split")}
    return record_clip(
        env,
        clip.scenario or None,
        clip.seed,
        num_context=clip.num_context,
        horizon=len(actions),
        split=clip.split,
        variation=kept if clip.scenario else None,
        actions=given,
    )


def _fitting_policy(truth: Any, scenario: str | None, policies: Mapping[str, Any]) -> str:
    acts = getattr(truth, "scene_card", {}).get("scenarios", {}).get(scenario, {}).get("acts", ("?",))
    wished = "noop" if list(acts) == ["impulse"] else "expert"
    return wished if wished in policies else "mixture"


def _snapshot(truth: Any) -> Any:
    take: Callable[[], Any] | None = getattr(truth, "snapshot", None)
    return take() if take else None


class _Tape:
    """What is gathered while an episode runs."""

    def __init__(self, truth: Any, obs: np.ndarray, info: Mapping[str, Any]) -> None:
        self._truth = truth
        self._frames: list[np.ndarray] = []
        self._infos: list[Mapping[str, Any]] = []
        self._masks: list[dict[str, np.ndarray]] = []
        self._actions: list[np.ndarray] = []
        self._keep(obs, info)

    @property
    def obs(self) -> np.ndarray:
        return self._frames[-1]

    @property
    def info(self) -> Mapping[str, Any]:
        return self._infos[-1]

    def _keep(self, obs: np.ndarray, info: Mapping[str, Any]) -> None:
        self._frames.append(np.asarray(obs))
        self._infos.append(info)
        if masks := getattr(self._truth, "masks", None):
            self._masks.append(masks())

    def step(self, env: gym.Env, action: np.ndarray) -> None:
        obs, _, terminated, truncated, info = env.step(action)
        self._actions.append(action)
        self._keep(obs, info)
        if terminated:
            raise EnvError(f"the true world ended after {len(self._actions)} steps; take another seed")
        if truncated:
            raise EnvError(f"the true world's time limit came after {len(self._actions)} steps; take a shorter clip")

    def clip(self, num_context: int, scenario: str, **fields: Any) -> Clip:
        card = getattr(self._truth, "scene_card", {})
        infos = self._infos
        now = infos[num_context - 1]
        names = list(infos[0].get("state", {}))
        mask_names = tuple(self._masks[0]) if self._masks else ()
        goal = now.get("task", {}).get("goal")
        camera = [info.get("camera") for info in infos]
        return Clip(
            scenario=scenario,
            num_context=num_context,
            frames=np.stack(self._frames),
            actions=np.stack(self._actions),
            dt=control_dt_of(self._truth),
            caption=dict(now.get("caption", {})),
            variation=dict(infos[0].get("variation", {})),
            palette={name: (int(r), int(g), int(b)) for name, (r, g, b) in card.get("palette", {}).items()},
            bodies={name: Body(name=name, **body) for name, body in getattr(self._truth, "bodies", {}).items()},
            state={name: np.stack([_row(info["state"].get(name)) for info in infos]) for name in names},
            gravity=np.array([info.get("gravity", 9.81) for info in infos]),
            K=np.array(camera[0]["K"]) if camera[0] else np.eye(3),
            c2w=np.stack([c["c2w"] if c else np.eye(4) for c in camera]),
            normal=(0.0, 1.0, 0.0) if scenario in UPRIGHT else (0.0, 0.0, 1.0),
            fine=dict(getattr(self._truth, "trajectory", {})),
            contacts=tuple(Touch(c.time_s, c.first, c.second, c.impulse) for c in getattr(self._truth, "contacts", ())),
            events=tuple((t, event) for t, info in enumerate(infos) for event in info.get("events", ())),
            mask_names=mask_names,
            masks=np.stack([_indexed(masks, mask_names) for masks in self._masks]) if self._masks else None,
            goal=None if goal is None else tuple(map(float, goal)),
            **fields,
        )


def _row(parts: Mapping[str, np.ndarray] | None) -> np.ndarray:
    """Return position, quaternion, velocity and angular velocity in one row (13,); NaN for a body that is not there."""
    if parts is None:
        return np.full(13, np.nan)
    return np.concatenate([parts["pos"], parts["quat"], parts["vel"], parts["ang"]])


def _indexed(masks: Mapping[str, np.ndarray], names: Sequence[str]) -> np.ndarray:
    index = np.full(next(iter(masks.values())).shape, NOTHING, np.uint8)
    for k, name in enumerate(names):
        index[masks[name]] = k
    return index


# ---- imagining


def noise_seed(clip: Clip, sample: int) -> int:
    """Return the noise seed of sample ``sample`` of a clip; it depends on scenario, split and env seed."""
    words = [clip.seed, sample, *f"{clip.scenario}/{clip.split}".encode()]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint32)[0] >> 1)


def imagine_clips(
    model: WorldModel,
    clips: Sequence[Clip],
    *,
    samples: Sequence[int] = (0,),
    actions: np.ndarray | None = None,
    prompts: Sequence[str | None] | None = None,
    sampler_steps: int | None = None,
    batch: int = 16,
) -> np.ndarray:
    """Let a model continue clips of one length from their contexts, given the actions only.

    Args:
        model: A world model of the clips' frame size and actions.
        clips: N clips; nothing behind their contexts is read but the actions.
        samples: Numbers of the S noise samples.
        actions: (N, T, ...) after the context; None takes the clips' own.
        prompts: A text or None per clip; None takes the clips' English captions.
        sampler_steps: Denoiser calls per frame; None takes the checkpoint's own number.
        batch: Streams at a time.

    Returns:
        (S, N, T, H, W, 3) uint8.

    Raises:
        EnvError: If the model sees more frames than the clips' contexts have.
    """
    if (wanted := model.config.num_context) > min(clip.num_context for clip in clips):
        raise EnvError(f"{model.name} needs clips with num_context={wanted}; record them so")
    acts = np.stack([clip.future_actions for clip in clips]) if actions is None else np.asarray(actions)  # (N, T, A)
    texts = [clip.caption.get("en") for clip in clips] if prompts is None else list(prompts)
    out = np.empty((len(samples), len(clips), acts.shape[1], *clips[0].frames.shape[1:]), np.uint8)
    streams = [(s, i) for s in range(len(samples)) for i in range(len(clips))]
    for first in range(0, len(streams), batch):
        part = streams[first : first + batch]
        state = model.encode(
            np.stack([clips[i].context for _, i in part]),  # (B, C, H, W, 3)
            np.stack([clips[i].context_actions for _, i in part]),  # (B, C - 1, A)
            prompts=[texts[i] for _, i in part],
            seeds=np.array([noise_seed(clips[i], samples[s]) for s, i in part], np.int64),
        )
        for t in range(acts.shape[1]):
            state, prediction = model.step(state, acts[[i for _, i in part], t], sampler_steps=sampler_steps)
            for (s, i), frame in zip(part, prediction.frames, strict=True):
                out[s, i, t] = frame
    return out
