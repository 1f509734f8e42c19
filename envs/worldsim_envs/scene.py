"""The only door to pybullet: bodies made of meshes, poses, contacts, and a camera that returns colour, depth and body.

A scene holds no time: a world may move bodies where its own equations say, so that its state is its own plain data, and
Bullet answers which bodies touch and what the camera sees. `Dynamics` lets Bullet move the bodies of a scene instead.
"""

from __future__ import annotations

import math
import os
import tempfile
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pybullet
from PIL import Image

from worldsim.errors import EnvError
from worldsim_envs.mesh import Mesh
from worldsim_envs.rig import FAR, NEAR, Camera, intrinsics

__all__ = [
    "FAR",
    "NEAR",
    "Box",
    "Camera",
    "Dynamics",
    "Link",
    "Scene",
    "Solid",
    "Surface",
    "View",
    "check_replayed",
    "frame_intrinsics",
]

_RASTER = np.array([[0, 0, 0.5], [0, 0, -0.5], [0, 0, 0]])
"""TinyRenderer samples a pixel at its lower left corner, not in its middle: frames lie half a pixel right and up."""
_MOST_RAYS = 8192
_FIXED_FILTER = (2, -3)
"""Bullet's own group and mask of a body without mass."""
_STEEP = 1e-3
"""Cosine of the pitch below which the world's up no longer says where the image's top is."""


class _Pool:
    """Rows of numbers that are lent to pybullet again and again.

    `createVisualShape` never gives back its references to the lists that describe a mesh, nor to their items:
    fresh lists for every mesh would fill the memory within an hour. A test counts.
    """

    def __init__(self) -> None:
        self._rows: list[list[float] | int] = []

    def lend(self, array: np.ndarray) -> list[list[float] | int]:
        """Return the rows of (N, D) floats, or 0 to N - 1 for (N,) integers; to be cleared after use."""
        for index in range(len(self._rows), len(array)):
            self._rows.append([] if array.ndim == 2 else index)
        if array.ndim == 2:
            for row, values in zip(self._rows, array.tolist(), strict=False):
                row[:] = values  # type: ignore[index]
        return self._rows[: len(array)]


_POOLS = (_Pool(), _Pool(), _Pool(), _Pool())  # vertices, normals, uvs, indices


class Box(NamedTuple):
    """A solid box for contacts: centre, half extents in metres and turn about z in rad, in the frame of its body."""

    centre: tuple[float, float, float]
    half: tuple[float, float, float]
    yaw: float = 0.0


class View(NamedTuple):
    """What a camera saw."""

    rgb: np.ndarray
    """(H, W, 3) uint8."""
    depth: np.ndarray
    """(H, W) float32, metres along the optical axis; FAR where nothing was hit."""
    body: np.ndarray
    """(H, W) int32, the body's id; -1 where nothing was hit."""


def check_replayed(now: Iterable[Sequence[float]], then: Iterable[Sequence[float]]) -> None:
    """Raise unless an episode that was played again arrived at the same bits.

    Bullet can save neither its contact caches nor its motors, so worlds that it moves are restored by playing their
    commands again, which is exact with the build that made the snapshot and with no other.

    Args:
        now: State rows after the replay.
        then: State rows when the snapshot was made.

    Raises:
        EnvError: If any number differs.
    """
    if [tuple(row) for row in now] != [tuple(row) for row in then]:
        raise EnvError(
            "this snapshot cannot be restored here bit for bit: its episode, played again, ends elsewhere; "
            "it was made with another build of pybullet or of worldsim, so make it anew with this one"
        )


def frame_intrinsics(fov: float, height: int, width: int) -> np.ndarray:
    """Return K, (3, 3), of the frames that `Scene.render` returns for a vertical field of view in degrees."""
    return intrinsics(fov, height, width) + _RASTER


