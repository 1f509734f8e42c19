"""Pairs to train a renderer on: what a truth shows cheaply, and the frame it shows, as plain arrays in a directory.

DIR/pairs.json      what the pairs are of
DIR/episodes.jsonl  one line per episode: seed, camera, variation, rows; a collection goes on behind the last one
DIR/plain.npy       and depth, kind, light, frame: one row per moment, the rows of an episode one after the other
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from worldsim.collect import policies_of
from worldsim.errors import EnvError, StoreError
from worldsim.model import PLAIN_MODES, RendererSpec

__all__ = ["Pairs", "PairsConfig", "collect_pairs"]

_ARRAYS = (*PLAIN_MODES, "frame")


@dataclass(frozen=True, kw_only=True)
class PairsConfig:
    """Which pairs to collect; episode i has env seed ``first_seed + i`` and one camera, in turn."""

    env_id: str
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    episodes: int = 800
    steps: int = 60
    """Moments per episode at most."""
    first_seed: int = 0
    cameras: tuple[str, ...] = ()
    """All that the env has if empty."""
    policy: str = "mixture"
    variation: Mapping[str, Any] = field(default_factory=dict)
    """Factors of every episode."""
    vary: tuple[tuple[str, ...], ...] = ()
    """Groups of factors; for each group a share of the episodes draws its factors evenly from their whole ranges."""
    vary_share: float = 0.2
    """Of the episodes, per group; the rest is drawn as the env draws it."""


class Pairs:
    """Pairs that were collected.

    Args:
        path: Directory.

    Raises:
        StoreError: If there are none, or a file is damaged.
    """

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        try:
            head = json.loads((path / "pairs.json").read_text())
            self.spec = RendererSpec(**{**head["spec"], "cameras": tuple(head["spec"]["cameras"])})
            self.config: dict[str, Any] = head["config"]
            self.episodes = _read_episodes(path)
            self._arrays = {name: np.load(path / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{path} holds no pairs ({type(error).__name__}: {error}); collect them first") from None
        if not self.episodes:
            raise StoreError(f"{path} holds no episode; collect the pairs again")
        self.first = np.array([episode["first_row"] for episode in self.episodes])
        """(E,) first row of each episode."""
        self.length = np.array([episode["rows"] for episode in self.episodes])
        """(E,)."""
        self.is_first = np.zeros(len(self), bool)
        """(N,) whether nothing was shown before a row."""
        self.is_first[self.first] = True

    def __len__(self) -> int:
        """Return the number of moments."""
        last = self.episodes[-1]
        return last["first_row"] + last["rows"]

    def plain(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return what a renderer draws from, by mode, (len(rows), ...) each."""
        return {name: np.asarray(self._arrays[name][rows]) for name in PLAIN_MODES}

    def frames(self, rows: np.ndarray) -> np.ndarray:
        """Return the true frames, (len(rows), H, W, 3) uint8."""
        return np.asarray(self._arrays["frame"][rows])


def collect_pairs(
    path: str | Path,
    config: PairsConfig,
    log: Callable[[str], None] = print,
    *,
    check: Callable[[RendererSpec], None] | None = None,
) -> Pairs:
    """Collect pairs into a directory, or what is missing of them, and return them.

    Args:
        path: Directory, made if missing.
        config: What to collect.
        log: Receives one line every 50 episodes.
        check: Receives what is to be drawn before anything is collected, and may refuse it by raising.

    Raises:
        EnvError: If the env does not offer the modes that a renderer draws from, or has no such policy or factor.
        StoreError: If the directory holds other pairs.
    """
    path = Path(path)
    head = path / "pairs.json"
    if head.is_file():
        begun = json.loads(head.read_text())["config"]
        if begun != _plain(config):
            raise StoreError(f"{path} holds pairs of {begun}, not of {_plain(config)}; choose another directory")
        if len(_read_episodes(path)) == config.episodes:
            return Pairs(path)
    collector = _Collector(path, config)
    try:
        if check is not None:
            check(collector.spec)
        collector.run(log)
    finally:
        collector.close()
    return Pairs(path)


