"""Plan by imagination: try many action sequences from one moment in one batch, keep the best, try again near them.

The cross-entropy method: sequences are drawn from a normal distribution per step and dimension, which is then fitted to
the cheapest of them. `Planner` does so anew at every step of an env (model predictive control), true or imagined.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from worldsim.errors import EnvError
from worldsim.model import Imagined, WorldModel, WorldState
from worldsim.sim.start import pad, read_start
from worldsim.sim.stream import torch_threads

__all__ = ["Cost", "Imagined", "Plan", "PlanConfig", "Planner", "minus_return", "plan"]


Cost = Callable[[Imagined], np.ndarray]
"""``cost(imagined) -> (N,)``, the smaller the better."""


@dataclass(frozen=True, kw_only=True)
class PlanConfig:
    """How much is tried, and how."""

    horizon: int = 10
    """Steps looked ahead."""
    num_samples: int = 32
    """Sequences per round; the mean of the round before is one of them."""
    num_elites: int = 6
    """Cheapest sequences that the next round is drawn around."""
    num_rounds: int = 2
    hold: int = 2
    """Steps for which a sequence keeps each action."""
    std: float = 0.5
    """Of the first round, as a share of half the range of an action."""
    sampler_steps: int | None = None
    """Denoiser calls per imagined frame; None takes the checkpoint's."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The cheapest sequence found."""

    actions: np.ndarray
    """(T, *A)."""
    cost: float
    costs: tuple[float, ...]
    """Cheapest of each round."""


def minus_return(imagined: Imagined) -> np.ndarray:
    """Return minus the sum of rewards (N,), each weighed with the probability that the episode is still going on."""
    alive = np.cumprod(1 - imagined.terminate_prob, axis=1)  # (N, T) after each step
    before = np.concatenate([np.ones_like(alive[:, :1]), alive[:, :-1]], axis=1)
    return -(before * imagined.reward).sum(axis=1)


def plan(
    model: WorldModel,
    state: WorldState,
    cost: Cost = minus_return,
    *,
    config: PlanConfig | None = None,
    rng: np.random.Generator,
    guess: np.ndarray | None = None,
) -> Plan:
    """Return the cheapest action sequence that the cross-entropy method finds from a moment.

    All sequences share the moment's noise, so that they differ by their actions alone.

    Args:
        model: Its action space must be a Box.
        state: One stream; it is not changed.
        cost: What is to be small.
        config: How much is tried.
        rng: What sequences are drawn with.
        guess: (T, *A) mean of the first round; the middle of the action space if None.

    Raises:
        EnvError: If the action space is not a Box, the state holds several streams, the config makes no sense, or the
            guess has another shape.
    """
    config = config or PlanConfig()
    _check(model, state, config)
    _, space = model.spec.spaces()
    assert isinstance(space, gym.spaces.Box)
    middle, half = (space.high + space.low) / 2, (space.high - space.low) / 2  # (*A) each
    if guess is not None and np.shape(guess) != (config.horizon, *middle.shape):
        raise EnvError(f"a guess must be {(config.horizon, *middle.shape)} actions; got {np.shape(guess)}")
    num_held = -(-config.horizon // config.hold)
    mean = np.repeat(middle[None], num_held, axis=0) if guess is None else guess[:: config.hold]  # (K, *A)
    std = np.broadcast_to(config.std * half, mean.shape)
    streams = state.branch(config.num_samples)
    found: list[tuple[float, np.ndarray]] = []
    for _ in range(config.num_rounds):
        held = mean + std * rng.standard_normal((config.num_samples, *mean.shape))  # (N, K, *A)
        held[0] = mean
        held = np.clip(held, space.low, space.high).astype(space.dtype)
        actions = np.repeat(held, config.hold, axis=1)[:, : config.horizon]  # (N, T, *A)
        costs = np.asarray(cost(model.rollout(streams, actions, sampler_steps=config.sampler_steps)[1]), np.float64)
        if costs.shape != (config.num_samples,) or np.isnan(costs).any():
            raise EnvError(f"a cost returns ({config.num_samples},) numbers, one per sequence; got {costs}")
        order = np.argsort(costs, kind="stable")
        elites = held[order[: config.num_elites]]
        mean, std = elites.mean(axis=0), elites.std(axis=0)
        found.append((float(costs[order[0]]), actions[order[0]]))
    best = min(range(len(found)), key=lambda i: found[i][0])
    return Plan(actions=found[best][1], cost=found[best][0], costs=tuple(cost for cost, _ in found))


class Planner:
    """A policy that imagines before it acts, anew at every step; for the truth as well as for a dream of it.

    It looks at frames only: it keeps the last ones with the actions between them, as many as the model's context.

    Args:
        model: That imagines.
        cost: What is to be small.
        config: How much is tried per step.
        seed: Of the sequences and the noise.
        threads: Torch threads while it plans; None leaves torch as it is.
    """

    def __init__(
        self,
        model: WorldModel,
        cost: Cost = minus_return,
        *,
        config: PlanConfig | None = None,
        seed: int = 0,
        threads: int | None = None,
    ) -> None:
        self.model, self.cost, self.config = model, cost, config or PlanConfig()
        self.threads = threads
        self._rng = np.random.default_rng(seed)
        self._seed = seed
        self._frames: list[np.ndarray] = []
        self._actions: list[np.ndarray] = []
        self._plan: Plan | None = None

    @property
    def plan(self) -> Plan | None:
        """The plan that the last action began, or None before the first."""
        return self._plan

    def observe(self, obs: np.ndarray, action: np.ndarray) -> None:
        """Take note of a step that another policy chose: what it saw and what it did."""
        num_context = self.model.config.num_context
        self._frames = [*self._frames, np.array(obs)][-num_context:]
        self._actions = [*self._actions, np.array(action)][-num_context:]

    def __call__(self, obs: np.ndarray, info: Mapping[str, Any]) -> np.ndarray:
        """Return the first action of the plan from here."""
        frames = np.stack([*self._frames, obs])  # (C, H, W, 3)
        start = {"frames": frames, "actions": np.stack(self._actions)} if self._actions else {"frames": frames}
        context = read_start(start, self.model)
        seen, between = pad(context, self.model)
        with torch_threads(self.threads):
            state = self.model.encode(
                seen[None],
                between[None],
                num_frames=np.array([len(context.frames)]),
                prompts=[None],
                seeds=np.array([self._seed]),
            )
            guess = None
            if self._plan is not None:  # the last plan, one step on
                guess = np.concatenate([self._plan.actions[1:], self._plan.actions[-1:]])
            self._plan = plan(self.model, state, self.cost, config=self.config, rng=self._rng, guess=guess)
        action = self._plan.actions[0].copy()
        self.observe(obs, action)
        return action


def _check(model: WorldModel, state: WorldState, config: PlanConfig) -> None:
    _, space = model.spec.spaces()
    if not isinstance(space, gym.spaces.Box):
        raise EnvError(f"plan draws from a normal distribution and needs a Box action space; {model.name} has {space}")
    if state.num_streams != 1:
        raise EnvError(f"plan starts from one stream; got {state.num_streams}; take one with state.take([i])")
    if min(config.horizon, config.num_rounds, config.hold) < 1:
        raise EnvError(f"horizon, num_rounds and hold are at least 1; got {config}")
    if not 2 <= config.num_elites <= config.num_samples:
        raise EnvError(f"num_elites lies in 2 to num_samples; got {config.num_elites} of {config.num_samples}")
