"""A batch of imagined streams as a PettingZoo parallel env: one agent per stream, each in a world of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from worldsim.errors import EnvError, MissingExtraError
from worldsim.sim.actions import neutral_actions
from worldsim.sim.imagine import info_of
from worldsim.sim.vector_env import WorldModelVectorEnv

try:
    from pettingzoo import ParallelEnv
except ImportError:
    raise MissingExtraError("pettingzoo", "pettingzoo", "see imagined streams as a PettingZoo env") from None

__all__ = ["WorldModelParallelEnv"]


class WorldModelParallelEnv(ParallelEnv):
    """N imagined streams, the agents ``stream_0`` to ``stream_{N-1}``; an agent lives as long as its episode.

    Args:
        num_streams: Number of streams N.
        model: Name of a bundled model, path of a checkpoint, or a loaded model.
        **arguments: Others of `WorldModelVectorEnv`, but not ``autoreset_mode``.
    """

    metadata = {"name": "worldsim_v0", "render_modes": ["rgb_array"], "is_parallelizable": True}  # noqa: RUF012

    def __init__(self, num_streams: int, model: Any, **arguments: Any) -> None:
        self.envs = WorldModelVectorEnv(num_streams, model, **arguments)
        self.render_mode = self.envs.render_mode
        self.metadata = {**self.metadata, "render_fps": self.envs.metadata["render_fps"]}
        self.possible_agents = [f"stream_{i}" for i in range(num_streams)]
        self.agents: list[str] = []
        self.observation_spaces = {}
        self.action_spaces = {}
        for agent in self.possible_agents:
            self.observation_spaces[agent], self.action_spaces[agent] = self.envs.model.spec.spaces()

    def observation_space(self, agent: str) -> gym.Space:
        """Return the space of an agent's frames."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> gym.Space:
        """Return the space of an agent's actions."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
        """Begin an episode of every agent.

        Args:
            seed: Agent i has seed ``seed + i``.
            options: Reset options per agent's name, as in `WorldModelEnv`; other names are not the worlds' business.

        Returns:
            Frames (H, W, 3) uint8 and infos by agent.
        """
        asked = [dict((options or {}).get(agent, {})) for agent in self.possible_agents]
        names = {name for one in asked for name in one}
        obs, infos = self.envs.reset(seed=seed, options={name: [one.get(name) for one in asked] for name in names})
        self.agents = list(self.possible_agents)
        return {agent: frame.copy() for agent, frame in zip(self.agents, obs, strict=True)}, self._by_agent(infos)

    def step(
        self, actions: Mapping[str, Any]
    ) -> tuple[dict[str, np.ndarray], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """Imagine the next frame of every live agent.

        Args:
            actions: One per live agent.

        Raises:
            EnvError: If an agent's action is missing or nobody's, or all episodes have ended.
            ActionError: If an action does not fit the action space.
        """
        if not self.agents:
            raise EnvError("no agent is alive; call reset() first")
        if set(actions) != set(self.agents):
            raise EnvError(f"step needs one action for each of {self.agents}; got {sorted(actions)}")
        batch = list(neutral_actions(self.envs.single_action_space, self.envs.num_envs))
        for agent in self.agents:
            batch[self.possible_agents.index(agent)] = actions[agent]
        obs, reward, terminated, truncated, infos = self.envs.step(batch)
        rows = {agent: self.possible_agents.index(agent) for agent in self.agents}
        results = (
            {agent: obs[i].copy() for agent, i in rows.items()},
            {agent: float(reward[i]) for agent, i in rows.items()},
            {agent: bool(terminated[i]) for agent, i in rows.items()},
            {agent: bool(truncated[i]) for agent, i in rows.items()},
            self._by_agent(infos),
        )
        self.agents = [agent for agent, i in rows.items() if not (terminated[i] or truncated[i])]
        return results

    def render(self) -> np.ndarray | None:
        """Return the frames of all streams side by side, (H, N W, 3) uint8, or None without a render mode."""
        frames = self.envs.render()
        return None if frames is None else np.concatenate(frames, axis=1)

    def close(self) -> None:
        """Close the batch."""
        self.envs.close()

    def _by_agent(self, infos: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        return {agent: info_of(infos, self.possible_agents.index(agent)) for agent in self.agents}
