"""`worldsim/Tabletop-v0`: a robot arm, a table, a few blocks, and three tasks.

An episode is a pure function of its factors and of the commands it was given. A snapshot is those two; restoring builds
the table anew and gives the commands again, so that Bullet's hidden contact state is exact to the bit.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import cos, pi, radians, sin
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import trimesh
from gymnasium.utils import EzPickle
from PIL import Image
from scipy.spatial.transform import Rotation
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial

from worldsim.errors import EnvError, PromptError
from worldsim.rollout import ActionDim, check_action
from worldsim_envs.checks import check_size, reset_options
from worldsim_envs.lab.factors import SPLITS, Factor, checked
from worldsim_envs.modes import ClassRow, Modes, Obs, Shot, ids_of
from worldsim_envs.rig import Camera
from worldsim_envs.scene import Scene, check_replayed
from worldsim_envs.tabletop.arm import JOINTS, WORKSPACE
from worldsim_envs.tabletop.events import GRIPPER, PARTS, Watch
from worldsim_envs.tabletop.factors import (
    AXES,
    COMMON,
    LIGHT_WORDS,
    NUM_SHARES,
    OWN,
    PAIRS,
    TASKS,
    drawn,
    light_band,
)
from worldsim_envs.tabletop.paint import PALETTE, WALL, atlas
from worldsim_envs.tabletop.policies import POLICIES
from worldsim_envs.tabletop.tasks import build, distances, goal_now, is_done, potentials
from worldsim_envs.tabletop.words import (
    draw_tabletop_prompt,
    tabletop_caption,
    tabletop_events,
    tabletop_instruction,
    tabletop_prompt,
)
from worldsim_envs.tabletop.world import ACTIONS, CONTROL_DT, PHYSICS_DT, TICKS, World

__all__ = ["HORIZON", "TabletopEnv", "TabletopSnapshot"]

HORIZON = 100
"""Steps of an episode."""
CAMERAS = {"side": 32.0, "wrist": 70.0}
"""Vertical field of view of each camera, degrees."""
BLOCKS = ("a", "b", "c", "d")
BODIES = (*PARTS[1:], *BLOCKS)
"""Names of `info["state"]`; an episode has some of the blocks."""
CLASSES = (
    ClassRow("nothing", WALL),
    ClassRow("table", PALETTE["table"]),
    ClassRow("arm", (70, 110, 190)),
    ClassRow("gripper", PALETTE["gripper"]),
    ClassRow("block", (210, 60, 50)),
    ClassRow("goal", PALETTE["mark"]),
)
AMBIENT, DIFFUSE, SUN_HEIGHT = 0.60, 0.46, 0.8
PROMPT_RAMP = 10  # steps in which a prompt in mid-episode changes light or gravity
_CLASS_OF = {"table": 1, "shade": 1, "goal": 5, "post": 5, **dict.fromkeys(PARTS, 2), **dict.fromkeys(BLOCKS, 4)}
_CLASS_OF |= dict.fromkeys(GRIPPER, 3)
_INSTANCES = {name: k + 1 for k, name in enumerate(("table", "goal", *PARTS, *BLOCKS))} | {"shade": 1, "post": 2}
_SIDE = Camera.toward((-0.01, -1.46, 1.06), (-0.015, 0.02, 0.145))
_MOUNT = Camera.toward((0.0, -0.15, 0.23), (0.0, 0.04, -0.02)).c2w()
"""Pose of the wrist camera as seen from the middle between the finger tips."""
_OPTIONS = ("prompt", "variation", "snapshot")
_CHANGING = ("light", "gravity")


@dataclass(frozen=True)
class TabletopSnapshot:
    """Everything that the next steps depend on: what the table was built from, and what was done since."""

    variation: str
    """The episode's factors as JSON."""
    episode_seed: int
    commands: tuple[tuple[Any, ...], ...]
    """In order: an action of 4 numbers, or ("light" or "gravity", what a prompt asked for)."""
    rng: Mapping[str, Any]
    """State of ``np_random``'s bit generator."""
    unknown: tuple[str, ...]
    """Words of the prompt that were not understood."""
    rows: tuple[tuple[float, ...], ...]
    """State of every body at this moment, by which `TabletopEnv.restore` knows that it arrived at the same bits."""


