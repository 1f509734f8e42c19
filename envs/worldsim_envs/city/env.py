"""`worldsim/City-v0`: an ego car in a procedural city, seen from the driver's seat.

All that moves is plain data (`CityState`), advanced by documented equations; Bullet says what touches and what is seen.
Saving, restoring and branching are therefore exact, frames included.
"""

from __future__ import annotations

import json
import math
import warnings
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
from worldsim_envs.city.blocks import Block
from worldsim_envs.city.event_words import event_caption
from worldsim_envs.city.events import collision, happened, light_ahead
from worldsim_envs.city.factors import CHANGEABLE, FACTORS, checked_factors, draw_factors
from worldsim_envs.city.layout import Key, Layout
from worldsim_envs.city.lights import colors
from worldsim_envs.city.paint import (
    CAR_COLORS,
    CAR_SIZE,
    COAT_COLORS,
    PALETTE,
    WALKER_SIZE,
    atlas,
    brake_mesh,
    car_mesh,
    ground_mesh,
    signal_mesh,
    walker_mesh,
)
from worldsim_envs.city.policies import POLICIES
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
    sight_of,
)
from worldsim_envs.city.traffic import NUM_CARS, Moving, gap_ahead, move_cars, spawn_cars
from worldsim_envs.city.walkers import NUM_WALKERS, move_walkers, spawn_walkers
from worldsim_envs.city.weather import Conditions, grip_on, look_under
from worldsim_envs.city.words import city_prompt, scene_caption
from worldsim_envs.look import Lens, Look, compose
from worldsim_envs.mesh import Mesh
from worldsim_envs.scene import Box, Camera, Scene, View

__all__ = ["CityEnv"]

CAMERA_HEIGHT, CAMERA_FOV, CAMERA_PITCH = 1.4, 90.0, float(np.radians(-5.0))  # m, deg, rad
OFF_ROAD_LIMIT = 3.0  # m
_NOTHING = ({"progress": 0.0, "collision": 0.0}, {"collision": 0.0, "off_road": 0.0, "red_light": 0.0}, [])
"""Reward terms, costs and events of a reset."""
_AWAY = (0.0, 0.0, -500.0, 0.0)  # pose of a body that is not there


