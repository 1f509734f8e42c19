"""How far an imagined step can be trusted: signs, a function of state and action, calibrated against the truth.

Four signs, each larger where the model knows less: two samples of the frame differ, further denoising moves them off
the mean that a first call predicts, the action is unlike those of the truth's rollouts, the frame is unlike those that
the checkpoint brings along from its training. A `Calibration` turns them, with the number of steps imagined so far,
into the error to be expected, and that into a quantile among steps of held-out rollouts: 0.9 means that nine in ten
such steps looked safer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import torch.nn.functional as F

from worldsim.errors import CheckpointError, EnvError
from worldsim.model import WorldModel, WorldState, encode_actions, find_checkpoint
from worldsim.model.checkpoint import write_file

__all__ = [
    "CALIBRATION_FILE",
    "SIGNS",
    "Calibration",
    "Gauge",
    "UncertaintyPenalty",
    "UncertaintyTruncation",
    "VectorUncertaintyPenalty",
    "features",
    "info_of_one",
    "open_gauge",
]

SIGNS = ("spread", "residual", "action", "novelty")
CALIBRATION_FILE = "uncertainty.json"
_OTHER_NOISE = (0x5EED, 0xFEED)  # turn a stream's noise seed into those of two samples that nobody sees
_SAMPLER_STEPS = 2  # of these samples; fewer would draw no noise
_THUMBNAIL = 8  # pixels a side
_SMALLEST = 1e-3  # added to a sign before its logarithm
_NO_UNCERTAINTY = "info has no uncertainty; make the imagined env with uncertainty=True"


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What `worldsim.evaluate.calibrate` learned from rollouts of the truth that the model has not seen."""

    model_sha: str
    action_mean: tuple[float, ...]
    """Of encoded actions, per dimension."""
    action_std: tuple[float, ...]
    weights: tuple[float, ...]
    """Of the expected logarithm of the squared error, one per column of `features`."""
    quantiles: tuple[float, ...]
    """Expected logarithms at evenly spaced quantiles from 0 to 1."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """How well it tells large errors from small ones, and on what."""

    def expected_log_error(self, signs: Mapping[str, np.ndarray], steps: np.ndarray) -> np.ndarray:
        """Return the expected natural logarithm of the mean squared error, in squared levels, of each stream (N,).

        Args:
            signs: (N,) per name of SIGNS.
            steps: (N,) steps imagined since the start, this one included.
        """
        return features(signs, steps) @ np.array(self.weights)

    def quantile(self, signs: Mapping[str, np.ndarray], steps: np.ndarray) -> np.ndarray:
        """Return the uncertainty of each stream (N,) in [0, 1]: the share of held-out steps that looked safer."""
        levels = np.linspace(0, 1, len(self.quantiles))
        return np.interp(self.expected_log_error(signs, steps), self.quantiles, levels)

    def save(self, path: str | Path) -> None:
        """Write it as JSON, whole or not at all."""
        write_file(Path(path), (json.dumps(asdict(self), indent=1) + "\n").encode())

    @staticmethod
    def load(path: str | Path) -> Calibration:
        """Read what `save` wrote.

        Raises:
            CheckpointError: If there is no such file, or it holds something else.
        """
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
            plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
            return Calibration(**plain)
        except OSError:
            raise CheckpointError(
                f"no calibration of uncertainty at {path}; make it with: "
                f"worldsim.evaluate.uncertainty.calibrate(worldsim.load(...)).save({str(path)!r})"
            ) from None
        except (ValueError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{path} is not a calibration of uncertainty ({error}); make it again") from None


def features(signs: Mapping[str, np.ndarray], steps: np.ndarray) -> np.ndarray:
    """Return what an error is expected from, (N, 6): a one, the logarithm of each sign, the logarithm of the step."""
    columns = [np.ones(len(steps)), *(np.log(signs[name] + _SMALLEST) for name in SIGNS), np.log(steps)]
    return np.stack(columns, axis=1)


class Gauge:
    """Reads the signs of a model's steps.

    Args:
        model: Must have starts, whose frames stand for those of its training.
        calibration: Made for this model.

    Raises:
        CheckpointError: If the calibration is of another model.
        EnvError: If the model has no starts.
    """

    def __init__(self, model: WorldModel, calibration: Calibration) -> None:
        if calibration.model_sha != model.sha:
            raise CheckpointError(
                f"the calibration is of the model {calibration.model_sha}, this is {model.sha} ({model.name}); "
                "make it again"
            )
        if not model.starts:
            raise EnvError(f"the model {model.name!r} has no starts, so nothing says what its training looked like")
        self.model, self.calibration = model, calibration
        self._known = _thumbnails(np.concatenate([start.frames for start in model.starts]))  # (K, 3 * 8 * 8)

    def signs(self, state: WorldState, actions: np.ndarray, frames: np.ndarray) -> dict[str, np.ndarray]:
        """Return each sign of the step that led from a state to frames, (N,) per name of SIGNS.

        ``spread`` and ``residual`` are root mean squares in levels of 0 to 255, ``novelty`` one between frames of 8x8,
        ``action`` one in standard deviations.

        Args:
            state: N streams before the step.
            actions: (N, *A) taken there.
            frames: (N, H, W, 3) uint8 that the step gave.
        """
        num = state.num_streams
        twice = WorldState.cat([replace(state, seeds=state.seeds ^ key) for key in _OTHER_NOISE])
        _, drawn = self.model.step(twice, np.concatenate([actions] * 2), sampler_steps=_SAMPLER_STEPS)
        one, other = drawn.frames[:num].astype(np.float64), drawn.frames[num:].astype(np.float64)
        _, mean = self.model.step(state, actions, sampler_steps=1)  # starts where noise says nothing
        encoded = encode_actions(self.model.spec, actions)  # (N, A)
        unlike = (encoded - np.array(self.calibration.action_mean)) / np.array(self.calibration.action_std)
        distance = torch.cdist(_thumbnails(frames), self._known).min(dim=1).values / self._known.shape[1] ** 0.5
        return {
            "spread": _rms(one, other),
            "residual": _rms((one + other) / 2, mean.frames),
            "action": np.sqrt((unlike**2).mean(axis=1)),
            "novelty": distance.double().numpy(),
        }

    def info(self, state: WorldState, actions: np.ndarray, frames: np.ndarray) -> dict[str, Any]:
        """Return ``uncertainty`` (N,) and ``uncertainty_signs`` {name: (N,)} of a step; see `signs`."""
        signs = self.signs(state, actions, frames)
        return {
            "uncertainty": self.calibration.quantile(signs, state.step_count.numpy() + 1),
            "uncertainty_signs": signs,
        }


def info_of_one(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `Gauge.info` says of a single stream, as plain numbers."""
    return {key: info_of_one(value) if isinstance(value, Mapping) else float(value[0]) for key, value in info.items()}


