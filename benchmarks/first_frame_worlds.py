"""What is asked of first frames in each world, and how frames are read; used by first_frames.py."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import prompts as city
import torch
from PIL import Image
from torch import nn
from worldsim_envs.city.words import SCENE as CITY_SCENE
from worldsim_envs.lab.paint import HUES
from worldsim_envs.lab.scenarios import SCENARIOS
from worldsim_envs.lab.words import lab_caption
from worldsim_envs.tabletop.factors import light_band
from worldsim_envs.tabletop.words import tabletop_caption

from worldsim.model import WorldModel

__all__ = ["WORDINGS", "World", "world_of"]

WORDINGS = ("training wording", "unseen wording", "Chinese", "unseen Chinese")
_PROBED, _CHECKED = 1200, 200  # episodes of the bench that a probe learns from and is checked on
_PER_EPISODE = (4, 12, 20)  # their steps whose frames it sees
_COLORED, _BRIGHT, _NEAR, _LEAST = 0.35, 0.12, 18.0, 5  # saturation, brightness, degrees of hue; pixels of a thing

Reader = Callable[[np.ndarray, int], np.ndarray]
"""Tells of each of N frames (N, H, W, 3) uint8 whether it shows the i-th value of a factor: (N,) bool."""


class World(ABC):
    """What is asked in one world."""

    shown: Sequence[str]
    """Prompts of the picture."""
    factors: Mapping[str, Sequence[str]]
    """What a prompt can ask for and be read."""

    @abstractmethod
    def action(self, model: WorldModel) -> np.ndarray:
        """Return (*A) the action of the picture."""

    @abstractmethod
    def prompt(self, factor: str, value: str, wording: str, rng: np.random.Generator) -> str:
        """Return a prompt for a value."""

    @abstractmethod
    def readers(self, model: WorldModel) -> tuple[dict[str, Reader], dict[str, float]]:
        """Return what reads each factor, and its accuracy on true frames that it never saw."""

    @abstractmethod
    def variation(self, rng: np.random.Generator) -> dict[str, Any]:
        """Return what a true episode is asked to be."""

    def true_frames(self, model: WorldModel, num: int, seed: int) -> tuple[np.ndarray, list[str]]:
        """Return (num, H, W, 3) frames from the beginnings of true episodes and what they show, in English."""
        env, rng = city.truth_of(model), np.random.default_rng(seed)
        frames, captions = [], []
        for i in range(num):
            obs, info = env.reset(seed=seed + i, options={"variation": self.variation(rng)})
            act = env.unwrapped.policies["mixture"](seed + i)
            for _ in range(int(rng.integers(4, 24))):
                obs, _, terminated, _, info = env.step(act(obs, info))
                if terminated:
                    break
            frames.append(obs)
            captions.append(info["caption"]["en"])
        env.close()
        return np.stack(frames), captions


class _City(World):
    shown = (
        "noon, clear sky, light traffic",
        "a clear night with light traffic",
        "rain at dusk, heavy traffic",
        "thick fog by day",
        "雨夜,车流密集",
        "晴朗的白天",
    )
    factors = city.FACTORS

    def action(self, model):
        return np.array([0.0, 0.5], np.float32)  # drive on

    def prompt(self, factor, value, wording, rng):
        said = CITY_SCENE[factor, value]["zh" if "Chinese" in wording else "en"]
        return str(rng.choice(said.held_out if "unseen" in wording else said.train))

    def readers(self, model):
        xs, labels = city.true_frames(model, 240, city.TRAIN_SEED, 4)
        check_xs, check_labels = city.true_frames(model, 60, city.CHECK_SEED, 8)
        probes = {name: city.train_probe(xs, labels[name], len(values)) for name, values in self.factors.items()}
        ceiling = {n: float((p(check_xs).argmax(-1) == check_labels[n]).float().mean()) for n, p in probes.items()}
        return {name: _reader(probe, city.features) for name, probe in probes.items()}, ceiling

    def variation(self, rng):
        return {**city.conditions(rng), "change": "none"}


class _Bench(World):
    """Lab and Tabletop: a few coloured things on a grey ground."""

    asked: str
    """The factor that says what is going on."""

    @abstractmethod
    def caption(self, facts: Mapping[str, Any], is_held_out: bool, key: tuple[int, ...]) -> dict[str, str]:
        """Return what is said of facts, one value of every factor."""

    def action(self, model):
        return np.zeros(model.spec.action_shape, np.float32)

    def prompt(self, factor, value, wording, rng):
        facts = {name: str(rng.choice(self.those(name, factor))) for name in self.factors} | {factor: value}
        key = (int(rng.integers(2**31)),)
        return self.caption(facts, "unseen" in wording, key)["zh" if "Chinese" in wording else "en"]

    def those(self, factor: str, asked: str) -> Sequence[str]:
        """Return values that a prompt may name besides what is asked."""
        return self.factors[factor]

    def readers(self, model):
        probed = {name: values for name, values in self.factors.items() if name != "colour"}
        frames, labels = self._labelled(model, _PROBED, city.TRAIN_SEED)
        check, check_labels = self._labelled(model, _CHECKED, city.CHECK_SEED)
        readers: dict[str, Reader] = {"colour": _shows_hue}
        ceiling = {}
        for name, values in probed.items():
            xs, ys = _finer(frames), torch.tensor([values.index(label[name]) for label in labels])
            probe = city.train_probe(xs, ys, len(values))
            readers[name] = _reader(probe, _finer)
            truth = np.array([values.index(label[name]) for label in check_labels])
            ceiling[name] = float((probe(_finer(check)).argmax(-1).numpy() == truth).mean())
        told = [i for i, label in enumerate(check_labels) if label[self.asked] in self.those(self.asked, "colour")]
        shows = [_shows_hue(check[i : i + 1], HUES.index(check_labels[i]["colour"]))[0] for i in told]
        return readers, ceiling | {"colour": float(np.mean(shows))}

    def _labelled(self, model: WorldModel, num: int, seed: int) -> tuple[np.ndarray, list[dict[str, str]]]:
        env = city.truth_of(model)
        frames, labels = [], []
        for i in range(num):
            obs, info = env.reset(seed=seed + i, options={"variation": self.variation(np.random.default_rng(seed + i))})
            act = env.unwrapped.policies["mixture"](seed + i)
            for step in range(1, max(_PER_EPISODE) + 1):
                obs, _, terminated, _, info = env.step(act(obs, info))
                if step in _PER_EPISODE:
                    frames.append(obs)
                    labels.append(self.label(info["variation"]))
                if terminated:
                    break
        env.close()
        return np.stack(frames), labels

    @abstractmethod
    def label(self, variation: Mapping[str, Any]) -> dict[str, str]:
        """Return the value of every factor of an episode."""

    def variation(self, rng):
        return {"change": "none"}


class _Lab(_Bench):
    shown = (
        "a red ball rolls along the floor",
        "a blue ball swings as a pendulum",
        "a row of dominoes is knocked over",
        "a stack of blocks",
        "一个绿色的球沿抛物线飞行",
        "a yellow cart drives to the white mark",
    )
    asked = "scenario"
    factors: ClassVar = {"scenario": tuple(SCENARIOS), "colour": HUES}
    of_one = ("free_fall", "projectile", "rolling", "pendulum", "solid_wall", "push", "pick_place", "cart")
    """Scenarios whose captions name the colour of the one thing that they are about, which is in sight."""

    def those(self, factor, asked):
        return self.of_one if (factor, asked) == ("scenario", "colour") else self.factors[factor]

    def caption(self, facts, is_held_out, key):
        return lab_caption({"scenario": facts["scenario"]}, facts["colour"], "ordinary", is_held_out, key)

    def label(self, variation):
        return {"scenario": variation["scenario"], "colour": HUES[variation["hue"]]}


class _Tabletop(_Bench):
    shown = (
        "a robot arm pushes the red block to the mark, bright lighting",
        "the arm stacks the blue block on the red block",
        "the robot reaches for the white ball in dim light",
        "a manipulator shoves the green block onto the white mark",
        "机械臂把紫色块推到标记,昏暗的灯光",
        "a robotic arm puts the cyan block on top of the magenta block, bright illumination",
    )
    asked = "task"
    factors: ClassVar = {"task": ("reach", "push", "stack"), "light": ("dim", "ordinary", "bright"), "colour": HUES}

    def those(self, factor, asked):
        return ("push", "stack") if (factor, asked) == ("task", "colour") else self.factors[factor]

    def caption(self, facts, is_held_out, key):
        other = HUES[(HUES.index(facts["colour"]) + 3) % len(HUES)]  # as the world has them
        colors = (facts["colour"], other)
        said = {"task": facts["task"], "light": facts["light"], "gravity": 9.81, "colors": colors}
        return tabletop_caption(said, key, is_held_out)

    def label(self, variation):
        return {"task": variation["task"], "light": light_band(variation["light"]), "colour": HUES[variation["hue"]]}


def world_of(model: WorldModel) -> World:
    """Return what is asked of a model."""
    worlds = {"worldsim/City-v0": _City, "worldsim/Lab-v0": _Lab, "worldsim/Tabletop-v0": _Tabletop}
    if model.spec.env_id not in worlds:
        raise SystemExit(f"error: {model.name} imagines {model.spec.env_id}; this asks {', '.join(worlds)}")
    return worlds[model.spec.env_id]()


def _reader(probe: Callable[[torch.Tensor], torch.Tensor], features: Callable[[np.ndarray], torch.Tensor]) -> Reader:
    return lambda frames, i: (probe(features(frames)).argmax(-1) == i).numpy()


def _finer(frames: np.ndarray) -> torch.Tensor:
    """Return (N, F) colours in a 16 x 16 grid of frames (N, H, W, 3) uint8: things of the bench are small."""
    x = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 255
    return nn.functional.adaptive_avg_pool2d(x, 16).flatten(1)


def _shows_hue(frames: np.ndarray, i: int) -> np.ndarray:
    """Return whether there are enough pixels of the i-th colour of the bench anywhere."""
    pictures = [np.asarray(Image.fromarray(frame).convert("HSV")) for frame in frames]
    hue, saturation, value = np.moveaxis(np.stack(pictures) / 255.0, -1, 0)
    away = np.abs((360 * hue - 360 * i / len(HUES) + 180) % 360 - 180)
    found = (saturation > _COLORED) & (value > _BRIGHT) & (away < _NEAR)
    return found.sum(axis=(1, 2)) >= _LEAST