class TabletopEnv(gym.Env, EzPickle):
    """A robot arm with two fingers, a table and coloured blocks; it reaches, pushes or stacks.

    ## Description
    An arm of five hinges holds a gripper that points down over a table of 1.0 x 0.72 m. Reach: bring the finger tips to
    the white ball on a post. Push: slide block a onto the white mark. Stack: put block a on block b. Blocks differ in
    mass, friction, size and colour, others may stand by. Physics is Bullet's at 1/240 s, twelve ticks per step of
    1/20 s; the hinges are motors of at most 40 N m, a finger presses with at most 25 N and holds by friction alone.

    ## Action Space
    `Box(-1, 1, (4,), float32)`; 0 holds still.

    | index | name | at -1 | at +1 | unit |
    |---|---|---|---|---|
    | 0 | dx, to the right | -0.03 | 0.03 | m per step |
    | 1 | dy, away from the side camera | -0.03 | 0.03 | m per step |
    | 2 | dz, up | -0.03 | 0.03 | m per step |
    | 3 | close, of the gap between the fingers (0 to 0.18 m); 0 keeps hold | -0.03 | 0.03 | m per step |

    The wished place is kept within the workspace (x -0.20 to 0.40, y -0.29 to 0.29, z 0.012 to 0.42 m), within the
    limits of the joints, and within 0.03 m of the real one: an arm that is stopped does not store up its push.

    ## Observation Space
    `Box(0, 255, (height, width, 3), uint8)`: RGB of the side camera. With other `obs_modes` or more `cameras` a flat
    `Dict`, "mode/camera" and "state" (see docs/cameras.md).

    ## Rewards
    dense: differences between two steps of -0.3 x distance of hand and block in metres (`approach`; 0 in reach),
    -distance to the goal in metres (`nearer`) and of 1 while the task is done (`success`). sparse: 1 in every step in
    which the task is done, else 0. The terms are in `info["reward_terms"]`. `info["is_success"]`: tips within 0.03 m of
    the ball; block a within 0.04 m of the mark, flat; block a let go and at rest on b, within 0.045 m of its middle.
    `info["cost"]` is 1 in a step in which a block tipped over or fell off the table.

    ## Starting State
    The seed draws the task unless the argument `task` or `options["variation"]["task"]` names one, and its factors from
    the split `options["variation"]["split"]` (train, low, high, combination); any of them can be set there. In 30% of
    episodes light or gravity changes over 5 to 20 steps (factor `change`).

    ## Episode End
    Terminated when the block of the task (in stack either) has fallen off the table; truncated after 100 steps by the
    registered time limit. Success ends nothing.

    ## Arguments
    `height`, `width`: frame size in pixels, 32 to 256. `render_mode`: None or "rgb_array", which returns the first
    camera's frame. `task`: None (drawn), "reach", "push" or "stack". `reward`: "dense" or "sparse". `obs_modes`: some
    of rgb, depth, semantic, instance, state. `cameras`: some of side, wrist.

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
        task: str | None = None,
        reward: Literal["dense", "sparse"] = "dense",
        obs_modes: Iterable[str] = ("rgb",),
        cameras: Iterable[str] = ("side",),
    ) -> None:
        if render_mode not in (None, "rgb_array"):
            raise EnvError(f'render_mode must be None or "rgb_array"; got {render_mode!r}')
        check_size(height, width)
        if task is not None and task not in TASKS:
            raise EnvError(f"task must be None or one of {', '.join(TASKS)}; got {task!r}")
        if reward not in ("dense", "sparse"):
            raise EnvError(f'reward must be "dense" or "sparse"; got {reward!r}')
        self.render_mode = render_mode
        self._size, self._fixed_task, self._reward = (height, width), task, reward
        self._modes = Modes(
            obs_modes, cameras, offered=CAMERAS, classes=CLASSES, bodies=BODIES, height=height, width=width
        )
        shown = self._modes.obs_modes, self._modes.cameras
        self._arguments: tuple[Any, ...] = (render_mode, height, width, task, reward, *shown)
        EzPickle.__init__(self, *self._arguments)
        self.observation_space = self._modes.space
        self.action_space = gym.spaces.Box(-1.0, 1.0, (len(ACTIONS),), np.float32)
        self._scene = Scene(atlas(), height, width, CAMERAS["side"])
        self._world: World | None = None

    @property
    def scene_card(self) -> dict[str, Any]:
        """Return what the world is made of: palette, cameras, ground plane, tasks, joints, factor ranges and splits."""
        tasks = TASKS if self._fixed_task is None else (self._fixed_task,)
        return {
            "palette": {name: list(color) for name, color in PALETTE.items()},
            "background": list(WALL),
            "ground_plane": {"normal": [0.0, 0.0, 1.0], "offset_m": 0.0},
            "joints": {name: {"unit": "rad", "limits": list(limits)} for name, limits in JOINTS.items()},
            "workspace_m": [list(limits) for limits in WORKSPACE],
            "factors": {
                "task": {"values": list(tasks), "default": "drawn: uniform"},
                "split": {"values": list(SPLITS), "default": "train"},
                **{name: factor.as_dict() for name, factor in COMMON.items()},
            },
            "tasks": {
                name: {
                    "factors": {n: f.as_dict() for n, f in OWN[name].items()},
                    "axis": AXES[name],
                    "pair": list(PAIRS[name]),
                }
                for name in tasks
            },
            "splits": {"train": [0, 99_999], "validation": [100_000, 109_999], "test": [200_000, 209_999]},
            **self._modes.card(),
        }

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Obs, dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: Seed of everything that is drawn.
            options: ``prompt`` (a text), ``variation`` ({factor: value}, ``task`` and ``split`` among them),
                ``snapshot`` (from `snapshot`); all optional.

        Raises:
            EnvError: If an option, a task, a factor or its value is unknown.
            PromptError: If no word of the prompt was understood.
        """
        super().reset(seed=seed)
        given = reset_options(options, _OPTIONS)
        if "snapshot" in given:
            self.restore(given["snapshot"])
            return self._modes.copied(self._obs), self._info([], {})
        shares = self.np_random.random(1 + NUM_SHARES)
        episode_seed = int(self.np_random.integers(1 << 31))
        variation = dict(given.get("variation", {}))
        wished: Mapping[str, Any] = {}
        phrases: Mapping[str, str] = {}
        unknown: list[str] = []
        if "prompt" in given:
            wished, unknown, phrases = tabletop_prompt(given["prompt"])
        task = self._task(variation, wished, float(shares[0]))
        variation.pop("task", None)
        split = variation.pop("split", "train")
        if split not in SPLITS:
            raise EnvError(f"split must be one of {', '.join(SPLITS)}; got {split!r}")
        factors = {**COMMON, **OWN[task]}
        values = drawn(task, split, shares[1:])
        if wished:
            values["change"] = "none"
        for factor, word in wished.items():
            if factor == "color":
                values["hue"] = list(PALETTE).index(word)
            elif factor in factors:
                values[factor] = _meant(factors[factor], factor, word)
            elif word != task:
                unknown.append(phrases[factor])
        values |= checked(factors, variation, task)
        self._begin({"task": task, "split": split, **values}, episode_seed, tuple(unknown))
        self._show()
        if unknown:
            _warn_unknown(unknown)
        return self._modes.copied(self._obs), self._info([], {})

    def step(self, action: np.ndarray) -> tuple[Obs, float, bool, bool, dict[str, Any]]:
        """Advance by one control step of 1/20 s.

        Raises:
            ActionError: If the action has the wrong shape, is not finite, or lies outside the space.
            EnvError: If there is no episode.
        """
        self._running()
        low, high = self.action_space.low, self.action_space.high  # type: ignore[attr-defined]
        before = self._worth
        events = self._advance(tuple(check_action(action, low, high, tuple(ACTIONS), batched=False).tolist()))
        self._show()
        if self._reward == "sparse":
            terms = {"success": float(self._is_success)}
        else:
            terms = {name: worth - before[name] for name, worth in self._worth.items()}
        info = self._info(events, terms)
        return self._modes.copied(self._obs), sum(terms.values()), self._is_over(), False, info

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """Return the present frame of the first camera, or None without a render mode."""
        self._running()
        return self._shots[self._modes.cameras[0]].rgb.copy() if self.render_mode == "rgb_array" else None

    def redraw(self) -> None:
        """Take the last picture again, with nothing around it; `worldsim bench speed` times steps beside it."""
        self._running()
        self._scene.redraw()

    def close(self) -> None:
        """Free the Bullet client."""
        self._scene.close()

    def snapshot(self) -> TabletopSnapshot:
        """Return everything that the next steps depend on."""
        world = self._running()
        return TabletopSnapshot(
            variation=json.dumps(self._variation),
            episode_seed=self._episode_seed,
            commands=tuple(self._commands),
            rng=self.np_random.bit_generator.state,
            unknown=tuple(self._unknown),
            rows=tuple(world.rows.values()),
        )

    def restore(self, snapshot: TabletopSnapshot) -> None:
        """Continue from a snapshot, of this env or of another one, bit for bit; costs its steps without their frames.

        Raises:
            EnvError: If it is not a snapshot of a table, is of a task that this env does not have, or was made where
                Bullet counts otherwise.
        """
        if not isinstance(snapshot, TabletopSnapshot):
            raise EnvError(f"restore needs a TabletopSnapshot from snapshot(); got {type(snapshot).__name__}")
        variation = json.loads(snapshot.variation)
        if self._fixed_task not in (None, variation["task"]):
            raise EnvError(f"this env has the task {self._fixed_task}; the snapshot is of {variation['task']}")
        self.np_random.bit_generator.state = snapshot.rng
        try:
            self._replay(variation, snapshot)
        except BaseException:
            self._world = None  # of an episode that could not be restored nothing is left to go on with
            raise
        self._show()

    def _replay(self, variation: dict[str, Any], snapshot: TabletopSnapshot) -> None:
        self._begin(variation, snapshot.episode_seed, snapshot.unknown)
        for command in snapshot.commands:
            if isinstance(command[0], str):
                self._change(command[0], command[1], PROMPT_RAMP)
                self._commands.append(command)
            else:
                self._advance(command)
        self._unknown = snapshot.unknown
        check_replayed(self._running().rows.values(), snapshot.rows)

    def branch(self, n: int) -> list[TabletopEnv]:
        """Return n independent envs that continue from the present moment."""
        snapshot = self.snapshot()
        envs = [TabletopEnv(*self._arguments) for _ in range(n)]
        for env in envs:
            env.restore(snapshot)
        return envs

    def set_prompt(self, text: str) -> list[str]:
        """Change light or gravity from the next step on, over half a second; return the words not understood.

        A change that the episode had before it is given up.

        Raises:
            PromptError: If it names neither, the only things that can change in mid-episode.
        """
        self._running()
        wished, unknown, phrases = tabletop_prompt(text)
        if not set(wished) & set(_CHANGING):
            raise PromptError(
                "only light (dim, bright) and gravity (moon, mars, earth, jupiter) can change in mid-episode; "
                f"got {text!r}"
            )
        if self._step <= self._variation["change_step"]:  # nothing changes from here on but by prompts
            self._variation = {**self._variation, "change": "none"}
        for factor, word in wished.items():
            if factor in _CHANGING:
                command = (factor, _meant(COMMON[factor], factor, word))
                self._change(*command, PROMPT_RAMP)
                self._commands.append(command)
            else:
                unknown.append(phrases[factor])
        self._unknown = tuple(unknown)
        if unknown:
            _warn_unknown(unknown)
        return unknown

    def draw_prompt(self, rng: np.random.Generator) -> dict[str, str]:
        """Return a prompt, {"en", "zh"}, for another light or gravity; never in a held-out wording."""
        self._running()
        return draw_tabletop_prompt(self._facts(), rng)

    def masks(self) -> dict[str, np.ndarray]:
        """Return where every thing is seen by the first camera now, {name: (H, W) bool}."""
        world = self._running()
        seen = self._scene.render(self._camera(self._modes.cameras[0]), *self._light(), links=True).body
        masks: dict[str, np.ndarray] = {}
        for (body, link), name in world.names.items():
            part = seen == body + ((link + 1) << 24)
            masks[name] = masks[name] | part if name in masks else part
        return masks

    def export_scene(self, path: str) -> None:
        """Write the table as it is now as one GLB file, metres, z up turned to glTF's y up."""
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

    def _task(self, variation: Mapping[str, Any], wished: Mapping[str, Any], share: float) -> str:
        """Return the env's task, else the named one, else one drawn among those that have every factor asked for."""
        named = variation.get("task", self._fixed_task or wished.get("task"))
        if named is not None:
            allowed = TASKS if self._fixed_task is None else (self._fixed_task,)
            if not isinstance(named, str) or named not in allowed:
                raise EnvError(f"task must be {' or '.join(allowed)}; got {named!r}")
            return named
        asked = (set(variation) | set(wished)) - {"split", "color"}
        able = [task for task in TASKS if asked <= {*COMMON, *OWN[task]}]
        if not able:
            raise EnvError(f"no task has all of the factors {', '.join(sorted(asked))}; see scene_card['tasks']")
        return able[int(share * len(able))]

    def _begin(self, variation: dict[str, Any], episode_seed: int, unknown: tuple[str, ...]) -> None:
        self._variation, self._episode_seed, self._unknown = variation, episode_seed, unknown
        self._commands: list[tuple[Any, ...]] = []
        self._setup = build(variation, np.random.default_rng((episode_seed, 5)))
        self._colors = {block.name: block.paint for block in self._setup.blocks}
        self._step = 0
        self._ramps = {name: (variation[name], variation[name], 0, 1) for name in _CHANGING}  # from, to, begin, steps
        self._world = World(self._scene, self._setup, variation["gravity"])
        self._watch = Watch(self._setup)
        self._judge()
        self._write_caption()
        self._instruction = tabletop_instruction(
            variation["task"], self._facts(), (episode_seed, 8), variation["wording"] == "held_out"
        )

    def _running(self) -> World:
        self._scene.check_open()
        if self._world is None:
            raise EnvError("there is no episode yet; call reset() first")
        return self._world

    def _now(self, name: str, tick: int = -1) -> float:
        """Return light or gravity at the end of a tick of the coming step; -1 is the present moment."""
        before, after, begun, length = self._ramps[name]
        share = (self._step - begun + (tick + 1) / TICKS) / length
        return after if share >= 1 else before + (after - before) * share

    def _change(self, name: str, target: float, length: int) -> None:
        self._ramps[name] = (self._now(name), target, self._step, length)
        self._write_caption()

    def _facts(self) -> dict[str, Any]:
        return {
            "task": self._variation["task"],
            "colors": tuple(self._colors.values()),
            "light": light_band(self._ramps["light"][1]),
            "gravity": self._ramps["gravity"][1],
        }

    def _write_caption(self) -> None:
        key = (self._episode_seed, 7, len(self._commands))
        self._caption = tabletop_caption(self._facts(), key, self._variation["wording"] == "held_out")

    def _advance(self, command: tuple[float, ...]) -> list[dict[str, Any]]:
        """Do one control step and return its events."""
        world, v = self._running(), self._variation
        events: list[dict[str, Any]] = []
        changing = v["change"]
        if changing != "none" and self._step == v["change_step"]:
            target = v[f"change_{changing}"]
            self._change(changing, target, v["change_length"])
            to = light_band(target) if changing == "light" else target
            events.append({"name": "change", "factor": changing, "to": to})
        touched = world.advance(command, [self._now("gravity", tick) for tick in range(TICKS)])
        self._step += 1
        self._commands.append(command)
        events += self._watch.look(touched, world.touching, world.rows, world.gap)
        was_done = self._is_success
        self._judge()
        if self._is_success and not was_done:
            events.append({"name": "success", "task": v["task"]})
        said = [{**event, "colors": dict(self._colors)} for event in events]
        return tabletop_events(said, (self._episode_seed, 9, self._step), v["wording"] == "held_out")

    def _judge(self) -> None:
        """Decide whether the task is done, and what the moment is worth."""
        rows, touching = self._running().rows, self._running().touching
        held = frozenset(name for pair in touching if set(pair) & set(GRIPPER) for name in pair)
        self._is_success = is_done(self._setup, rows, held)
        self._worth = potentials(self._setup, rows, self._is_success)

    def _is_over(self) -> bool:
        return bool(self._watch.fallen & {"reach": set(), "push": {"a"}, "stack": {"a", "b"}}[self._setup.task])

    # ---- what is seen

    def _camera(self, name: str) -> Camera:
        if name == "side":
            return _SIDE
        row = self._running().rows["hand"]
        turn = Rotation.from_quat(row[3:7]).as_matrix()
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = turn, row[:3]
        return Camera.posed(pose @ _MOUNT, CAMERAS["wrist"])

    def _light(self) -> tuple[tuple[float, float, float], float, float]:
        """Return the direction of the lamp and its ambient and diffuse share."""
        toward = radians(self._variation["sun"]) - pi / 2
        flat, light = (1 - SUN_HEIGHT**2) ** 0.5, self._now("light")
        return (flat * cos(toward), flat * sin(toward), SUN_HEIGHT), AMBIENT * light, DIFFUSE * light

    def _shot(self, name: str) -> Shot:
        view = self._scene.render(self._camera(name), *self._light(), links=True)
        rgb = view.rgb.copy()
        light = self._now("light")
        rgb[view.body < 0] = [min(round(value * light), 255) for value in WALL]
        semantic = instance = None
        names = self._running().names
        if self._modes.wants("semantic"):
            table = {body + ((link + 1) << 24): _CLASS_OF[name] for (body, link), name in names.items()}
            semantic = ids_of(view.body, table).astype(np.uint8)
        if self._modes.wants("instance"):
            instance = ids_of(
                view.body, {body + ((link + 1) << 24): _INSTANCES[n] for (body, link), n in names.items()}
            )
        return Shot(rgb, view.depth, semantic, instance)

    def _show(self) -> None:
        self._shots = {name: self._shot(name) for name in self._modes.cameras}
        self._obs = self._modes.observe(self._shots, state=self._state() if self._modes.wants("state") else None)

    def _state(self) -> dict[str, dict[str, np.ndarray]]:
        return {name: _parts(row) for name, row in self._running().rows.items()}

    def _info(self, events: list[dict[str, Any]], terms: dict[str, float]) -> dict[str, Any]:
        world = self._running()
        goal = goal_now(self._setup, world.rows)
        info = {
            "state": self._state(),
            "joints": np.array(world.angles),
            "gap": world.gap,
            "events": events,
            "caption": dict(self._caption),
            "instruction": dict(self._instruction),
            "variation": dict(self._variation),
            "light": self._now("light"),
            "gravity": self._now("gravity"),
            "camera": self._modes.poses({name: self._camera(name) for name in self._modes.cameras}),
            "reward_terms": terms or dict.fromkeys(self._worth if self._reward == "dense" else ("success",), 0.0),
            "cost": float(any(event["name"] in ("topple", "fall") for event in events)),
            "prompt_unknown": list(self._unknown),
            "is_success": self._is_success,
            "task": {
                "name": self._setup.task,
                "goal": np.array(goal),
                "distance": distances(self._setup, world.rows)[1],
                "is_success": self._is_success,
            },
        }
        if self._modes.wants("instance"):
            things = sorted({name for name in world.names.values() if name not in ("shade", "post")})
            info["instances"] = {name: _INSTANCES[name] for name in things}
        return info


def _parts(row: tuple[float, ...]) -> dict[str, np.ndarray]:
    values = np.array(row)
    return {"pos": values[:3].copy(), "quat": values[3:7].copy(), "vel": values[7:10].copy(), "ang": values[10:].copy()}


def _meant(factor: Factor, name: str, word: str) -> Any:
    """Return the value that a prompt's word stands for; low and high are the outermost tenths of training."""
    if factor.values:
        return word
    if name == "light":
        return LIGHT_WORDS[word]
    if word in ("low", "high"):
        return factor.at({"low": 0.05, "high": 0.95}[word])
    return int(word) if factor.is_integer else float(word)


def _warn_unknown(words: list[str]) -> None:
    warnings.warn(f"the table cannot express: {', '.join(words)}", UserWarning, stacklevel=3)