class Scene:
    """One pybullet client with a texture atlas.

    Args:
        atlas: (S, S, 3) uint8 texture that all meshes share.
        height, width: Frame size in pixels.
        fov: Vertical field of view in degrees, of cameras that name none.
        labels: (S, S) uint8, the class of each texel of the atlas, for `labels`; a twin of what is seen is kept then.
    """

    def __init__(
        self, atlas: np.ndarray, height: int, width: int, fov: float, labels: np.ndarray | None = None
    ) -> None:
        self.height, self.width, self.fov = height, width, fov
        self._client = pybullet.connect(pybullet.DIRECT)
        self._projections: dict[float, tuple[float, ...]] = {}
        self._twin = None if labels is None else Scene(np.stack([labels] * 3, axis=-1), height, width, fov)
        self._twins: dict[int, int] = {}
        self._picture: tuple[tuple, dict] = ((), {})
        handle, self._atlas_path = tempfile.mkstemp(suffix=".png")
        os.close(handle)
        Image.fromarray(atlas).save(self._atlas_path)
        self._free = weakref.finalize(self, _free, self._client, self._atlas_path, os.getpid())
        self.clear()

    @property
    def intrinsics(self) -> np.ndarray:
        """K, (3, 3), of frames of cameras that name no field of view."""
        return frame_intrinsics(self.fov, self.height, self.width)

    def clear(self) -> None:
        """Remove every body.

        Raises:
            EnvError: If the scene was closed.
        """
        self.check_open()
        if self._twin:
            self._twin.clear()
            self._twins.clear()
        pybullet.resetSimulation(physicsClientId=self._client)
        self._texture = pybullet.loadTexture(self._atlas_path, physicsClientId=self._client)

    def add(self, mesh: Mesh | None, boxes: Sequence[Box] = ()) -> int:
        """Add a body at the origin and return its id; without mesh it is not seen, without boxes it touches nothing."""
        visual = collision = -1
        if mesh is not None:
            visual = self._shape(mesh)
        if boxes:
            collision = pybullet.createCollisionShapeArray(
                shapeTypes=[pybullet.GEOM_BOX] * len(boxes),
                halfExtents=[list(b.half) for b in boxes],
                collisionFramePositions=[list(b.centre) for b in boxes],
                collisionFrameOrientations=[(0.0, 0.0, math.sin(b.yaw / 2), math.cos(b.yaw / 2)) for b in boxes],
                physicsClientId=self._client,
            )
        body = pybullet.createMultiBody(0, collision, visual, physicsClientId=self._client)
        if mesh is not None:
            pybullet.changeVisualShape(body, -1, textureUniqueId=self._texture, physicsClientId=self._client)
            if self._twin:
                self._twins[body] = self._twin.add(mesh)
        return body

    def _shape(self, mesh: Mesh) -> int:
        arrays = (mesh.vertices, mesh.normals, mesh.uvs, np.arange(len(mesh.vertices)))
        rows = [pool.lend(array) for pool, array in zip(_POOLS, arrays, strict=True)]
        vertices, normals, uvs, indices = rows
        shape = pybullet.createVisualShape(
            pybullet.GEOM_MESH,
            vertices=vertices,
            indices=indices,
            normals=normals,
            uvs=uvs,
            rgbaColor=[1, 1, 1, 1],
            specularColor=[0, 0, 0],
            physicsClientId=self._client,
        )
        for lent in rows:
            lent.clear()
        return shape

    def remove(self, body: int) -> None:
        """Remove a body."""
        if self._twin and body in self._twins:
            self._twin.remove(self._twins.pop(body))
        pybullet.removeBody(body, physicsClientId=self._client)

    def place(self, body: int, x: float, y: float, z: float, yaw: float) -> None:
        """Move a body to a pose on the ground."""
        if self._twin and body in self._twins:
            self._twin.place(self._twins[body], x, y, z, yaw)
        turn = (0.0, 0.0, float(np.sin(yaw / 2)), float(np.cos(yaw / 2)))
        pybullet.resetBasePositionAndOrientation(body, (x, y, z), turn, physicsClientId=self._client)

    def touching(self, body: int, others: Sequence[int]) -> list[int]:
        """Return those of ``others`` that overlap ``body`` now."""
        return [b for b in others if pybullet.getClosestPoints(body, b, 0.0, physicsClientId=self._client)]

    def render(
        self, camera: Camera, sun: Sequence[float], ambient: float, diffuse: float, *, links: bool = False
    ) -> View:
        """Return what a camera sees under white light from direction ``sun``.

        With ``links`` a link of a linked body is told from the others: its id is body + (link + 1) * 2^24. Bullet keeps
        the choice, so a scene must be rendered with it always or never.
        """
        cp = np.cos(camera.pitch)
        x, y, z = camera.position
        ahead = (x + np.cos(camera.yaw) * cp, y + np.sin(camera.yaw) * cp, z + np.sin(camera.pitch))
        up = -camera.c2w()[:3, 1] if camera.roll or cp < _STEEP else (0, 0, 1)
        view = pybullet.computeViewMatrix(camera.position, ahead, up, physicsClientId=self._client)
        where = (self.width, self.height, view, self._projection(self.fov if camera.fov is None else camera.fov))
        light = {
            "lightDirection": sun,
            "lightColor": (1, 1, 1),
            "lightDistance": 1000,
            "lightAmbientCoeff": ambient,
            "lightDiffuseCoeff": diffuse,
            "lightSpecularCoeff": 0,
            "shadow": 0,
            "renderer": pybullet.ER_TINY_RENDERER,
            "physicsClientId": self._client,
            **({"flags": pybullet.ER_SEGMENTATION_MASK_OBJECT_AND_LINKINDEX} if links else {}),
        }
        self._picture = (where, light)
        _, _, rgba, depth, body = pybullet.getCameraImage(*where, **light)
        metres = NEAR * FAR / (FAR - (FAR - NEAR) * depth.astype(np.float32))
        return View(rgba[..., :3], metres, body)

    def redraw(self) -> None:
        """Take the last picture again and drop it: the bare cost of a camera, beside which worlds are timed."""
        where, light = self._picture
        pybullet.getCameraImage(*where, **light)

    def labels(self, camera: Camera) -> np.ndarray:
        """Return the class of what each pixel shows, (H, W) uint8, without light; 0 where nothing was hit."""
        if self._twin is None:
            raise ValueError("this scene was made without labels")
        view = self._twin.render(camera, (0, 0, 1), 1.0, 0.0)
        return np.where(view.body < 0, np.uint8(0), view.rgb[..., 0])

    def ranges(
        self, origin: Sequence[float], directions: np.ndarray, reach: float, ignore: Sequence[int] = ()
    ) -> np.ndarray:
        """Return how far rays go from a point until they meet a solid, (N,) float32 metres; ``reach`` if they do not.

        Args:
            origin: Metres.
            directions: (N, 3) unit vectors.
            reach: Metres, the most that is looked for.
            ignore: Bodies without mass that rays pass through.
        """
        for body in ignore:
            pybullet.setCollisionFilterGroupMask(body, -1, 0, 0, physicsClientId=self._client)
        ends = (np.asarray(origin) + reach * directions).tolist()
        hits: list[tuple] = []
        for first in range(0, len(ends), _MOST_RAYS):
            some = ends[first : first + _MOST_RAYS]
            hits += pybullet.rayTestBatch([list(origin)] * len(some), some, physicsClientId=self._client)
        for body in ignore:
            pybullet.setCollisionFilterGroupMask(body, -1, *_FIXED_FILTER, physicsClientId=self._client)
        return np.array([hit[2] * reach for hit in hits], np.float32)

    def _projection(self, fov: float) -> tuple[float, ...]:
        if fov not in self._projections:
            self._projections[fov] = pybullet.computeProjectionMatrixFOV(fov, self.width / self.height, NEAR, FAR)
        return self._projections[fov]

    def close(self) -> None:
        """Free the client, which also happens when nothing refers to the scene; calling it again does nothing."""
        if self._twin:
            self._twin.close()
        self._free()

    def check_open(self) -> None:
        """Raise if the scene was closed.

        Raises:
            EnvError: If it was.
        """
        if not self._free.alive:
            raise EnvError("the env was closed; make a new one")


