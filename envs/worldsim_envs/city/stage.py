"""The city in the renderer: bodies put where a state says, what touches the ego, and what each camera sees.

Nothing here decides anything: a stage is a function of the episode and the state, kept up to date from step to step.
"""

from __future__ import annotations

import math

import numpy as np

from worldsim_envs.city.blocks import PAVEMENT, Block
from worldsim_envs.city.layout import Key, Layout
from worldsim_envs.city.lights import colors
from worldsim_envs.city.paint import (
    CAR_COLORS,
    CAR_SIZE,
    COAT_COLORS,
    WALKER_SIZE,
    atlas,
    brake_mesh,
    car_mesh,
    ground_mesh,
    signal_mesh,
    walker_mesh,
)
from worldsim_envs.city.sight import (
    BODIES,
    CAMERAS,
    KINDS,
    OUTSIDE,
    camera_of,
    class_id,
    label_atlas,
    light_numbers,
)
from worldsim_envs.city.solids import Solids, solid_of
from worldsim_envs.city.state import CityState, conditions_at, middle, sight_of
from worldsim_envs.city.traffic import NUM_CARS
from worldsim_envs.city.walkers import NUM_WALKERS, Walker
from worldsim_envs.city.weather import look_under
from worldsim_envs.lidar import REACH, scan
from worldsim_envs.look import Lens, Look, compose
from worldsim_envs.mesh import Mesh
from worldsim_envs.modes import Modes, Shot, ids_of
from worldsim_envs.rig import unproject
from worldsim_envs.scene import Box, Scene, View, frame_intrinsics

__all__ = ["Stage"]

_AWAY = (0.0, 0.0, -500.0, 0.0)  # pose of a body that is not there
_LIDAR_HEIGHT = 0.8  # m
_AROUND = 45.0  # m, what the bird's-eye camera sees
_FIRST_LIGHT, _FIRST_THING, _THINGS = 100, 1000, 64
"""Instance ids: lights from the first, then things that stand in blocks, so many ids for each block, and more where
footprints put more houses into one."""
_TOUCH = 0.15  # m by which a pixel's point may lie outside of the box that it belongs to