class CityEnv(gym.Env, EzPickle):
    """A car in a procedural city, driven from its camera.

    ## Description
    Streets form a jittered grid with lane marks, kerbs, pavements, buildings, parks, parked cars and a few moving ones.
    The ego car is a kinematic bicycle: with wheelbase L = 2.7 m, front wheel angle d and speed v,

        x' = v cos(yaw)    y' = v sin(yaw)    yaw' = v tan(d) / L, at most g / v    v' = a - 0.03 v

    integrated at 1/240 s for 24 substeps per action (0.1 s). The wheels turn at most 2 rad/s, v stays in 0..15 m/s, and
    the grip g is 7 m/s2 on a dry and 5 m/s2 on a wet road. Contacts are Bullet's.

    ## Action Space
    `Box(-1, 1, (2,), float32)`

    | index | name | at -1 | at 0 | at +1 | unit |
    |---|---|---|---|---|---|
    | 0 | steer (left positive) | -0.5 | 0 | 0.5 | rad |
    | 1 | throttle (two slopes: brake below 0, pull above) | -6 | 0 | 3 | m/s2 |

    ## Observation Space
    `Box(0, 255, (height, width, 3), uint8)`: RGB of a camera 1.4 m above the road, 90 degrees of view, pitched 5
    degrees down.

    ## Rewards
    0.1 per metre along the lane, -5 at a collision; the terms are in `info["reward_terms"]`.

    ## Starting State
    On a lane at 5 to 10 m/s. `reset(options={"prompt": ..., "variation": {...}})` sets what the seed would draw; the
    factors and their ranges are in `scene_card["factors"]`.

    ## Episode End
    Terminated at a collision or more than 3 m off the road; truncated after 1,000 steps by the registered time limit.

    ## Arguments
    `height`, `width`: frame size in pixels, 32 to 256. `render_mode`: None or "rgb_array", which returns the
    observation.

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

    def __init__(self, render_mode: str | None = None, height: int = 64, width: int = 64) -> None:
        EzPickle.__init__(self, render_mode, height, width)
        if render_mode not in (None, "rgb_array"):
            raise EnvError(f'render_mode must be None or "rgb_array"; got {render_mode!r}')
        for name, size in (("height", height), ("width", width)):
            if not 32 <= size <= 256:
                raise EnvError(f"{name} must be 32 to 256 pixels; got {size}")
        self.render_mode = render_mode
        self.observation_space = gym.spaces.Box(0, 255, (height, width, 3), np.uint8)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self._scene = Scene(atlas(), height, width, CAMERA_FOV)
        self._lens = Lens(height, width, self._scene.intrinsics[0, 0], CAMERA_PITCH)
        self._state: CityState | None = None

    @property
    def scene_card(self) -> dict[str, Any]:
        """Return what the world is made of: palette, cameras, ground plane, factors and splits."""
        height, width, _ = self.observation_space.shape  # type: ignore[misc]
        return {
            "palette": {**{k: list(v) for k, v in PALETTE.items()}, **{k: list(v) for k, v in CAR_COLORS.items()}},
            "cameras": {
                "ego": {
                    "height_m": CAMERA_HEIGHT,
                    "fov_deg": CAMERA_FOV,
                    "pitch_deg": -5.0,
                    "size": [height, width],
                    "K": self._scene.intrinsics.tolist(),
                }
            },
            "ground_plane": {"normal": [0.0, 0.0, 1.0], "offset_m": 0.0},
            "factors": json.loads(json.dumps(FACTORS)),
            "splits": {
                "train": [0, 99_999],
                "validation": [100_000, 109_999],
                "test": [200_000, 209_999],
            },
        }

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: Seed of everything that is drawn.
            options: ``prompt`` (a text), ``variation`` ({factor: value}), ``snapshot`` (from `snapshot`); all optional.

        Raises:
            EnvError: If an option, a factor or its value is unknown.
            PromptError: If no word of the prompt was understood.
        """
        super().reset(seed=seed)
        options = dict(options or {})
        unknown_options = set(options) - {"prompt", "variation", "snapshot"}
        if unknown_options:
            raise EnvError(f"reset options are prompt, variation, snapshot; got {sorted(unknown_options)}")
        if options.get("snapshot") is not None:
            self.restore(options["snapshot"])
            return self._frame.copy(), self._info(*_NOTHING)
        wished: dict[str, Any] = {}
        unknown: list[str] = []
        if options.get("prompt") is not None:
            reading = city_prompt(options["prompt"])
            wished, unknown = {**checked_factors(reading.factors), "change": "none"}, reading.unknown
        wished |= checked_factors(options.get("variation") or {})
        self._variation, self._unknown = draw_factors(self.np_random, wished), tuple(unknown)
        if unknown:
            _warn_unknown(unknown)
        self._episode_seed = int(self.np_random.integers(1 << 31))
        self._build()
        self._state = self._start()
        self._place()
        self._show()
        return self._frame.copy(), self._info(*_NOTHING)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Advance by one control step of 0.1 s.

        Raises:
            ActionError: If the action has the wrong shape, is not finite, or lies outside the space.
            EnvError: If there is no episode to continue.
        """
        state = self._running()
        low, high = self.action_space.low, self.action_space.high  # type: ignore[attr-defined]
        steer, throttle = check_action(action, low, high, ("steer", "throttle")).tolist()
        moved = move_ego(state, steer * MAX_STEER, throttle * (MAX_THROTTLE if throttle > 0 else MAX_BRAKE))
        moved, events = self._change_world(moved)
        moved = self._follow_route(self._move_others(moved))
        heading = self._route_points(moved)[0, 2]
        progress = (moved.x - state.x) * np.cos(heading) + (moved.y - state.y) * np.sin(heading)
        self._state = moved
        self._place()
        x, y, _ = middle(moved)
        hit, off = self._hit(), self._layout.off_road(x, y) > OFF_ROAD_LIMIT
        events += happened(self._layout, state, moved, self._leader(moved))
        if hit:
            events.append(collision(moved, hit))
        if off:
            events.append({"name": "off_road"})
        terms = {"progress": 0.1 * float(progress), "collision": -5.0 if hit else 0.0}
        ran_red = any(event["name"] == "red_light" for event in events)
        costs = {"collision": float(bool(hit)), "off_road": float(off), "red_light": float(ran_red)}
        over = bool(hit) or off
        self._state = replace(moved, over=over)
        self._show()
        return self._frame.copy(), float(sum(terms.values())), over, False, self._info(terms, costs, events)

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """Return the present frame, or None without a render mode."""
        self._running(or_over=True)
        return self._frame.copy() if self.render_mode == "rgb_array" else None

    def redraw(self) -> None:
        """Take the last picture again, with nothing around it; `worldsim bench speed` times steps beside it."""
        self._scene.redraw()

    def close(self) -> None:
        """Free the Bullet client."""
        self._scene.close()

    def snapshot(self) -> CitySnapshot:
        """Return everything that the next steps depend on."""
        state = self._running(or_over=True)
        rng = self.np_random.bit_generator.state
        return CitySnapshot(json.dumps(self._variation), self._episode_seed, state, rng, self._unknown)

    def restore(self, snapshot: CitySnapshot) -> None:
        """Continue from a snapshot, of this env or of another one, bit for bit.

        Raises:
            EnvError: If it is not a snapshot of a city.
        """
        if not isinstance(snapshot, CitySnapshot):
            raise EnvError(f"restore needs a CitySnapshot from snapshot(); got {type(snapshot).__name__}")
        self.np_random.bit_generator.state = snapshot.rng
        self._variation, self._unknown = json.loads(snapshot.variation), snapshot.unknown
        self._episode_seed = snapshot.episode_seed
        self._build()
        self._state = snapshot.state
        self._place()
        self._show()

    def branch(self, n: int) -> list[CityEnv]:
        """Return n independent envs that continue from the present moment."""
        snapshot = self.snapshot()
        height, width, _ = self.observation_space.shape  # type: ignore[misc]
        envs = [CityEnv(self.render_mode, height, width) for _ in range(n)]
        for env in envs:
            env.restore(snapshot)
        return envs

    def set_prompt(self, text: str) -> list[str]:
        """Change time, weather and traffic from the next step on, over one second; return the words not understood.

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
        self._state = changed(state, wished, 10)
        return unknown

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

        put("ground", ground_mesh())
        for key in self._layout.keys_near(state.x, state.y, state.yaw, SIGHT):
            put(f"{('block', 'street_y', 'street_x')[key[0]]}_{key[1]}_{key[2]}", self._block(key).mesh)
        for car in state.cars:
            x, y, yaw, _ = car.pose
            put(f"car{car.slot}", car_mesh(car.color).moved(x, y, yaw))
        scene.apply_transform(trimesh.transformations.rotation_matrix(-np.pi / 2, (1, 0, 0)))
        scene.export(path, file_type="glb")

    # ---- drawing an episode

    def _build(self) -> None:
        """Fill the Bullet scene with what an episode keeps: ground, ego and the pool of cars."""
        v = self._variation
        self._layout = Layout(
            v["map_seed"], 1 if v["side"] == "right" else -1, v["traffic"], v["building_height"], v["bend"]
        )
        self._blocks: dict[Key, Block] = {}
        self._drawn: dict[Key, int] = {}
        self._signals: dict[tuple[int, int, str, str], int] = {}
        self._scene.clear()
        length, width, height = CAR_SIZE
        solid = [Box((0, 0, height / 2), (length / 2, width / 2, height / 2))]
        depth, breadth, tall = WALKER_SIZE
        person = [Box((0, 0, tall / 2), (depth / 2, breadth / 2, tall / 2))]
        paints = list(CAR_COLORS)
        self._ground = self._scene.add(ground_mesh())
        self._ego = self._scene.add(None, solid)
        self._cars = [self._scene.add(car_mesh(paints[k]), solid) for k in range(max(NUM_CARS.values()))]
        self._brakes = [self._scene.add(brake_mesh()) for _ in self._cars]
        coats = [COAT_COLORS[k % len(COAT_COLORS)] for k in range(max(NUM_WALKERS.values()))]
        self._walkers = [self._scene.add(walker_mesh(coat), person) for coat in coats]
        for body in (*self._cars, *self._brakes, *self._walkers):
            self._scene.place(body, *_AWAY)
        self._away = {*self._cars, *self._brakes, *self._walkers}

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
        )

    # ---- one step

    def _running(self, *, or_over: bool = False) -> CityState:
        if self._state is None:
            raise EnvError("there is no episode yet; call reset() first")
        if self._state.over and not or_over:
            raise EnvError("the episode has terminated; call reset() first")
        return self._state

    def _change_world(self, state: CityState) -> tuple[CityState, list[dict[str, Any]]]:
        """Return the state with the episode's own change begun if it is time, and that event."""
        v = self._variation
        if v["change"] == "none" or state.step != v["change_step"]:
            return state, []
        factor, value = v["change"].split("=")
        changing = changed(state, {factor: value}, v["change_length"])
        return changing, [{"name": "change", "factor": factor, "value": value}]

    def _leader(self, state: CityState) -> int | None:
        """Return the slot of the car that is next on the ego's route."""
        slots, others = self._obstacles(state)
        distance, index = gap_ahead(self._route_points(state)[2:], others)
        return slots[index] if distance < 100 and index < len(slots) else None

    def _obstacles(self, state: CityState) -> tuple[list[int], np.ndarray]:
        """Return the slots of the cars, and where cars and then people on the carriageway are, (N, 2)."""
        at = [car.pose[:2] for car in state.cars] + [one.pose[:2] for one in state.walkers if one.is_crossing]
        return [car.slot for car in state.cars], np.array(at).reshape(-1, 2)

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

    def _follow_route(self, state: CityState) -> CityState:
        """Move the ego's progress along its route, or plan another from the lane it is now on."""
        x, y, yaw = middle(state)
        points = self._layout.route(*state.route).points
        start = max(int(state.progress) - 3, 0)
        near = points[start : start + 14]
        apart = (near[:, 0] - x) ** 2 + (near[:, 1] - y) ** 2
        best = int(np.argmin(apart))
        at = near[best]
        lost = apart[best] > 4.5**2 or np.cos(at[2] - yaw) < 0 or start + best > len(points) - 40
        if not lost:
            along = (x - at[0]) * np.cos(at[2]) + (y - at[1]) * np.sin(at[2])
            return replace(state, progress=float(start + best + np.clip(along, -0.5, 0.5)))
        i, j, direction, skip = self._layout.nearest_street(x, y, yaw)
        return replace(state, route=(i, j, direction, round(skip, 3), state.step), progress=0.0)

    def _route_points(self, state: CityState) -> np.ndarray:
        """Return the next 22 m of the ego's route, one point per metre, (22, 4)."""
        points = self._layout.route(*state.route).points
        start = round(state.progress)
        return points[start : start + 22]

    def _hit(self) -> str:
        """Return what the ego touches now, or an empty text."""
        state = self._running(or_over=True)
        x, y, _ = middle(state)
        for car in state.cars:
            is_near = math.hypot(car.pose[0] - x, car.pose[1] - y) < 6.0
            if is_near and self._scene.touching(self._ego, [self._cars[car.slot]]):
                return f"car{car.slot}"
        for one in state.walkers:
            is_near = math.hypot(one.pose[0] - x, one.pose[1] - y) < 4.0
            if is_near and self._scene.touching(self._ego, [self._walkers[one.slot]]):
                return f"pedestrian{one.slot}"
        for key in self._layout.blocks_at(x, y):
            block = self._block(key)
            apart = [_distance(box, x, y) for box in block.boxes]
            if min(apart, default=9.0) < 2.5 and self._scene.touching(self._ego, [self._drawn[key]]):
                return block.labels[apart.index(min(apart))]
        return ""

    # ---- what is seen

    def _block(self, key: Key) -> Block:
        if key not in self._blocks:
            self._blocks[key] = self._layout.block(key)
        return self._blocks[key]

    def _place(self) -> None:
        """Put every body where the state says, and the blocks around the ego into the scene."""
        state = self._running(or_over=True)
        x, y, yaw = middle(state)
        sight = sight_of(look_under(conditions_at(state)))
        wanted = self._layout.keys_near(x, y, yaw, sight)
        for key in [key for key in self._drawn if key not in wanted]:
            self._scene.remove(self._drawn.pop(key))
        for key in wanted:
            if key not in self._drawn:
                block = self._block(key)
                self._drawn[key] = self._scene.add(block.mesh, block.boxes)
        self._place_signals(state, self._layout.lights_near(x, y, yaw, sight))
        self._scene.place(self._ego, x, y, 0.0, yaw)
        present = {}
        for car in state.cars:
            present[self._cars[car.slot]] = pose = (*car.pose[:2], 0.0, car.pose[2])
            if car.is_braking:
                present[self._brakes[car.slot]] = pose
        for one in state.walkers:
            present[self._walkers[one.slot]] = (*one.pose[:2], 0.0 if one.is_crossing else 0.17, one.pose[2])
        for body, pose in present.items():
            self._scene.place(body, *pose)
        away = {*self._cars, *self._brakes, *self._walkers} - set(present)
        for body in away - self._away:
            self._scene.place(body, *_AWAY)
        self._away = away

    def _place_signals(self, state: CityState, junctions: list[tuple[int, int]]) -> None:
        """Put the traffic lights of junctions into the scene; a light that changes colour is another body."""
        wanted = {(i, j, *colors(self._layout.offsets[i][j], state.step)) for i, j in junctions}
        for key in [key for key in self._signals if key not in wanted]:
            self._scene.remove(self._signals.pop(key))
        for key in sorted(wanted - set(self._signals)):
            x, y, turn = self._layout.junction(*key[:2])
            self._signals[key] = self._scene.add(signal_mesh(*key[2:]).moved(x, y, turn))

    def _camera(self) -> Camera:
        x, y, yaw = middle(self._running(or_over=True))
        return Camera((x, y, CAMERA_HEIGHT), yaw, CAMERA_PITCH)

    def _view(self, look: Look) -> View:
        azimuth = np.radians(self._variation["sun_azimuth"])
        flat = (1 - look.sun_height**2) ** 0.5
        sun = (float(np.cos(azimuth) * flat), float(np.sin(azimuth) * flat), look.sun_height)
        return self._scene.render(self._camera(), sun, look.ambient, look.diffuse)

    def _show(self) -> None:
        """Draw the present frame."""
        state = self._running(or_over=True)
        look = look_under(conditions_at(state))
        toward_sun = float(np.radians(self._variation["sun_azimuth"]) - state.yaw)
        key = (self._episode_seed, state.step)
        self._frame = compose(self._view(look), look, self._lens, toward_sun, self._ground, key)

    def _info(self, terms: dict[str, float], costs: dict[str, float], events: list[dict[str, Any]]) -> dict[str, Any]:
        state = self._running(or_over=True)
        x, y, yaw = middle(state)
        rear = WHEELBASE / 2 * state.yaw_rate  # m/s sideways at the middle
        c, s = math.cos(yaw), math.sin(yaw)
        velocity = (state.speed * c - rear * s, state.speed * s + rear * c, 0.0)
        bodies = {"ego": _row(x, y, yaw, velocity, state.yaw_rate)}
        for car in state.cars:
            cx, cy, heading, curve = car.pose
            along = (car.speed * np.cos(heading), car.speed * np.sin(heading), 0.0)
            bodies[f"car{car.slot}"] = _row(cx, cy, heading, along, car.speed * curve)
        for one in state.walkers:
            wx, wy, heading = one.pose
            along = (one.speed * math.cos(heading), one.speed * math.sin(heading), 0.0)
            bodies[f"pedestrian{one.slot}"] = _row(wx, wy, heading, along, 0.0)
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
        return {
            "state": bodies,
            "events": told,
            "caption": caption,
            "variation": dict(self._variation),
            "camera": {"K": self._scene.intrinsics.copy(), "c2w": self._camera().c2w()},
            "reward_terms": dict(terms),
            "cost": sum(costs.values()),
            "cost_terms": dict(costs),
            "traffic_lights": self._lights_info(state),
            "prompt_unknown": list(self._unknown),
            "route": self._route_info(state, x, y, yaw),
        }

    def _route_info(self, state: CityState, x: float, y: float, yaw: float) -> dict[str, Any]:
        """Return what a driver needs: where the lane leads, in the ego's frame, and what stands in it."""
        points = self._route_points(state)
        c, s = math.cos(yaw), math.sin(yaw)
        dx, dy = points[:, 0] - x, points[:, 1] - y
        local = np.stack([c * dx + s * dy, c * dy - s * dx], axis=1)  # (22, 2) forward, left
        error = float(np.arctan2(np.sin(yaw - points[0, 2]), np.cos(yaw - points[0, 2])))
        bend = points[:14, 3]
        light = light_ahead(self._layout, state)
        return {
            "speed": state.speed,
            "offset": float(np.sin(points[0, 2]) * dx[0] - np.cos(points[0, 2]) * dy[0]),
            "heading_error": error,
            "curvature": float(bend[np.argmax(np.abs(bend))]),
            "gap": gap_ahead(points[2:], self._obstacles(state)[1])[0] + 2.0,
            "points": local[2::2].copy(),
            "light": {"distance": light[1], "color": light[2]} if light else {"distance": 100.0, "color": "none"},
        }

    def _lights_info(self, state: CityState) -> list[dict[str, Any]]:
        """Return the traffic lights within 75 m ahead."""
        lights = []
        for i, j in self._layout.lights_near(*middle(state), SIGHT):
            x, y, _ = self._layout.junction(i, j)
            along_x, along_y = colors(self._layout.offsets[i][j], state.step)
            lights.append({"junction": [i, j], "pos": [x, y, 5.5], "x": along_x, "y": along_y})
        return lights


def _distance(box: Box, x: float, y: float) -> float:
    """Return metres from a point to a box, seen from above."""
    dx, dy = x - box.centre[0], y - box.centre[1]
    c, s = math.cos(box.yaw), math.sin(box.yaw)
    return math.hypot(
        max(abs(c * dx + s * dy) - box.half[0], 0.0),
        max(abs(c * dy - s * dx) - box.half[1], 0.0),
    )


def _row(x: float, y: float, yaw: float, velocity: tuple[float, float, float], rate: float) -> dict[str, np.ndarray]:
    return {
        "pos": np.array([x, y, CAR_SIZE[2] / 2]),
        "quat": np.array([0.0, 0.0, np.sin(yaw / 2), np.cos(yaw / 2)]),
        "vel": np.array(velocity, dtype=float),
        "ang": np.array([0.0, 0.0, rate]),
    }


def _warn_unknown(words: list[str]) -> None:
    warnings.warn(f"the city cannot express: {', '.join(words)}", UserWarning, stacklevel=3)
