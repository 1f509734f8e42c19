"""`worldsim/City-v0`: an ego car in a procedural city, seen from the driver's seat.

All that moves is plain data (`CityState`), advanced by documented equations; Bullet says what touches and what is seen.
Saving, restoring and branching are therefore exact, frames included.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import trimesh
from gymnasium.utils import EzPickle
from PIL import Image
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial

from worldsim.errors import EnvError
from worldsim.rollout import ActionDim, check_action
from worldsim_envs.checks import check_size, reset_options
from worldsim_envs.city.blocks import PAVEMENT
from worldsim_envs.city.event_words import event_caption, instruction_caption
from worldsim_envs.city.events import collision, happened
from worldsim_envs.city.factors import CHANGEABLE, FACTORS, checked_factors, draw_factors, overruled
from worldsim_envs.city.guide import follow, lane_offset, leader, route_info, way_ahead
from worldsim_envs.city.layout import Layout
from worldsim_envs.city.lights import colors
from worldsim_envs.city.paint import CAR_COLORS, CAR_SIZE, PALETTE, WALKER_SIZE, atlas
from worldsim_envs.city.policies import POLICIES
from worldsim_envs.city.sight import BODIES, CAMERAS, CLASSES, KINDS, LIGHT, camera_of, plain_modes
from worldsim_envs.city.stage import Stage
from worldsim_envs.city.state import (
    CONTROL_DT,
    MAX_BRAKE,
    MAX_STEER,
    MAX_THROTTLE,
    PHYSICS_DT,
    SIGHT,
    WHEELBASE,
    CitySnapshot,
    CityState,
    changed,
    conditions_at,
    middle,
    move_ego,
)
from worldsim_envs.city.tasks import TASKS, goal_of, task_info, task_terms
from worldsim_envs.city.traffic import NUM_CARS, Moving, move_cars, spawn_cars
from worldsim_envs.city.walkers import NUM_WALKERS, move_walkers, spawn_walkers
from worldsim_envs.city.weather import Conditions, grip_on
from worldsim_envs.city.words import city_prompt, draw_city_prompt, scene_caption
from worldsim_envs.geojson import read_footprints
from worldsim_envs.mesh import Mesh
from worldsim_envs.modes import Modes, Obs

__all__ = ["CityEnv"]

OFF_ROAD_LIMIT = 3.0  # m


class CityEnv(gym.Env, EzPickle):
    """A car in a procedural city, driven from its camera.

    ## Description
    Streets form a jittered grid, straight or smoothly curved, with lane marks, kerbs, crossings, pavements, houses of
    several shapes, parks, parked cars, traffic lights with a cycle of 16 s, cars that keep their distance by the
    intelligent driver model, and people who cross where there are stripes. Sun, cloud, rain, wetness and fog are
    numbers that words and presets set. The ego car is a kinematic bicycle: with wheelbase L = 2.7 m, front wheel angle
    d and speed v,

        x' = v cos(yaw)    y' = v sin(yaw)    yaw' = v tan(d) / L, at most g / v    v' = a - 0.03 v, a at least -g

    integrated at 1/240 s for 24 substeps per action (0.1 s). The wheels turn at most 2 rad/s, v stays in 0..15 m/s, and
    the grip g falls from 7 m/s2 on a dry road to 5 m/s2 on a wet one. Contacts are Bullet's.

    ## Action Space
    `Box(-1, 1, (2,), float32)`

    | index | name | at -1 | at 0 | at +1 | unit |
    |---|---|---|---|---|---|
    | 0 | steer (left positive) | -0.5 | 0 | 0.5 | rad |
    | 1 | throttle (two slopes: brake below 0, pull above) | -6 | 0 | 3 | m/s2 |

    ## Observation Space
    `Box(0, 255, (height, width, 3), uint8)`: RGB of a camera 1.4 m above the road, 90 degrees of view, pitched 5
    degrees down. With other `obs_modes`, several `cameras` or `lidar`, a flat `Dict`:

    | key | array | unit |
    |---|---|---|
    | rgb/... | uint8 (height, width, 3) | of the camera named behind the stroke |
    | depth/... | float32 (height, width) | m along the optical axis, 160 = nothing |
    | semantic/... | uint8 (height, width) | class of `scene_card["semantic"]` |
    | instance/... | int32 (height, width) | id of `info["instances"]`, 0 = ground, trees, lamps, sky |
    | state | float32 (221,) | 17 bodies x (pos m, quat xyzw, vel m/s, ang rad/s), zeros for who is not there |
    | lidar | float32 (256,) | m, level beams 0.8 m up, counterclockwise from ahead, 60 = nothing |
    | plain/... | uint8 (height, width, 3) | colours under even white light, without weather, lens and shadows |
    | kind/... | uint8 (height, width) | sort of body, `scene_card["kinds"]`, out of the same picture |
    | light/... | float32 (11,) | `scene_card["light"]`: where the light comes from, the weather, the lens |

    ## Rewards
    0.1 per metre along the lane, -5 at a collision. Task lane_follow: 0.5 exp(-(offset / 0.6 m)^2) for the lane and
    0.5 (1 - |v - target| / target) for the speed. Task route: 0.1 per metre, 10 at the goal, -5 when more than 15 m off
    the route. The terms are in `info["reward_terms"]`; `info["cost_terms"]` holds collision, off_road and red_light,
    `info["cost"]` their sum. With a task, `info["task"]`, `info["is_success"]` and `info["instruction"]`.

    ## Starting State
    On a lane at 5 to 10 m/s. `reset(options={"prompt": ..., "variation": {...}})` sets what the seed would draw; the
    factors and their ranges are in `scene_card["factors"]`.

    ## Episode End
    Terminated at a collision or more than 3 m off the road; task route also at its goal, 15 m behind the third
    junction, and when the route is lost. Truncated by the registered time limit: 1,000 steps, 400 (lane_follow), 800
    (route). Lane keeping succeeds after 100 m without any cost and goes on.

    ## Arguments
    `height`, `width`: frame size in pixels, 32 to 256. `render_mode`: None or "rgb_array", which returns the first
    camera's frame. `obs_modes`: some of rgb, depth, semantic, instance, state, plain, kind, light; with plain and
    without rgb no frame is made, and `render` shows the plain colours. `cameras`: some of front, left, right, rear,
    chase, birds_eye. `lidar`: whether ranges are observed. `task`: None, "lane_follow" or "route". `footprints`: path
    of a GeoJSON file whose buildings take the place of the city's own (`worldsim_envs.geojson.read_footprints`).

    ## Version History
    v0: first version.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - Gymnasium's name and form
    control_dt = CONTROL_DT
    physics_dt = PHYSICS_DT
    action_spec = (
        ActionDim(name="steer", unit="rad", low=-MAX_STEER, high=MAX_STEER),
        ActionDim(name="throttle", unit="m/s2", low=-MAX_BRAKE, high=MAX_THROTTLE),
    )
    policies = POLICIES

    def __init__(
        self,
        render_mode: str | None = None,
        height: int = 64,
        width: int = 64,
        obs_modes: Sequence[str] = ("rgb",),
        cameras: Sequence[str] = ("front",),
        lidar: bool = False,
        task: str | None = None,
        footprints: str | None = None,
    ) -> None:
        if footprints is not None:
            footprints = os.path.abspath(footprints)  # a copy of the env may be made where the folder is another
        if render_mode not in (None, "rgb_array"):
            raise EnvError(f'render_mode must be None or "rgb_array"; got {render_mode!r}')
        check_size(height, width)
        if task not in (None, *TASKS):
            raise EnvError(f"task must be None or one of {', '.join(TASKS)}; got {task!r}")
        self.render_mode = render_mode
        self._task = task or ""
        self._path, self._footprints = footprints, read_footprints(footprints) if footprints else ()
        told = repr(self._footprints).encode() if self._footprints else b""
        self._footprints_digest = hashlib.sha256(told).hexdigest() if told else ""
        self._modes = Modes(
            obs_modes,
            cameras,
            offered=CAMERAS,
            classes=CLASSES,
            bodies=BODIES,
            height=height,
            width=width,
            lidar=lidar,
            own=plain_modes(height, width),
        )
        shown = self._modes.obs_modes, self._modes.cameras
        EzPickle.__init__(self, render_mode, height, width, *shown, lidar, task, footprints)
        self.observation_space = self._modes.space
        self.action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self._stage = Stage(self._modes, height, width)
        self._state: CityState | None = None

    @property
    def scene_card(self) -> dict[str, Any]:
        """Return what the world is made of: palette, cameras, classes, ground plane, factors and splits."""
        return {
            **self._modes.card(),
            "kinds": list(KINDS),
            "light": list(LIGHT),
            "palette": {**{k: list(v) for k, v in PALETTE.items()}, **{k: list(v) for k, v in CAR_COLORS.items()}},
            "ground_plane": {"normal": [0.0, 0.0, 1.0], "offset_m": 0.0},
            "factors": json.loads(json.dumps(FACTORS)),
            "splits": {
                "train": [0, 99_999],
                "validation": [100_000, 109_999],
                "test": [200_000, 209_999],
            },
        }

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Obs, dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: Seed of everything that is drawn.
            options: ``prompt`` (a text), ``variation`` ({factor: value}), ``snapshot`` (from `snapshot`); all optional.

        Raises:
            EnvError: If an option, a factor or its value is unknown.
            PromptError: If no word of the prompt was understood.
        """
        super().reset(seed=seed)
        given = reset_options(options, ("prompt", "variation", "snapshot"))
        if "snapshot" in given:
            self.restore(given["snapshot"])
            return self._modes.copied(self._obs), self._info(*self._nothing())
        wished: dict[str, Any] = {}
        unknown: list[str] = []
        if "prompt" in given:
            reading = city_prompt(given["prompt"])
            wished, unknown = {**checked_factors(reading.factors), "change": "none"}, reading.unknown
        wished = overruled(wished, checked_factors(given.get("variation", {})))
        self._variation, self._unknown = draw_factors(self.np_random, wished), tuple(unknown)
        self._episode_seed = int(self.np_random.integers(1 << 31))
        self._build()
        if self._layout.num_left_out:
            share = f"{self._layout.num_left_out} of {len(self._footprints)}"
            warnings.warn(f"{share} footprints found no place beside the streets", UserWarning, stacklevel=2)
        self._state = self._start()
        self._stage.place(self._state)
        self._show()
        if unknown:
            _warn_unknown(unknown)
        return self._modes.copied(self._obs), self._info(*self._nothing())

    def step(self, action: np.ndarray) -> tuple[Obs, float, bool, bool, dict[str, Any]]:
        """Advance by one control step of 0.1 s.

        Raises:
            ActionError: If the action has the wrong shape, is not finite, or lies outside the space.
            EnvError: If there is no episode to continue.
        """
        state = self._running()
        low, high = self.action_space.low, self.action_space.high  # type: ignore[attr-defined]
        steer, throttle = check_action(action, low, high, ("steer", "throttle"), batched=False).tolist()
        moved = move_ego(state, steer * MAX_STEER, throttle * (MAX_THROTTLE if throttle > 0 else MAX_BRAKE))
        moved, events = self._change_world(moved)
        moved, lost = follow(self._layout, self._move_others(moved), is_fixed=self._task == "route")
        x, y, _ = middle(moved)
        points = way_ahead(self._layout, moved)
        heading, offset = float(points[0, 2]), lane_offset(points, x, y)
        progress = (moved.x - state.x) * math.cos(heading) + (moved.y - state.y) * math.sin(heading)
        self._stage.place(moved)
        hit, off = self._stage.hit(moved), self._layout.off_road(x, y) > OFF_ROAD_LIMIT
        events += happened(self._layout, state, moved, leader(points, moved))
        ran_red = any(event["name"] == "red_light" for event in events)
        costs = {"collision": float(bool(hit)), "off_road": float(off), "red_light": float(ran_red)}
        moved = replace(moved, travelled=moved.travelled + progress, faults=moved.faults + sum(costs.values()))
        if hit:
            events.append(collision(moved, hit))
        if off:
            events.append({"name": "off_road"})
        gone = moved.progress if self._task == "route" else moved.travelled
        is_fit = self._task == "route" or moved.faults == 0
        if self._task and not state.is_done and gone >= moved.goal and is_fit and not (hit or off):
            moved = replace(moved, is_done=True)
            events.append({"name": "goal"})
        over = bool(hit) or off or lost or (self._task == "route" and moved.is_done)
        self._state = replace(moved, over=over)
        target = self._variation["target_speed"]
        terms = task_terms(self._task, self._state, progress, offset, target, bool(hit), lost)
        self._show()
        info = self._info(terms, costs, events)
        return self._modes.copied(self._obs), float(sum(terms.values())), over, False, info

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """Return the present frame, or None without a render mode."""
        self._running(or_over=True)
        return self._shots[self._modes.cameras[0]].rgb.copy() if self.render_mode == "rgb_array" else None

    def redraw(self) -> None:
        """Take the last picture again, with nothing around it; `worldsim bench speed` times steps beside it."""
        self._running(or_over=True)
        self._stage.scene.redraw()

    def close(self) -> None:
        """Free the Bullet client."""
        self._stage.close()

    def snapshot(self) -> CitySnapshot:
        """Return everything that the next steps depend on."""
        state = self._running(or_over=True)
        rng = self.np_random.bit_generator.state
        return CitySnapshot(
            json.dumps(self._variation), self._episode_seed, state, rng, self._unknown, self._footprints_digest
        )

    def restore(self, snapshot: CitySnapshot) -> None:
        """Continue from a snapshot, of this env or of another one, bit for bit.

        Raises:
            EnvError: If it is not a snapshot of a city with this task and these footprints.
        """
        if not isinstance(snapshot, CitySnapshot):
            raise EnvError(f"restore needs a CitySnapshot from snapshot(); got {type(snapshot).__name__}")
        if snapshot.state.task != self._task:
            had, has = snapshot.state.task or "none", self._task or "none"
            raise EnvError(f"the snapshot is of the task {had}; this env has {has}")
        if snapshot.footprints != self._footprints_digest:
            raise EnvError("the snapshot is of a city with other footprints; make the env with the same file")
        self.np_random.bit_generator.state = snapshot.rng
        self._variation, self._unknown = json.loads(snapshot.variation), snapshot.unknown
        self._episode_seed = snapshot.episode_seed
        self._build()
        self._state = snapshot.state
        self._stage.place(self._state)
        self._show()

    def branch(self, n: int) -> list[CityEnv]:
        """Return n independent envs that continue from the present moment."""
        snapshot = self.snapshot()
        scene, modes = self._stage.scene, self._modes
        size, seen = (scene.height, scene.width), (modes.obs_modes, modes.cameras, modes.lidar)
        envs = [CityEnv(self.render_mode, *size, *seen, self._task or None, self._path) for _ in range(n)]
        for env in envs:
            env.restore(snapshot)
        return envs

    def set_prompt(self, text: str) -> list[str]:
        """Change time, weather and traffic from the next step on, over one second; return the words not understood.

        From then on nothing changes but by prompts: a change that the episode had before it is given up.

        Raises:
            PromptError: If no word was understood.
        """
        state = self._running()
        reading = city_prompt(text)
        wished = {name: value for name, value in checked_factors(reading.factors).items() if name in CHANGEABLE}
        unknown = [*reading.unknown, *(phrase for name, phrase in reading.phrases.items() if name not in CHANGEABLE)]
        self._unknown = tuple(unknown)
        if unknown:
            _warn_unknown(unknown)
        if wished:
            self._variation = {**self._variation, "change": "none"}
            self._state = changed(state, wished, 10)
        return unknown

    def draw_prompt(self, rng: np.random.Generator) -> dict[str, str]:
        """Return a prompt, {"en", "zh"}, for another time, weather or traffic; never in a held-out wording."""
        state = self._running()
        return draw_city_prompt(state.time_of_day, state.weather, rng)

    def export_scene(self, path: str) -> None:
        """Write what surrounds the ego now as one GLB file, metres, z up turned to glTF's y up."""
        state = self._running(or_over=True)
        material = PBRMaterial(baseColorTexture=Image.fromarray(atlas()), roughnessFactor=1.0)
        scene = trimesh.Scene()

        def put(name: str, mesh: Mesh) -> None:
            visual = TextureVisuals(uv=mesh.uvs, material=material)
            faces = np.arange(len(mesh.vertices)).reshape(-1, 3)
            shape = trimesh.Trimesh(mesh.vertices, faces, vertex_normals=mesh.normals, visual=visual, process=False)
            scene.add_geometry(shape, node_name=name, geom_name=name)

        for name, mesh in self._stage.meshes(state).items():
            put(name, mesh)
        scene.apply_transform(trimesh.transformations.rotation_matrix(-np.pi / 2, (1, 0, 0)))
        scene.export(path, file_type="glb")

    # ---- drawing an episode

    def _build(self) -> None:
        """Fill the Bullet scene with what an episode keeps: ground, ego and the pool of cars."""
        v = self._variation
        side = 1 if v["side"] == "right" else -1
        self._layout = Layout(v["map_seed"], side, v["traffic"], v["building_height"], v["bend"], self._footprints)
        self._stage.build(self._layout)

    def _start(self) -> CityState:
        v = self._variation
        rng = np.random.default_rng((self._episode_seed, 3))
        while True:
            i, j = rng.integers(1, self._layout.lines.shape[1] - 1, 2).tolist()
            direction, part, salt = int(rng.integers(4)), rng.random(), int(rng.integers(1 << 30))
            route = (i, j, direction, round(12 + 20 * part, 3), salt)
            if self._layout.has_street(i, j, direction):
                break
        x, y, yaw, _ = self._layout.route(*route).points[2].tolist()
        now = Conditions(*(v[name] for name in Conditions.__dataclass_fields__))
        rear = (x - np.cos(yaw) * WHEELBASE / 2, y - np.sin(yaw) * WHEELBASE / 2)
        cars = spawn_cars(self._layout, (), (x, y, yaw), NUM_CARS[v["traffic"]], (self._episode_seed, 0), near=16.0)
        people = NUM_WALKERS[v["pedestrians"]]
        walkers = spawn_walkers(self._layout, (), (x, y, yaw), people, (self._episode_seed, 0), near=9.0)
        return CityState(
            step=0,
            x=float(rear[0]),
            y=float(rear[1]),
            yaw=float(yaw),
            speed=float(v["start_speed"]),
            steer=0.0,
            yaw_rate=0.0,
            route=route,
            progress=2.0,
            cars=cars,
            walkers=walkers,
            time_of_day=v["time_of_day"],
            weather=v["weather"],
            traffic=v["traffic"],
            pedestrians=v["pedestrians"],
            ramp=(now, now, 0, 1),
            task=self._task,
            goal=goal_of(self._layout, self._task, route),
        )

    # ---- one step

    def _running(self, *, or_over: bool = False) -> CityState:
        self._stage.scene.check_open()
        if self._state is None:
            raise EnvError("there is no episode yet; call reset() first")
        if self._state.over and not or_over:
            raise EnvError("the episode has terminated; call reset() first")
        return self._state

    def _nothing(self) -> tuple[dict[str, float], dict[str, float], list[dict[str, Any]]]:
        """Return the reward terms, costs and events of a reset."""
        terms = task_terms(self._task, self._running(or_over=True), 0.0, 0.0, 1.0, False, False)
        return dict.fromkeys(terms, 0.0), dict.fromkeys(("collision", "off_road", "red_light"), 0.0), []

    def _change_world(self, state: CityState) -> tuple[CityState, list[dict[str, Any]]]:
        """Return the state with the episode's own change begun if it is time, and that event."""
        v = self._variation
        if v["change"] == "none" or state.step != v["change_step"]:
            return state, []
        factor, value = v["change"].split("=")
        changing = changed(state, {factor: value}, v["change_length"])
        return changing, [{"name": "change", "factor": factor, "value": value}]

    def _move_others(self, state: CityState) -> CityState:
        """Return the state with cars and people one step on, and those who left replaced."""
        ego, key, layout = middle(state), (self._episode_seed, state.step), self._layout
        driver = (*ego, state.speed)
        moving = Moving(
            driver,
            tuple(one.pose[:2] for one in state.walkers if one.is_crossing),
            state.step,
            grip_on(conditions_at(state).wetness),
        )
        cars = move_cars(layout, state.cars, moving, self.control_dt)
        wheels = [driver, *((*car.pose[:3], car.speed) for car in cars)]
        walkers = move_walkers(layout, state.walkers, wheels, state.step, self.control_dt)
        cars = spawn_cars(layout, cars, ego, NUM_CARS[state.traffic], key)
        if state.step % 4 == 0:
            walkers = spawn_walkers(layout, walkers, ego, NUM_WALKERS[state.pedestrians], key)
        return replace(state, cars=cars, walkers=walkers)

    def _show(self) -> None:
        """See the present moment with every camera."""
        state = self._running(or_over=True)
        sun = float(np.radians(self._variation["sun_azimuth"]))
        self._shots = {name: self._stage.shot(state, sun, self._episode_seed, name) for name in self._modes.cameras}
        bodies = self._bodies(state) if self._modes.wants("state") else None
        self._obs = self._modes.observe(self._shots, bodies, self._stage.lidar(state) if self._modes.lidar else None)

    def _bodies(self, state: CityState) -> dict[str, dict[str, np.ndarray]]:
        """Return pose and velocity of everything that moves, by name."""
        x, y, yaw = middle(state)
        rear = WHEELBASE / 2 * state.yaw_rate  # m/s sideways at the middle
        c, s = math.cos(yaw), math.sin(yaw)
        velocity = (state.speed * c - rear * s, state.speed * s + rear * c, 0.0)
        bodies = {"ego": _row((x, y, CAR_SIZE[2] / 2), yaw, velocity, state.yaw_rate)}
        for car in state.cars:
            cx, cy, heading, curve = car.pose
            along = (car.speed * np.cos(heading), car.speed * np.sin(heading), 0.0)
            bodies[f"car{car.slot}"] = _row((cx, cy, CAR_SIZE[2] / 2), heading, along, car.speed * curve)
        for one in state.walkers:
            wx, wy, heading = one.pose
            along = (one.speed * math.cos(heading), one.speed * math.sin(heading), 0.0)
            z = WALKER_SIZE[2] / 2 + (0.0 if one.is_crossing else PAVEMENT)
            bodies[f"pedestrian{one.slot}"] = _row((wx, wy, z), heading, along, 0.0)
        return bodies

    def _info(self, terms: dict[str, float], costs: dict[str, float], events: list[dict[str, Any]]) -> dict[str, Any]:
        state = self._running(or_over=True)
        begun = int(state.ramp[2])
        v, after = self._variation, state.ramp[1]
        facts = {
            "time_of_day": state.time_of_day, "weather": state.weather, "traffic": state.traffic,
            "pedestrians": state.pedestrians, "rain": after.rain, "fog": after.fog, "cloud": after.cloud,
            "wetness": after.wetness, "building_height": v["building_height"], "bend": v["bend"],
        }  # fmt: skip
        caption = scene_caption(facts, (self._episode_seed, begun), v["wording"])
        told = [
            {**event, **event_caption(event, (self._episode_seed, state.step, k), v["wording"])}
            for k, event in enumerate(events)
        ]
        pose = middle(state)
        info = {
            "state": self._bodies(state),
            "events": told,
            "caption": caption,
            "variation": dict(self._variation),
            "camera": self._modes.poses({name: camera_of(*pose, name) for name in self._modes.cameras}),
            "reward_terms": dict(terms),
            "cost": sum(costs.values()),
            "cost_terms": dict(costs),
            "traffic_lights": self._lights_info(state),
            "prompt_unknown": list(self._unknown),
            "route": route_info(self._layout, state),
        }
        if self._task:
            info["task"], order = task_info(self._layout, state, v["target_speed"])
            info["is_success"] = state.is_done
            info["instruction"] = instruction_caption(order, (self._episode_seed, 7), v["wording"])
        if self._modes.wants("instance"):
            info["instances"] = self._stage.instances(state)
        return info

    def _lights_info(self, state: CityState) -> list[dict[str, Any]]:
        """Return the traffic lights within 75 m ahead."""
        lights = []
        for i, j in self._layout.lights_near(*middle(state), SIGHT):
            x, y, _ = self._layout.junction(i, j)
            along_x, along_y = colors(self._layout.offsets[i][j], state.step)
            lights.append({"junction": [i, j], "pos": [x, y, 5.5], "x": along_x, "y": along_y})
        return lights


def _row(
    position: tuple[float, float, float], yaw: float, velocity: tuple[float, float, float], rate: float
) -> dict[str, np.ndarray]:
    return {
        "pos": np.array(position, dtype=float),
        "quat": np.array([0.0, 0.0, np.sin(yaw / 2), np.cos(yaw / 2)]),
        "vel": np.array(velocity, dtype=float),
        "ang": np.array([0.0, 0.0, rate]),
    }


def _warn_unknown(words: list[str]) -> None:
    warnings.warn(f"the city cannot express: {', '.join(words)}", UserWarning, stacklevel=3)