def open_gauge(uncertainty: bool | str | Calibration, model: Any, loaded: WorldModel) -> Gauge | None:
    """Return the gauge that an env's argument asks for.

    Args:
        uncertainty: False for none, True for the calibration beside the checkpoint, a path, or a calibration.
        model: As it was given to the env; a name or path says where the checkpoint is.
        loaded: The model.

    Raises:
        CheckpointError: If there is no calibration, or it is of another model.
    """
    if uncertainty is False:
        return None
    if uncertainty is True:
        place = loaded.path if isinstance(model, WorldModel) else find_checkpoint(str(model))
        if place is None:
            raise CheckpointError("a model that was not loaded has no calibration; give uncertainty a path or one")
        uncertainty = str(place / CALIBRATION_FILE)
    calibration = uncertainty if isinstance(uncertainty, Calibration) else Calibration.load(uncertainty)
    return Gauge(loaded, calibration)


class UncertaintyPenalty(gym.Wrapper, gym.utils.RecordConstructorArgs):
    """Pay less for steps that cannot be trusted: reward - scale * uncertainty, as in MOPO (Yu et al. 2020).

    Args:
        env: Imagined with ``uncertainty=True``.
        scale: Reward that full uncertainty costs.
    """

    def __init__(self, env: gym.Env, scale: float = 1.0) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, scale=scale)
        gym.Wrapper.__init__(self, env)
        self.scale = scale

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Step, and pay for the uncertainty; ``info["reward_imagined"]`` is the reward before."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        paid = float(reward) - self.scale * _uncertainty_of(info)
        return obs, paid, terminated, truncated, {**info, "reward_imagined": float(reward)}