class Stage:
    """One renderer for episode after episode.

    Args:
        modes: What is observed, and from where.
        height, width: Frame size in pixels.
    """

    def __init__(self, modes: Modes, height: int, width: int) -> None:
        self._modes = modes
        labels = label_atlas() if modes.wants("semantic") else None
        self.scene = Scene(atlas(), height, width, CAMERAS["front"], labels)
        self._wide = width / height
        self._solids = Solids() if modes.lidar else None
        self._lenses = {}
        for name in modes.cameras:
            focal = frame_intrinsics(CAMERAS[name], height, width)[0, 0]
            pitch = camera_of(0.0, 0.0, 0.0, name).pitch
            self._lenses[name] = Lens(height, width, focal, pitch, headlights=name == "front")

    def build(self, layout: Layout) -> None:
        """Fill the scene with what an episode keeps: ground, ego, and the pools of cars and people."""
        self.layout = layout
        self._blocks: dict[Key, Block] = {}
        self._drawn: dict[Key, int] = {}
        self._signals: dict[tuple[int, int, str, str], int] = {}
        self._things = _THINGS + layout.most_houses
        self.scene.clear()
        if self._solids:
            self._solids.clear()
        solid, person = [solid_of(CAR_SIZE)], [solid_of(WALKER_SIZE)]
        paints = list(CAR_COLORS)
        self._ground = self.scene.add(ground_mesh())
        self._ego = self.scene.add(None, solid)
        self.cars = [self.scene.add(car_mesh(paints[k]), solid) for k in range(max(NUM_CARS.values()))]
        self._brakes = [self.scene.add(brake_mesh()) for _ in self.cars]
        coats = [COAT_COLORS[k % len(COAT_COLORS)] for k in range(max(NUM_WALKERS.values()))]
        self.walkers = [self.scene.add(walker_mesh(coat), person) for coat in coats]
        self._away = {*self.cars, *self._brakes, *self.walkers}
        self._shell = self.scene.add(car_mesh("silver")) if set(self._modes.cameras) & set(OUTSIDE) else -1
        for body in self._away:
            self.scene.place(body, *_AWAY)

    def block(self, key: Key) -> Block:
        """Return the contents of a block or street."""
        if key not in self._blocks:
            self._blocks[key] = self.layout.block(key)
        return self._blocks[key]

    def place(self, state: CityState) -> None:
        """Put every body where a state says, and the blocks that the cameras may see into the scene."""
        x, y, yaw = middle(state)
        reach = sight_of(look_under(conditions_at(state)))
        wanted: dict[Key, None] = {}
        lit: dict[tuple[int, int], None] = {}
        for name in self._modes.cameras:
            camera = camera_of(x, y, yaw, name)
            at = (*camera.position[:2], camera.yaw)
            if name == "birds_eye":
                around = _AROUND * max(1.0, self._wide / 2)
                wanted |= dict.fromkeys(self.layout.keys_at(x, y, around))
                lit |= dict.fromkeys(self.layout.lights_near(*at, around, math.inf))
            else:
                wanted |= dict.fromkeys(self.layout.keys_near(*at, reach, self._wide))
                lit |= dict.fromkeys(self.layout.lights_near(*at, reach, self._wide))
        for key in [key for key in self._drawn if key not in wanted]:
            self.scene.remove(self._drawn.pop(key))
        for key in wanted:
            if key not in self._drawn:
                block = self.block(key)
                self._drawn[key] = self.scene.add(block.mesh, block.boxes)
        self._place_signals(state, list(lit))
        self.scene.place(self._ego, x, y, 0.0, yaw)
        present = {}
        for car in state.cars:
            present[self.cars[car.slot]] = pose = (*car.pose[:2], 0.0, car.pose[2])
            if car.is_braking:
                present[self._brakes[car.slot]] = pose
        for one in state.walkers:
            present[self.walkers[one.slot]] = (*one.pose[:2], _floor(one), one.pose[2])
        for body, pose in present.items():
            self.scene.place(body, *pose)
        away = {*self.cars, *self._brakes, *self.walkers} - set(present)
        for body in away - self._away:
            self.scene.place(body, *_AWAY)
        self._away = away

    def _place_signals(self, state: CityState, junctions: list[tuple[int, int]]) -> None:
        """Put the traffic lights of junctions into the scene; a light that changes colour is another body."""
        wanted = {(i, j, *colors(self.layout.offsets[i][j], state.step)) for i, j in junctions}
        for key in [key for key in self._signals if key not in wanted]:
            self.scene.remove(self._signals.pop(key))
        for key in sorted(wanted - set(self._signals)):
            x, y, turn = self.layout.junction(*key[:2])
            self._signals[key] = self.scene.add(signal_mesh(*key[2:]).moved(x, y, turn))

    def hit(self, state: CityState) -> str:
        """Return what the ego touches as it was placed: car3, pedestrian1, parked car, building, or nothing."""
        x, y, _ = middle(state)
        for car in state.cars:
            is_near = math.hypot(car.pose[0] - x, car.pose[1] - y) < 6.0
            if is_near and self.scene.touching(self._ego, [self.cars[car.slot]]):
                return f"car{car.slot}"
        for one in state.walkers:
            is_near = math.hypot(one.pose[0] - x, one.pose[1] - y) < 4.0
            if is_near and self.scene.touching(self._ego, [self.walkers[one.slot]]):
                return f"pedestrian{one.slot}"
        for key in self.layout.blocks_at(x, y):
            block = self.block(key)
            apart = block.distances(x, y)
            if len(apart) and apart.min() < 2.5 and self.scene.touching(self._ego, [self._drawn[key]]):
                return block.labels[int(apart.argmin())]
        return ""

    def meshes(self, state: CityState) -> dict[str, Mesh]:
        """Return everything around the ego by name, in world coordinates."""
        x, y, yaw = middle(state)
        found = {"ground": ground_mesh(), "ego": car_mesh("silver").moved(x, y, yaw)}
        for key in self.layout.keys_at(x, y, 75.0):
            found[f"{('block', 'street_y', 'street_x')[key[0]]}_{key[1]}_{key[2]}"] = self.block(key).mesh
        for i, j in self.layout.lights_near(x, y, yaw, 75.0, math.inf):
            at_x, at_y, turn = self.layout.junction(i, j)
            showing = colors(self.layout.offsets[i][j], state.step)
            found[f"traffic_light_{i}_{j}"] = signal_mesh(*showing).moved(at_x, at_y, turn)
        for car in state.cars:
            found[f"car{car.slot}"] = car_mesh(car.color).moved(*car.pose[:3])
        for one in state.walkers:
            found[f"pedestrian{one.slot}"] = walker_mesh(one.coat).moved(*one.pose, z=_floor(one))
        return found

    # ---- what is seen

    def view(self, state: CityState, look: Look, sun_azimuth: float, name: str = "front") -> View:
        """Return what a camera sees under white light; the sun's azimuth is in radians."""
        self._show_ego(state, name)
        camera = camera_of(*middle(state), name)
        return self.scene.render(camera, _toward(look, sun_azimuth), look.ambient, look.diffuse)

    def _show_ego(self, state: CityState, name: str) -> None:
        """Let a camera see the ego as it should."""
        x, y, yaw = middle(state)
        if self._shell >= 0:  # Bullet shows the ego's solid as a white box: its place is taken where it can be seen
            here, shown = (x, y, 0.0, yaw), name in OUTSIDE
            self.scene.place(self._shell, *(here if shown else _AWAY))
            self.scene.place(self._ego, *(_AWAY if shown else here))

    def shot(self, state: CityState, sun_azimuth: float, seed: int, name: str) -> Shot:
        """Return what a camera shows.

        Where the plain colours are observed and the frame is not, the frame is not made: the plain colours stand for
        it, and one picture gives them, depth and bodies.

        Args:
            state: As it was placed.
            sun_azimuth: rad.
            seed: With the step and the camera, decides where the rain falls.
            name: Of the camera.
        """
        look = look_under(conditions_at(state))
        camera = camera_of(*middle(state), name)
        plain = kind = light = None
        if self._modes.wants("plain"):
            self._show_ego(state, name)
            view = self.scene.render(camera, (0.0, 0.0, 1.0), 1.0, 0.0)
            plain = rgb = view.rgb
        if self._modes.wants("rgb") or not self._modes.wants("plain"):
            view = self.view(state, look, sun_azimuth, name)
            index = list(CAMERAS).index(name)
            key = (seed, state.step, index) if index else (seed, state.step)
            rgb = compose(view, look, self._lenses[name], sun_azimuth - camera.yaw, self._ground, key)
        if self._modes.wants("kind"):
            kind = self._kinds(view.body)
        if self._modes.wants("light"):
            conditions, toward = conditions_at(state), _toward(look, sun_azimuth)
            light = light_numbers(camera, toward, conditions, name == "front")
        semantic = instance = None
        if self._modes.wants("semantic"):
            people = np.isin(view.body, self.walkers)
            semantic = np.where(people, np.uint8(class_id("pedestrian")), self.scene.labels(camera))
            semantic[np.isin(view.body, self.cars)] = class_id("vehicle")
        if self._modes.wants("instance"):
            instance = self._instances(view, self._modes.poses({name: camera}))
        return Shot(rgb, view.depth, semantic, instance, plain, kind, light)

    def lidar(self, state: CityState) -> np.ndarray:
        """Return the ranges around the ego, (256,) float32 metres: whatever stands there, seen by a camera or not.

        Raises:
            ValueError: If the stage was made without a lidar.
        """
        if self._solids is None:
            raise ValueError("this stage was made without a lidar")
        x, y, yaw = middle(state)
        blocks = {key: self.block(key).boxes for key in self.layout.keys_at(x, y, REACH)}
        poses = {f"car{car.slot}": (*car.pose[:2], 0.0, car.pose[2]) for car in state.cars}
        poses |= {f"pedestrian{one.slot}": (*one.pose[:2], _floor(one), one.pose[2]) for one in state.walkers}
        self._solids.place(blocks, poses)
        return scan(self._solids.scene, (x, y, _LIDAR_HEIGHT), yaw)

    def close(self) -> None:
        """Free what is drawn and what is scanned."""
        self.scene.close()
        if self._solids:
            self._solids.scene.close()

    def instances(self, state: CityState) -> dict[str, int]:
        """Return the instance id of everything that is drawn, by name."""
        names = ["ego", *(f"car{car.slot}" for car in state.cars)]
        names += [f"pedestrian{one.slot}" for one in state.walkers]
        ids = {name: BODIES.index(name) + 1 for name in names}
        for i, j, *_ in self._signals:
            ids[f"traffic_light_{i}_{j}"] = _light_id(i, j)
        for key in self._drawn:
            for n, label in enumerate(self.block(key).labels):
                ids[f"{label.replace(' ', '_')}_{key[1]}_{key[2]}_{n}"] = self._thing_id(key, n)
        return ids

    def _kinds(self, body: np.ndarray) -> np.ndarray:
        """Return what sort of body each pixel shows, (H, W) uint8."""
        kinds = dict.fromkeys(self._drawn.values(), "block") | dict.fromkeys(self._signals.values(), "traffic light")
        kinds |= dict.fromkeys([*self.cars, *self._brakes, self._shell], "vehicle")
        kinds |= {**dict.fromkeys(self.walkers, "pedestrian"), self._ground: "ground", -1: "nothing"}
        return ids_of(body, {key: KINDS.index(kind) for key, kind in kinds.items()}).astype(np.uint8)

    def _thing_id(self, key: Key, n: int) -> int:
        return _FIRST_THING + self._things * self.layout.number_of(key) + n

    def _instances(self, view: View, pose: dict[str, np.ndarray]) -> np.ndarray:
        table = {body: BODIES.index(f"car{k}") + 1 for k, body in enumerate(self.cars)}
        table |= {body: BODIES.index(f"car{k}") + 1 for k, body in enumerate(self._brakes)}
        table |= {body: BODIES.index(f"pedestrian{k}") + 1 for k, body in enumerate(self.walkers)}
        table |= {body: _light_id(*key[:2]) for key, body in self._signals.items()}
        if self._shell >= 0:
            table[self._shell] = BODIES.index("ego") + 1
        ids = ids_of(view.body, table)
        points = unproject(view.depth, pose["K"], pose["c2w"])  # (H, W, 3)
        for key, body in self._drawn.items():
            seen, boxes = view.body == body, self.block(key).boxes
            if boxes and seen.any():
                number = _nearest(points[seen], boxes)
                ids[seen] = np.where(number >= 0, self._thing_id(key, 0) + number, 0)
        return ids