def _free(client: int, path: str, process: int) -> None:
    if os.getpid() == process:  # a forked process has both from its parent, who goes on with them
        pybullet.disconnect(client)
        Path(path).unlink(missing_ok=True)


class Solid(NamedTuple):
    """What a body is to the solver: a ball of radius ``half[0]`` or a box of half extents ``half``, metres."""

    shape: Literal["ball", "box"]
    half: tuple[float, float, float]


class Surface(NamedTuple):
    """How a body meets another: Bullet multiplies both coefficients of a pair, so each body brings a square root."""

    friction: float
    """Coulomb coefficient between two bodies of this surface."""
    restitution: float
    """Rebound speed over impact speed between two bodies of this surface."""


class Link(NamedTuple):
    """One member of a linked body, moving by its joint relative to its parent."""

    mesh: Mesh | None
    solid: Solid | None
    mass: float
    """kg; a joint's child needs some."""
    parent: int
    """Index of the parent among the links; -1 is the fixed base."""
    joint: Literal["fixed", "hinge", "slide"]
    axis: tuple[float, float, float]
    at: tuple[float, float, float]
    """Where the joint is, in the parent's frame, metres."""
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Centre of mass, mesh and solid, from the joint, metres."""


_JOINTS = {"fixed": pybullet.JOINT_FIXED, "hinge": pybullet.JOINT_REVOLUTE, "slide": pybullet.JOINT_PRISMATIC}
_CONTACT_ERP = 0.01
"""Share of a penetration that is undone per tick. Bullet adds it to the rebound: at 0.2 balls gain energy."""


class Dynamics:
    """Bullet's own motion in a scene: bodies with mass, joints and motors, advanced tick by tick.

    Contacts are solved when surfaces touch, not before: Bullet's look-ahead brakes a body on its last tick in the air
    and takes up to half of its rebound.

    Args:
        scene: Where the bodies are; it must have been cleared before each `begin`.
        dt: Seconds per tick.
    """

    def __init__(self, scene: Scene, dt: float) -> None:
        self._scene, self._client, self._dt = scene, scene._client, dt

    def begin(self, gravity: float, parts: int = 1, iterations: int = 50) -> None:
        """Set the solver up; to be called after the scene was cleared and before bodies are added.

        Args:
            gravity: m/s2.
            parts: How many steps Bullet makes of one tick; linked bodies need several to keep their energy.
            iterations: Rounds in which contacts and motors are reconciled per tick.
        """
        pybullet.setPhysicsEngineParameter(
            fixedTimeStep=self._dt,
            numSubSteps=parts,
            numSolverIterations=iterations,
            contactERP=_CONTACT_ERP,
            restitutionVelocityThreshold=0.08,
            enableConeFriction=1,
            deterministicOverlappingPairs=1,
            physicsClientId=self._client,
        )
        self.set_gravity(gravity)

    def set_gravity(self, gravity: float) -> None:
        """Pull every body down with ``gravity`` m/s2 from the next tick on."""
        pybullet.setGravity(0, 0, -gravity, physicsClientId=self._client)

    def add(
        self,
        mesh: Mesh | None,
        solid: Solid | None,
        mass: float,
        surface: Surface,
        position: Sequence[float],
        quaternion: Sequence[float] = (0.0, 0.0, 0.0, 1.0),
        velocity: Sequence[float] = (0.0, 0.0, 0.0),
        spin: Sequence[float] = (0.0, 0.0, 0.0),
    ) -> int:
        """Add a body and return its id; without mass it stays where it is, without solid it touches nothing."""
        body = pybullet.createMultiBody(
            mass,
            self._collision(solid, (0.0, 0.0, 0.0)),
            -1 if mesh is None else self._scene._shape(mesh),
            basePosition=position,
            baseOrientation=quaternion,
            physicsClientId=self._client,
        )
        self._finish(body, -1, mesh, surface)
        if mass > 0:
            pybullet.resetBaseVelocity(body, velocity, spin, physicsClientId=self._client)
        return body

    def add_linked(self, base: Sequence[float], links: Sequence[Link], surface: Surface) -> int:
        """Add links that hang from a fixed point and return the body's id; motors are off."""
        body = pybullet.createMultiBody(
            0,
            basePosition=base,
            linkMasses=[link.mass for link in links],
            linkCollisionShapeIndices=[self._collision(link.solid, link.offset) for link in links],
            linkVisualShapeIndices=[
                -1 if link.mesh is None else self._scene._shape(link.mesh.moved(*link.offset[:2], z=link.offset[2]))
                for link in links
            ],
            linkPositions=[link.at for link in links],
            linkOrientations=[(0, 0, 0, 1)] * len(links),
            linkInertialFramePositions=[link.offset for link in links],
            linkInertialFrameOrientations=[(0, 0, 0, 1)] * len(links),
            linkParentIndices=[link.parent + 1 for link in links],
            linkJointTypes=[_JOINTS[link.joint] for link in links],
            linkJointAxis=[link.axis for link in links],
            physicsClientId=self._client,
        )
        for index, link in enumerate(links):
            self._finish(body, index, link.mesh, surface)
            pybullet.changeDynamics(body, index, jointDamping=0.0, physicsClientId=self._client)
            if link.joint != "fixed":
                self.drive(body, index, 0.0, 0.0)
        return body

    def turn(self, body: int, link: int, angle: float) -> None:
        """Put a joint at an angle (rad) or a distance (m), at rest."""
        pybullet.resetJointState(body, link, angle, 0.0, physicsClientId=self._client)

    def drive(self, body: int, link: int, speed: float, force: float) -> None:
        """Let a joint's motor keep ``speed`` (rad/s or m/s) with at most ``force`` (N m or N) until told otherwise."""
        pybullet.setJointMotorControl2(
            body, link, pybullet.VELOCITY_CONTROL, targetVelocity=speed, force=force, physicsClientId=self._client
        )

    def gear(self, body: int, one: int, other: int, force: float) -> None:
        """Make two joints move by the same amount, with at most ``force`` N or N m."""
        origin = (0.0, 0.0, 0.0)
        tie = pybullet.createConstraint(
            body, one, body, other, pybullet.JOINT_GEAR, (1, 0, 0), origin, origin, physicsClientId=self._client
        )
        pybullet.changeConstraint(tie, gearRatio=-1, erp=0.3, maxForce=force, physicsClientId=self._client)

    def joint(self, body: int, link: int) -> float:
        """Return a joint's angle (rad) or distance (m)."""
        return pybullet.getJointState(body, link, physicsClientId=self._client)[0]

    def push(self, body: int, link: int, force: Sequence[float], torque: float = 0.0) -> None:
        """Pull at a body's centre of mass with ``force`` N, and with ``torque`` N m about z, for the next tick."""
        at = self.row(body, link)[:3]
        pybullet.applyExternalForce(body, link, force, at, pybullet.WORLD_FRAME, physicsClientId=self._client)
        if torque:
            pybullet.applyExternalTorque(body, link, (0, 0, torque), pybullet.WORLD_FRAME, physicsClientId=self._client)

    def tick(self) -> None:
        """Advance by one tick."""
        pybullet.stepSimulation(physicsClientId=self._client)

    def row(self, body: int, link: int = -1) -> tuple[float, ...]:
        """Return the 13 numbers of a state row (position, quaternion, velocity, spin) of a centre of mass."""
        if link >= 0:
            state = pybullet.getLinkState(body, link, 1, 1, physicsClientId=self._client)
            return (*state[0], *state[1], *state[6], *state[7])
        position, quaternion = pybullet.getBasePositionAndOrientation(body, physicsClientId=self._client)
        velocity, spin = pybullet.getBaseVelocity(body, physicsClientId=self._client)
        return (*position, *quaternion, *velocity, *spin)

    def touches(self) -> dict[tuple[tuple[int, int], tuple[int, int]], float]:
        """Return the impulse, N s, by pair of (body, link) that pressed on each other in the last tick."""
        sums: dict[tuple[int, int, int, int], float] = {}
        for point in pybullet.getContactPoints(physicsClientId=self._client):
            if point[9] > 0:
                key = point[1:5]  # body, body, link, link
                sums[key] = sums.get(key, 0.0) + point[9] * self._dt
        return {((a, i), (b, j)): impulse for (a, b, i, j), impulse in sums.items()}

    def _collision(self, solid: Solid | None, offset: Sequence[float]) -> int:
        if solid is None:
            return -1
        if solid.shape == "ball":
            return pybullet.createCollisionShape(
                pybullet.GEOM_SPHERE,
                radius=solid.half[0],
                collisionFramePosition=offset,
                physicsClientId=self._client,
            )
        return pybullet.createCollisionShape(
            pybullet.GEOM_BOX, halfExtents=solid.half, collisionFramePosition=offset, physicsClientId=self._client
        )

    def _finish(self, body: int, link: int, mesh: Mesh | None, surface: Surface) -> None:
        pybullet.changeDynamics(
            body,
            link,
            lateralFriction=surface.friction**0.5,
            restitution=surface.restitution**0.5,
            rollingFriction=0.0,
            spinningFriction=0.0,
            linearDamping=0.0,
            angularDamping=0.0,
            contactProcessingThreshold=0.0,
            physicsClientId=self._client,
        )
        if mesh is not None:
            pybullet.changeVisualShape(body, link, textureUniqueId=self._scene._texture, physicsClientId=self._client)