class VectorUncertaintyPenalty(gym.vector.VectorWrapper):
    """Pay less for steps that cannot be trusted, as `UncertaintyPenalty` does, in a batch.

    Args:
        env: Imagined with ``uncertainty=True``.
        scale: Reward that full uncertainty costs.
    """

    def __init__(self, env: gym.vector.VectorEnv, scale: float = 1.0) -> None:
        super().__init__(env)
        self.scale = scale
        self._ended = np.zeros(env.num_envs, np.bool_)

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        """Reset, without any change."""
        self._ended[:] = False
        return self.env.reset(**arguments)

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Step, and pay for the uncertainty; ``infos["reward_imagined"]`` is the reward before.

        Raises:
            EnvError: If the infos hold no uncertainty.
        """
        obs, reward, terminated, truncated, infos = self.env.step(actions)
        told = [found for found in (infos, infos.get("final_info", {})) if "uncertainty" in found]
        if not told and not self._ended.all():  # where all had ended, the step may be a reset
            raise EnvError(_NO_UNCERTAINTY)
        self._ended = terminated | truncated
        paid = reward.copy()
        for found in told:  # a step that ended an episode speaks in final_info
            paid -= self.scale * np.where(found["_uncertainty"], found["uncertainty"], 0.0)
        imagined = {"reward_imagined": reward, "_reward_imagined": np.ones(len(reward), np.bool_)}
        return obs, paid, terminated, truncated, {**infos, **imagined}


class UncertaintyTruncation(gym.Wrapper, gym.utils.RecordConstructorArgs):
    """Truncate an episode when it cannot be trusted any more, as in MOReL (Kidambi et al. 2020).

    A batch takes the same limit as an argument, ``WorldModelVectorEnv(..., uncertainty_limit=...)``.

    Args:
        env: Imagined with ``uncertainty=True``.
        limit: Uncertainty in [0, 1] above which the episode is truncated.

    Raises:
        EnvError: If the limit is not in [0, 1].
    """

    def __init__(self, env: gym.Env, limit: float = 0.95) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, limit=limit)
        gym.Wrapper.__init__(self, env)
        if not 0 <= limit <= 1:
            raise EnvError(f"limit is a quantile in [0, 1]; got {limit}")
        self.limit = limit

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Step; ``info["uncertainty_truncated"]`` says whether this wrapper ended the episode."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        over = _uncertainty_of(info) > self.limit
        return obs, float(reward), terminated, truncated or over, {**info, "uncertainty_truncated": over}


def _uncertainty_of(info: Mapping[str, Any]) -> float:
    if "uncertainty" not in info:
        raise EnvError(_NO_UNCERTAINTY)
    return float(info["uncertainty"])


def _rms(frames: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the root mean square of the difference per stream, (N,) in levels."""
    return np.sqrt(((frames - others) ** 2).mean(axis=(1, 2, 3)))


def _thumbnails(frames: np.ndarray) -> torch.Tensor:
    """Return (N, 3 * 8 * 8) float32 levels of (N, H, W, 3) uint8 frames."""
    pixels = torch.from_numpy(np.ascontiguousarray(frames)).movedim(-1, 1).float()
    return F.adaptive_avg_pool2d(pixels, _THUMBNAIL).flatten(1)
