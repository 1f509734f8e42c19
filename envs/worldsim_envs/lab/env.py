"""`worldsim/Lab-v0`: a bench with twenty physics experiments, moved by Bullet and measured at 240 Hz.

An episode is a pure function of its factors and of the commands it was given. A snapshot is those two; restoring builds
the bench anew and gives the commands again, so that Bullet's hidden contact state is exact to the bit.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import cos, pi, radians, sin
from operator import mul
from typing import Any

import gymnasium as gym
import numpy as np
import trimesh
from gymnasium.utils import EzPickle
from PIL import Image
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial

from worldsim.errors import EnvError, PromptError
from worldsim.rollout import ActionDim, check_action
from worldsim_envs.checks import check_size, reset_options
from worldsim_envs.lab.event_words import Noun, event_caption, instruction_caption, noun
from worldsim_envs.lab.factors import COMMON, SPLITS, Factor, checked, drawn
from worldsim_envs.lab.paint import PALETTE, SKY, atlas, color_of
from worldsim_envs.lab.policies import POLICIES
from worldsim_envs.lab.scenarios import SCENARIOS
from worldsim_envs.lab.setup import mirrored
from worldsim_envs.lab.sight import BODIES, CAMERAS, CLASSES, FOV, camera_of, class_of, instance_of
from worldsim_envs.lab.words import draw_lab_prompt, gravity_band, lab_caption, lab_prompt
from worldsim_envs.lab.world import ACTIONS, CONTROL_DT, PHYSICS_DT, TICKS, Contact, World
from worldsim_envs.modes import Modes, Obs, Shot, ids_of
from worldsim_envs.rig import Camera
from worldsim_envs.scene import Scene, View, check_replayed

__all__ = ["HORIZON", "LabEnv", "LabSnapshot"]

HORIZON = 96
"""Steps of an episode."""
AMBIENT, DIFFUSE, SUN_HEIGHT = 0.62, 0.42, 0.8
PROMPT_RAMP = 10  # steps in which a prompt in mid-episode changes gravity
REACHED = 0.15  # m from the goal that counts as there
_TILTED = cos(pi / 4)
_SKY = np.array(SKY, np.uint8)
_SHARES = 32
_OPTIONS = ("prompt", "variation", "scenario", "snapshot")


@dataclass(frozen=True)
class LabSnapshot:
    """Everything that the next steps depend on: what the bench was built from, and what was done since."""

    variation: str
    """The episode's factors as JSON."""
    episode_seed: int
    commands: tuple[tuple[float, ...], ...]
    """In order: an action of 8 numbers, or one number, the gravity that a prompt asked for."""
    rng: Mapping[str, Any]
    """State of ``np_random``'s bit generator."""
    unknown: tuple[str, ...]
    """Words of the prompt that were not understood."""
    rows: tuple[tuple[float, ...], ...]
    """State of every body at this moment, by which `LabEnv.restore` knows that it arrived at the same bits."""


