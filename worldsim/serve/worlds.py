"""The pair of worlds that is driven, imagined and true; and the others that a page may go to."""

from __future__ import annotations

import base64
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from worldsim.errors import EnvError
from worldsim.model import WorldModel, bundled, load
from worldsim.serve.drive import check_pair
from worldsim.serve.messages import jpeg
from worldsim.serve.truth import TruthProcess
from worldsim.serve.watch import Watch
from worldsim.sim import WorldModelEnv
from worldsim.sim.uncertainty import CALIBRATION_FILE, open_gauge

__all__ = ["Pair", "Worlds", "open_pair"]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """An imagined world and the true one beside it."""

    env: WorldModelEnv
    truth: TruthProcess
    watch: Watch | None
    """Reads the uncertainty of imagined steps, where the model is calibrated."""

    def close(self) -> None:
        """End the truth's process and the watch."""
        if self.watch is not None:
            self.watch.close()
        self.truth.close()


def open_pair(
    model: Any,
    env_id: str | None = None,
    *,
    sampler_steps: int | None = None,
    device: str = "cpu",
    threads: int | None = 1,
    uncertainty: str | None = None,
) -> Pair:
    """Return a model's world with the truth beside it.

    Args:
        model: Name of a bundled model, path of a checkpoint or run, or a loaded model.
        env_id: The truth; the model's own if None.
        sampler_steps, device, threads: As in `WorldModelEnv`.
        uncertainty: Path of a calibration of uncertainty; the one beside the checkpoint, if there is one, by default.

    Raises:
        CheckpointError: If there is no such model.
        EnvError: If the truth cannot be made or does not fit the model.
    """
    env = WorldModelEnv(model, sampler_steps=sampler_steps, device=device, threads=threads)
    spec = env.model.spec
    watch = _watch(env, model, uncertainty, threads)
    truth_id = env_id or spec.env_id
    kwargs: Mapping[str, Any] = spec.env_kwargs if truth_id == spec.env_id else {}
    truth = TruthProcess(truth_id, kwargs)
    pair = Pair(env=env, truth=truth, watch=watch)
    try:
        check_pair(spec, truth.facts)
    except EnvError:
        pair.close()
        raise
    return pair


@dataclass
class Worlds:
    """The pair that is driven now, and the models that a page may change to: the first one's, and the bundled ones."""

    pair: Pair
    options: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of `open_pair` for another model."""
    _models: dict[str, Any] = field(init=False)
    _scenes: dict[str, list[dict[str, Any]]] = field(init=False, default_factory=dict)
    _painting: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        first: WorldModel = self.pair.env.model
        self._first_env_id = self.pair.truth.facts.env_id
        self._models = {first.name: first} | {name: name for name in bundled() if name != first.name}

    def go_to(self, name: str) -> Pair:
        """Open the world of another model and close the present one.

        Raises:
            EnvError: If there is no such model, or its truth cannot be made.
        """
        if name not in self._models:
            raise EnvError(f"there is no world {name!r}; there are {', '.join(self._models)}")
        model = self._models[name]
        env_id = self._first_env_id if isinstance(model, WorldModel) else None
        opened = open_pair(model, env_id, **self.options)
        self.pair.close()
        self.pair = opened
        return opened

    def gallery(self) -> dict[str, Any]:
        """Return what a page may begin with, as JSON values: ``worlds`` and the ``scenes`` of the present one.

        Each has a ``title`` and a ``picture`` (a data address); a world its ``model``, a scene its ``variation``. The
        scenes are made in a process of their own, once for each world.
        """
        with self._painting:
            facts = self.pair.truth.facts
            if facts.env_id not in self._scenes:
                painter = TruthProcess(facts.env_id, facts.env_kwargs)
                try:
                    self._scenes[facts.env_id] = [
                        {"title": title, "variation": variation, "picture": _picture(frame)}
                        for title, variation, frame in painter.ask("gallery")
                    ]
                finally:
                    painter.close()
            worlds = []
            for name, model in self._models.items():
                loaded = model if isinstance(model, WorldModel) else load(model)
                if loaded.starts:
                    frame = loaded.starts[0].frames[-1]
                    worlds.append({"title": loaded.spec.env_id, "model": name, "picture": _picture(frame)})
            return {"worlds": worlds, "scenes": self._scenes[facts.env_id]}


def _picture(frame: np.ndarray) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg(frame)).decode()}"


def _watch(env: WorldModelEnv, model: Any, uncertainty: str | None, threads: int | None) -> Watch | None:
    if uncertainty is None:
        place = env.model.path
        if place is None or not (place / CALIBRATION_FILE).is_file():
            return None
    gauge = open_gauge(uncertainty or True, model, env.model)
    return None if gauge is None else Watch(gauge, threads)