def _toward(look: Look, sun_azimuth: float) -> tuple[float, float, float]:
    """Return the direction to the light; the sun's azimuth is in radians."""
    flat = (1 - look.sun_height**2) ** 0.5
    return (float(np.cos(sun_azimuth) * flat), float(np.sin(sun_azimuth) * flat), look.sun_height)


def _floor(walker: Walker) -> float:
    """Return what someone stands on, metres."""
    return 0.0 if walker.is_crossing else PAVEMENT


def _light_id(i: int, j: int) -> int:
    return _FIRST_LIGHT + 10 * i + j


def _nearest(points: np.ndarray, boxes: tuple[Box, ...]) -> np.ndarray:
    """Return the index of the box that each of (N, 3) points lies on, (N,); -1 if none is within 0.15 m."""
    centres, halves = np.array([b.centre for b in boxes]), np.array([b.half for b in boxes])
    yaws = np.array([b.yaw for b in boxes])
    apart = points[:, None] - centres  # (N, B, 3)
    c, s = np.cos(yaws), np.sin(yaws)
    local = np.stack(
        [c * apart[..., 0] + s * apart[..., 1], c * apart[..., 1] - s * apart[..., 0], apart[..., 2]], axis=-1
    )
    outside = (np.abs(local) - halves).max(axis=-1)  # (N, B)
    best = outside.argmin(axis=1)
    return np.where(outside[np.arange(len(points)), best] < _TOUCH, best, -1)