class _Collector:
    def __init__(self, path: Path, config: PairsConfig) -> None:
        self.path, self.config = path, config
        self.envs: dict[str, gym.Env] = {}
        bare = gym.make(config.env_id, disable_env_checker=True, **config.env_kwargs)
        card = getattr(bare.unwrapped, "scene_card", {})
        self.factors: dict[str, Any] = card.get("factors", {})
        self.cameras = config.cameras or tuple(card.get("cameras", ()))
        bare.close()
        unknown = sorted({name for group in config.vary for name in group} - set(self.factors))
        if unknown:
            raise EnvError(f"{config.env_id} has no factor {', '.join(unknown)}; it has {', '.join(self.factors)}")
        if not self.cameras:
            raise EnvError(f"{config.env_id} has no cameras in its scene_card; a renderer needs a world that has some")
        space = self._env(self.cameras[0]).observation_space
        assert isinstance(space, gym.spaces.Dict)
        shapes = {name: space[f"{'rgb' if name == 'frame' else name}/{self.cameras[0]}"] for name in _ARRAYS}
        height, width, _ = shapes["frame"].shape or (0, 0, 0)
        kinds = shapes["kind"]
        assert isinstance(kinds, gym.spaces.Box)
        self.spec = RendererSpec(
            env_id=config.env_id,
            env_kwargs=dict(config.env_kwargs),
            height=height,
            width=width,
            num_kinds=int(kinds.high.max()) + 1,
            num_light=(shapes["light"].shape or (0,))[0],
            cameras=self.cameras,
        )
        path.mkdir(parents=True, exist_ok=True)
        rows = config.episodes * config.steps
        self.arrays = {}
        is_new = not (path / "pairs.json").is_file()
        for name, part in shapes.items():
            dtype = np.float16 if name == "depth" else part.dtype
            self.arrays[name] = np.lib.format.open_memmap(
                path / f"{name}.npy", mode="w+" if is_new else "r+", dtype=dtype, shape=(rows, *(part.shape or ()))
            )
        if is_new:
            values = {"config": _plain(config), "spec": asdict(self.spec)}
            _write(path / "pairs.json", json.dumps(values, indent=1) + "\n")

    def run(self, log: Callable[[str], None]) -> None:
        done = _read_episodes(self.path)
        row = done[-1]["first_row"] + done[-1]["rows"] if done else 0
        with (self.path / "episodes.jsonl").open("a") as file:
            for index in range(len(done), self.config.episodes):
                episode = self._play(index, row)
                row += episode["rows"]
                file.write(json.dumps(episode) + "\n")
                file.flush()
                if (index + 1) % 50 == 0 or index + 1 == self.config.episodes:
                    log(f"{index + 1} of {self.config.episodes} episodes, {row} pairs")

    def close(self) -> None:
        for env in self.envs.values():
            env.close()

    def _env(self, camera: str) -> gym.Env:
        if camera not in self.envs:
            try:
                self.envs[camera] = gym.make(
                    self.config.env_id,
                    disable_env_checker=True,
                    **{**self.config.env_kwargs, "obs_modes": ("rgb", *PLAIN_MODES), "cameras": (camera,)},
                )
            except (TypeError, EnvError) as error:
                raise EnvError(
                    f"{self.config.env_id} does not show what a renderer draws from ({', '.join(PLAIN_MODES)}); "
                    f"worldsim/City-v0 does. It said: {error}"
                ) from None
        return self.envs[camera]

    def _play(self, index: int, row: int) -> dict[str, Any]:
        """Write the rows of an episode from ``row`` on; return its line."""
        seed = self.config.first_seed + index
        camera = self.cameras[index % len(self.cameras)]
        env = self._env(camera)
        policies = policies_of(env)
        if self.config.policy not in policies:
            raise EnvError(f"{self.config.env_id} has no policy {self.config.policy!r}; it has {', '.join(policies)}")
        policy = policies[self.config.policy](seed)
        obs, info = env.reset(seed=seed, options={"variation": self._variation(seed)})
        variation, rows = dict(info["variation"]), 0
        for rows in range(1, self.config.steps + 1):
            for name, array in self.arrays.items():
                array[row + rows - 1] = obs[f"{'rgb' if name == 'frame' else name}/{camera}"]
            if rows == self.config.steps:
                break
            obs, _, terminated, truncated, info = env.step(policy(obs, info))
            if terminated or truncated:
                break
        return {"seed": seed, "camera": camera, "first_row": row, "rows": rows, "variation": variation}

    def _variation(self, seed: int) -> dict[str, Any]:
        rng = np.random.default_rng([seed, 17])
        chosen, share = rng.random(), self.config.vary_share
        drawn = {}
        for group in self.config.vary:
            if 0 <= chosen < share:
                drawn = {name: self._draw(self.factors[name], rng) for name in group}
            chosen -= share
        return {**drawn, **self.config.variation}

    def _draw(self, factor: Mapping[str, Any], rng: np.random.Generator) -> Any:
        if "values" in factor:
            return factor["values"][int(rng.integers(len(factor["values"])))]
        low, high = factor["train"]
        return int(rng.integers(low, high + 1)) if factor.get("integer") else round(float(rng.uniform(low, high)), 4)


def _plain(config: PairsConfig) -> dict[str, Any]:
    values = {f.name: getattr(config, f.name) for f in fields(PairsConfig)}
    return json.loads(json.dumps(values))


def _read_episodes(path: Path) -> list[dict[str, Any]]:
    file = path / "episodes.jsonl"
    if not file.is_file():
        return []
    whole = file.read_text()
    lines = whole[: whole.rfind("\n") + 1].splitlines()  # a line that was cut off is played again
    if len(lines) < whole.count("\n") + (not whole.endswith("\n") and bool(whole)):
        _write(file, "".join(line + "\n" for line in lines))
    return [json.loads(line) for line in lines]


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text(text)
    os.replace(temporary, path)