class LabEnv(gym.Env, EzPickle):
    """Twenty experiments with balls, blocks, pendulums, a hand, a cart and a camera.

    ## Description
    One scenario per episode: free_fall, two_drops, projectile, rolling, ramp, collision_1d, collision_2d, pendulum,
    double_pendulum, stack, dominoes, occlusion, containment, support_removal, solid_wall, push, pick_place, cart,
    camera, clutter. Objects have one of eight saturated hues, everything else is grey. Physics is Bullet's at 1/240 s,
    twelve ticks per step of 1/20 s, without damping; the cart's tyres hold at most friction times weight. A pair of
    counterfactual episodes is two resets with one seed and one factor of ``options["variation"]`` changed.

    ## Action Space
    `Box(-1, 1, (8,), float32)`; 0 does nothing. Only the dimensions of the scenario's ``acts`` move anything.

    | index | name | at -1 | at +1 | unit | moves something in |
    |---|---|---|---|---|---|
    | 0 | impulse on the first object along x | -0.3 | 0.3 | N s | all but the four below |
    | 1 | hand_x | -1.2 | 1.2 | m/s | push, pick_place |
    | 2 | hand_y | -1.2 | 1.2 | m/s | push, pick_place |
    | 3 | hand_z | -1.2 | 1.2 | m/s | push, pick_place |
    | 4 | grip (closing speed; once closed it keeps pressing until opened) | -1.2 | 1.2 | m/s | push, pick_place |
    | 5 | throttle (two slopes: brake below 0, pull above) | -6 | 3 | m/s2 | cart |
    | 6 | steer (left positive) | -0.5 | 0.5 | rad | cart |
    | 7 | camera (orbit about the middle) | -1 | 1 | rad/s | camera |

    ## Observation Space
    `Box(0, 255, (height, width, 3), uint8)`: RGB of a camera with 40 degrees of view. Objects are at least 8 pixels
    wide at 64 pixels. With other modes or several cameras a flat `Dict` of "mode/camera" and "state", all of one
    instant:

    | key | space | unit |
    |---|---|---|
    | rgb/front, rgb/side, rgb/top | uint8 (height, width, 3) | |
    | depth/... | float32 (height, width) | m along the optical axis, 160 where nothing is |
    | semantic/... | uint8 (height, width) | class id of `scene_card["semantic"]` |
    | instance/... | int32 (height, width) | id of `info["instances"]`, 0 = floor, border, nothing |
    | state | float32 (195,) | rows of `scene_card["state"]`: m, xyzw, m/s, rad/s; zeros = not there |

    ## Rewards
    In push, pick_place and cart: metres by which the first object came nearer to the white mark; else 0. The terms are
    in `info["reward_terms"]`, `info["task"]["is_success"]` says whether it is there. `info["cost"]` is 1 in a step in
    which something fell over.

    ## Starting State
    The scenario is drawn uniformly by the seed unless `options["scenario"]` or `options["variation"]["scenario"]` names
    one; its factors are drawn from the split `options["variation"]["split"]` (train, low, high, combination), and any
    of them can be set there. In 30% of episodes gravity changes over 5 to 20 steps (factor `change`).

    ## Episode End
    Never terminated; truncated after 96 steps by the registered time limit.

    ## Arguments
    `height`, `width`: frame size in pixels, 32 to 256. `render_mode`: None or "rgb_array", which returns the first
    camera's frame. `obs_modes`: some of rgb, depth, semantic, instance, state. `cameras`: some of front (the scenario's
    own, which the camera action orbits), side, top.

    ## Version History
    v0: first version.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 - Gymnasium's name and form
    control_dt = CONTROL_DT
    physics_dt = PHYSICS_DT
    action_spec = tuple(ActionDim(name=n, unit=unit, low=low, high=high) for n, (unit, low, high) in ACTIONS.items())
    policies = POLICIES

    def __init__(
        self,
        render_mode: str | None = None,
        height: int = 64,
        width: int = 64,
        obs_modes: Sequence[str] = ("rgb",),
        cameras: Sequence[str] = ("front",),
    ) -> None:
        if render_mode not in (None, "rgb_array"):
            raise EnvError(f'render_mode must be None or "rgb_array"; got {render_mode!r}')
        check_size(height, width)
        self.render_mode = render_mode
        self._modes = Modes(
            obs_modes, cameras, offered=CAMERAS, classes=CLASSES, bodies=BODIES, height=height, width=width
        )
        EzPickle.__init__(self, render_mode, height, width, self._modes.obs_modes, self._modes.cameras)
        self.observation_space = self._modes.space
        self.action_space = gym.spaces.Box(-1.0, 1.0, (len(ACTIONS),), np.float32)
        self._scene = Scene(atlas(), height, width, FOV)
        self._world: World | None = None
        self._keeps_ticks = False

    @property
    def scene_card(self) -> dict[str, Any]:
        """Return what the world is made of: palette, camera, ground plane, scenarios, factor ranges and splits."""
        return {
            "palette": {name: list(color) for name, color in PALETTE.items()},
            "background": list(SKY),
            **self._modes.card(),
            "ground_plane": {"normal": [0.0, 0.0, 1.0], "offset_m": 0.0},
            "factors": {
                "scenario": {"values": list(SCENARIOS), "default": "drawn: uniform"},
                "split": {"values": list(SPLITS), "default": "train"},
                **{name: factor.as_dict() for name, factor in COMMON.items()},
            },
            "scenarios": {
                name: {
                    "factors": {n: f.as_dict() for n, f in scenario.factors.items()},
                    "axis": scenario.axis,
                    "pair": list(scenario.pair),
                    "acts": list(scenario.acts),
                }
                for name, scenario in SCENARIOS.items()
            },
            "splits": {"train": [0, 99_999], "validation": [100_000, 109_999], "test": [200_000, 209_999]},
        }

    @property
    def trajectory(self) -> dict[str, np.ndarray]:
        """Rows of every body that moves at 240 Hz since reset, (1 + 12 T, 13) float64 in the order of STATE_DIM.

        They are not kept but played again, bit for bit, which costs the episode without its frames.
        """
        again = LabEnv()
        again._keeps_ticks = True
        try:
            again.restore(self.snapshot())
            history = again._running().history
            assert history is not None
            return {name: np.array(rows) for name, rows in history.items()}
        finally:
            again.close()

    @property
    def contacts(self) -> tuple[Contact, ...]:
        """Contacts that began since reset, with the time of their tick."""
        return tuple(self._running().contacts)

    @property
    def bodies(self) -> dict[str, dict[str, Any]]:
        """Shape, half extents in metres, palette colour and mass in kg (0 = fixed) of every named body."""
        setup = self._running().setup
        parts = {b.name: (b.shape, b.half, b.paint, b.mass) for b in setup.bodies}
        if swing := setup.swing:
            for name, r, paint, mass in zip(swing.names, swing.radii, swing.paints, swing.masses, strict=True):
                parts[name] = ("ball", (r, r, r), paint, mass)
        if tray := setup.tray:
            half = np.max([np.abs(centre) + half for centre, half in np.array(tray.boxes)], axis=0)
            parts[tray.name] = ("tray", tuple(half.tolist()), tray.paint, 0.0)
        keys = ("shape", "half", "color", "mass")
        return {name: dict(zip(keys, part, strict=True)) for name, part in parts.items()}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Obs, dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: Seed of everything that is drawn.
            options: ``scenario`` (a name), ``prompt`` (a text), ``variation`` ({factor: value}, ``scenario`` and
                ``split`` among them), ``snapshot`` (from `snapshot`); all optional.

        Raises:
            EnvError: If an option, a scenario, a factor or its value is unknown.
            PromptError: If no word of the prompt was understood.
        """
        super().reset(seed=seed)
        given = reset_options(options, _OPTIONS)
        if "snapshot" in given:
            self.restore(given["snapshot"])
            return self._modes.copied(self._obs), self._info([], 0.0)
        shares = self.np_random.random(_SHARES)
        episode_seed = int(self.np_random.integers(1 << 31))
        variation = dict(given.get("variation", {}))
        if "scenario" in given:
            variation["scenario"] = given["scenario"]
        wished: dict[str, Any] = {}
        phrases: dict[str, str] = {}
        unknown: list[str] = []
        if "prompt" in given:
            wished, unknown, phrases = lab_prompt(given["prompt"])
        name = self._scenario(variation, wished, float(shares[0]))
        split = variation.pop("split", "train")
        if split not in SPLITS:
            raise EnvError(f"split must be one of {', '.join(SPLITS)}; got {split!r}")
        scenario = SCENARIOS[name]
        values = drawn(scenario.factors, scenario.axis, scenario.pair, split, shares[1:])
        if wished:
            values["change"] = "none"
        for factor, word in wished.items():
            if factor in scenario.all_factors:
                values[factor] = _meant(scenario.all_factors[factor], word)
            elif word != name:
                unknown.append(phrases[factor])
        variation.pop("scenario", None)
        values |= checked(scenario.all_factors, variation, name)
        self._begin({"scenario": name, "split": split, **values}, episode_seed, tuple(unknown))
        self._show()
        if unknown:
            _warn_unknown(unknown)
        return self._modes.copied(self._obs), self._info([], 0.0)

    def step(self, action: np.ndarray) -> tuple[Obs, float, bool, bool, dict[str, Any]]:
        """Advance by one control step of 1/20 s.

        Raises:
            ActionError: If the action has the wrong shape, is not finite, or lies outside the space.
            EnvError: If there is no episode.
        """
        self._running()
        low, high = self.action_space.low, self.action_space.high  # type: ignore[attr-defined]
        before = self._distance()
        events = self._advance(tuple(check_action(action, low, high, tuple(ACTIONS), batched=False).tolist()))
        self._show()
        reward = before - self._distance()
        return self._modes.copied(self._obs), reward, False, False, self._info(events, reward)

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """Return the present frame, or None without a render mode."""
        self._running()
        return self._shots[self._modes.cameras[0]].rgb.copy() if self.render_mode == "rgb_array" else None

    def redraw(self) -> None:
        """Take the last picture again, with nothing around it; `worldsim bench speed` times steps beside it."""
        self._running()
        self._scene.redraw()

    def close(self) -> None:
        """Free the Bullet client."""
        self._scene.close()

    def snapshot(self) -> LabSnapshot:
        """Return everything that the next steps depend on."""
        world = self._running()
        return LabSnapshot(
            variation=json.dumps(self._variation),
            episode_seed=self._episode_seed,
            commands=tuple(self._commands),
            rng=self.np_random.bit_generator.state,
            unknown=tuple(self._unknown),
            rows=tuple(world.bodies.values()),
        )

    def restore(self, snapshot: LabSnapshot) -> None:
        """Continue from a snapshot, of this env or of another one, bit for bit; costs its steps without their frames.

        Raises:
            EnvError: If it is not a snapshot of a bench, or was made where Bullet counts otherwise.
        """
        if not isinstance(snapshot, LabSnapshot):
            raise EnvError(f"restore needs a LabSnapshot from snapshot(); got {type(snapshot).__name__}")
        self.np_random.bit_generator.state = snapshot.rng
        try:
            self._replay(snapshot)
        except BaseException:
            self._world = None  # of an episode that could not be restored nothing is left to go on with
            raise
        self._show()

    def _replay(self, snapshot: LabSnapshot) -> None:
        self._begin(json.loads(snapshot.variation), snapshot.episode_seed, snapshot.unknown)
        for command in snapshot.commands:
            if len(command) == 1:
                self._change_gravity(command[0], PROMPT_RAMP)
                self._commands.append(command)
            else:
                self._advance(command)
        self._unknown = snapshot.unknown
        check_replayed(self._running().bodies.values(), snapshot.rows)

    def branch(self, n: int) -> list[LabEnv]:
        """Return n independent envs that continue from the present moment."""
        snapshot = self.snapshot()
        size, modes = (self._scene.height, self._scene.width), self._modes
        envs = [LabEnv(self.render_mode, *size, modes.obs_modes, modes.cameras) for _ in range(n)]
        for env in envs:
            env.restore(snapshot)
        return envs

    def set_prompt(self, text: str) -> list[str]:
        """Change gravity from the next step on, over half a second; return the words that were not understood.

        A change that the episode had before it is given up.

        Raises:
            PromptError: If it names no gravity, the only thing that can change in mid-episode.
        """
        self._running()
        wished, unknown, phrases = lab_prompt(text)
        if "gravity" not in wished:
            raise PromptError(f"only gravity can change in mid-episode (moon, mars, earth, jupiter); got {text!r}")
        unknown += [phrase for factor, phrase in phrases.items() if factor != "gravity"]
        self._unknown = tuple(unknown)
        if unknown:
            _warn_unknown(unknown)
        command = (float(wished["gravity"]),)
        if self._step <= self._variation["change_step"]:  # nothing changes from here on but by prompts
            self._variation = {**self._variation, "change": "none"}
        self._change_gravity(command[0], PROMPT_RAMP)
        self._commands.append(command)
        return unknown

    def draw_prompt(self, rng: np.random.Generator) -> dict[str, str]:
        """Return a prompt, {"en", "zh"}, for another gravity; never in a held-out wording."""
        self._running()
        return draw_lab_prompt(self._ramp[1], rng)

    def masks(self) -> dict[str, np.ndarray]:
        """Return where the first camera sees each body now, {name: (H, W) bool}; "floor" and "border" among them."""
        world, seen = self._running(), self._view(self._modes.cameras[0]).body
        masks: dict[str, np.ndarray] = {}
        for (body, link), name in world.names.items():
            part = seen == body + ((link + 1) << 24)
            masks[name] = masks[name] | part if name in masks else part
        return masks

    def export_scene(self, path: str) -> None:
        """Write the bench as it is now as one GLB file, metres, z up turned to glTF's y up."""
        material = PBRMaterial(baseColorTexture=Image.fromarray(atlas()), roughnessFactor=1.0)
        scene = trimesh.Scene()
        for name, mesh in self._running().meshes():
            faces = np.arange(len(mesh.vertices)).reshape(-1, 3)
            visual = TextureVisuals(uv=mesh.uvs, material=material)
            shape = trimesh.Trimesh(mesh.vertices, faces, vertex_normals=mesh.normals, visual=visual, process=False)
            scene.add_geometry(shape, node_name=name, geom_name=name)
        scene.apply_transform(trimesh.transformations.rotation_matrix(-np.pi / 2, (1, 0, 0)))
        scene.export(path, file_type="glb")

    # ---- an episode

    def _scenario(self, variation: Mapping[str, Any], wished: Mapping[str, str], share: float) -> str:
        """Return the scenario that was named, else one drawn among those that have what was asked for.

        They have every factor of the variation, and of the prompt's as many as can be had; `reset` hands the rest back.
        """
        named = variation.get("scenario", wished.get("scenario"))
        if named is not None:
            if not isinstance(named, str) or named not in SCENARIOS:
                raise EnvError(f"scenario must be one of {', '.join(SCENARIOS)}; got {named!r}")
            return named
        asked = set(variation) - {"split"}
        able = {
            name: len(set(wished) & set(scenario.all_factors))
            for name, scenario in SCENARIOS.items()
            if asked <= set(scenario.all_factors)
        }
        if not able:
            raise EnvError(
                f"no scenario has all of the factors {', '.join(sorted(asked))}; see scene_card['scenarios']"
            )
        best = [name for name, num_had in able.items() if num_had == max(able.values())]
        return best[int(share * len(best))]

    def _begin(self, variation: dict[str, Any], episode_seed: int, unknown: tuple[str, ...]) -> None:
        self._variation, self._episode_seed, self._unknown = variation, episode_seed, unknown
        self._commands: list[tuple[float, ...]] = []
        scenario = SCENARIOS[variation["scenario"]]
        setup = scenario.build(variation, np.random.default_rng((episode_seed, 5)))
        if variation["side"] == "right":
            setup = mirrored(setup)
        self._setup, self._acts, self._step = setup, scenario.acts, 0
        self._ramp = (variation["gravity"], variation["gravity"], 0, 1)  # from, to m/s2, first step, steps
        self._world = World(self._scene, setup, variation["gravity"], keeps_ticks=self._keeps_ticks)
        self._begun = self._world.bodies
        self._boxes = frozenset(body.name for body in setup.bodies if body.shape == "box" and body.mass > 0)
        self._fallen: set[str] = set()
        self._write_caption()

    def _running(self) -> World:
        self._scene.check_open()
        if self._world is None:
            raise EnvError("there is no episode yet; call reset() first")
        return self._world

    def _gravity(self, tick: int) -> float:
        before, after, begun, length = self._ramp
        share = (self._step - begun + (tick + 1) / TICKS) / length
        return after if share >= 1 else before + (after - before) * share

    def _change_gravity(self, target: float, length: int) -> None:
        self._ramp = (self._gravity(-1), target, self._step, length)
        self._write_caption()

    def _write_caption(self) -> None:
        v = self._variation
        key = (self._episode_seed, 7, len(self._commands))
        band = gravity_band(self._ramp[1])
        self._caption = lab_caption(v, color_of(v["hue"], 0), band, v["wording"] == "held_out", key)

    def _advance(self, command: tuple[float, ...]) -> list[dict[str, Any]]:
        """Do one control step and return its events."""
        world, v = self._running(), self._variation
        events: list[dict[str, Any]] = []
        if v["change"] == "gravity" and self._step == v["change_step"]:
            self._change_gravity(v["change_to"], v["change_length"])
            to = v["change_to"]
            events.append({"name": "change", "factor": "gravity", "to": to, "band": gravity_band(to)})
        begun = world.advance(command, self._acts, [self._gravity(tick) for tick in range(TICKS)])
        self._step += 1
        self._commands.append(command)
        events += [{"name": "contact", "first": c.first, "second": c.second, "time_s": c.time_s} for c in begun]
        for name, row in world.rows.items():
            if name not in self._fallen and self._has_fallen(name, row):
                self._fallen.add(name)
                events.append({"name": "fall", "body": name})
        return events

    def _has_fallen(self, name: str, row: tuple[float, ...]) -> bool:
        """Return whether a box has tipped by more than 45 degrees from how it stood."""
        return name in self._boxes and sum(map(mul, _up(row), _up(self._begun[name]))) < _TILTED

    def _distance(self) -> float:
        """Return how far the task's object is from its goal on the floor, metres; 0 without a task."""
        if self._setup.goal is None:
            return 0.0
        name, goal = self._setup.goal
        row = self._running().rows[name]
        return float(np.hypot(row[0] - goal[0], row[1] - goal[1]))

    # ---- what is seen

    def _camera(self, name: str) -> Camera:
        return camera_of(self._setup, self._running().azimuth, name)

    def _view(self, camera: str) -> View:
        toward = radians(self._variation["light"]) - pi / 2
        flat = (1 - SUN_HEIGHT**2) ** 0.5
        sun = (flat * cos(toward), flat * sin(toward), SUN_HEIGHT)
        return self._scene.render(self._camera(camera), sun, AMBIENT, DIFFUSE, links=True)

    def _shot(self, camera: str) -> Shot:
        view = self._view(camera)
        rgb = view.rgb.copy()
        np.copyto(rgb, _SKY, where=(view.body < 0)[..., None])
        semantic = instance = None
        if self._modes.wants("semantic"):
            semantic = ids_of(view.body, self._table(lambda name: class_of(self._setup, name))).astype(np.uint8)
        if self._modes.wants("instance"):
            instance = ids_of(view.body, self._table(instance_of))
        return Shot(rgb, view.depth, semantic, instance)

    def _table(self, value: Callable[[str], int]) -> dict[int, int]:
        """Return a number for everything on the bench, by its id in a view."""
        return {body + ((link + 1) << 24): value(name) for (body, link), name in self._running().names.items()}

    def _show(self) -> None:
        self._shots = {name: self._shot(name) for name in self._modes.cameras}
        state = self._state() if self._modes.wants("state") else None
        self._obs = self._modes.observe(self._shots, state)

    def _state(self) -> dict[str, dict[str, np.ndarray]]:
        return {name: _parts(row) for name, row in self._running().bodies.items()}

    def _told(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return events with what they say in words."""
        if not events:
            return []
        named = {event[k] for event in events for k in ("first", "second", "body") if k in event}
        nouns, seed = self._nouns(named), (self._episode_seed, 9, self._step)
        wording = self._variation["wording"]
        return [{**event, **event_caption(event, nouns, (*seed, i), wording)} for i, event in enumerate(events)]

    def _nouns(self, names: set[str]) -> dict[str, Noun]:
        """Return what to call bodies."""
        known = self.bodies
        look = {name: (known[name]["color"], known[name]["shape"]) if name in known else ("", "") for name in names}
        cart = self._setup.cart
        return {name: noun(name, color, "cart" if name == cart else shape) for name, (color, shape) in look.items()}

    def _instruction(self, body: str) -> dict[str, str]:
        """Return what is to be done with a body, in words."""
        v = self._variation
        return instruction_caption(v["scenario"], self._nouns({body})[body], (self._episode_seed, 8), v["wording"])

    def _info(self, events: list[dict[str, Any]], reward: float) -> dict[str, Any]:
        task: dict[str, Any] = {}
        if self._setup.goal is not None:
            left = self._distance()
            task = {"goal": np.array(self._setup.goal[1]), "distance": left, "is_success": left < REACHED}
        info = {
            "state": self._state(),
            "events": self._told(events),
            "caption": dict(self._caption),
            "variation": dict(self._variation),
            "gravity": self._gravity(-1),
            "camera": self._modes.poses({name: self._camera(name) for name in self._modes.cameras}),
            "reward_terms": {"nearer": reward},
            "cost": float(any(event["name"] == "fall" for event in events)),
            "prompt_unknown": list(self._unknown),
            "task": task,
        }
        if self._setup.goal is not None:
            info["instruction"] = self._instruction(self._setup.goal[0])
        if self._modes.wants("instance"):
            info["instances"] = {name: instance_of(name) for name in info["state"]}
        return info


def _parts(row: tuple[float, ...]) -> dict[str, np.ndarray]:
    values = np.array(row)
    return {"pos": values[:3].copy(), "quat": values[3:7].copy(), "vel": values[7:10].copy(), "ang": values[10:].copy()}


def _up(row: tuple[float, ...]) -> tuple[float, float, float]:
    """Return a body's z axis in the world."""
    x, y, z, w = row[3:7]
    return 2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)


def _meant(factor: Factor, word: Any) -> Any:
    """Return the value that a prompt's word stands for: a number, or the lowest or highest tenth of training."""
    if factor.values or isinstance(word, int):
        return word
    return factor.at({"low": 0.05, "high": 0.95}[word]) if word in ("low", "high") else float(word)


def _warn_unknown(words: list[str]) -> None:
    warnings.warn(f"the bench cannot express: {', '.join(words)}", UserWarning, stacklevel=3)
