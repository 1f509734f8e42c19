"""The only door to pybullet: bodies made of meshes, poses, contacts, and a camera that returns colour, depth and body.

A scene holds no time and takes no physics steps: worlds move bodies where their own equations say, so that a world's
state is its own plain data, and Bullet answers which bodies touch and what the camera sees.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pybullet
from PIL import Image

from worldsim_envs.mesh import Mesh

__all__ = ["Box", "Camera", "Scene", "View"]

NEAR, FAR = 0.1, 160.0  # m


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
    """A solid box for contacts: centre and half extents in metres, in the frame of its body."""

    centre: tuple[float, float, float]
    half: tuple[float, float, float]


class Camera(NamedTuple):
    """Where a camera stands: position in metres, yaw and pitch in radians (pitch < 0 looks down)."""

    position: tuple[float, float, float]
    yaw: float
    pitch: float

    def c2w(self) -> np.ndarray:
        """Return the (4, 4) pose with OpenCV axes: x right, y down, z forward."""
        cy, sy, cp, sp = np.cos(self.yaw), np.sin(self.yaw), np.cos(self.pitch), np.sin(self.pitch)
        right, forward = (sy, -cy, 0.0), (cy * cp, sy * cp, sp)
        down = np.cross(forward, right)
        pose = np.eye(4)
        pose[:3, 0], pose[:3, 1], pose[:3, 2], pose[:3, 3] = right, down, forward, self.position
        return pose


class View(NamedTuple):
    """What a camera saw."""

    rgb: np.ndarray
    """(H, W, 3) uint8."""
    depth: np.ndarray
    """(H, W) float32, metres along the optical axis; FAR where nothing was hit."""
    body: np.ndarray
    """(H, W) int32, the body's id; -1 where nothing was hit."""


class Scene:
    """One pybullet client with a texture atlas.

    Args:
        atlas: (S, S, 3) uint8 texture that all meshes share.
        height, width: Frame size in pixels.
        fov: Vertical field of view in degrees.
    """

    def __init__(self, atlas: np.ndarray, height: int, width: int, fov: float) -> None:
        self.height, self.width = height, width
        self._client = pybullet.connect(pybullet.DIRECT)
        self._projection = pybullet.computeProjectionMatrixFOV(fov, width / height, NEAR, FAR)
        focal = height / 2 / np.tan(np.radians(fov) / 2)  # px
        self.intrinsics = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
        handle, self._atlas_path = tempfile.mkstemp(suffix=".png")
        os.close(handle)
        Image.fromarray(atlas).save(self._atlas_path)
        self.clear()

    def clear(self) -> None:
        """Remove every body."""
        pybullet.resetSimulation(physicsClientId=self._client)
        self._texture = pybullet.loadTexture(self._atlas_path, physicsClientId=self._client)

    def add(self, mesh: Mesh | None, boxes: Sequence[Box] = ()) -> int:
        """Add a body at the origin and return its id; without mesh it is not seen, without boxes it touches nothing."""
        visual = collision = -1
        if mesh is not None:
            arrays = (mesh.vertices, mesh.normals, mesh.uvs)
            lists: list[list] = [_lend(kind, values) for kind, values in enumerate(arrays)]
            lists.append(list(range(len(mesh.vertices))))
            visual = self._shape(mesh)
        if boxes:
            collision = pybullet.createCollisionShapeArray(
                shapeTypes=[pybullet.GEOM_BOX] * len(boxes),
                halfExtents=[list(b.half) for b in boxes],
                collisionFramePositions=[list(b.centre) for b in boxes],
                physicsClientId=self._client,
            )
        body = pybullet.createMultiBody(0, collision, visual, physicsClientId=self._client)
        if mesh is not None:
            pybullet.changeVisualShape(body, -1, textureUniqueId=self._texture, physicsClientId=self._client)
        return body

    def _shape(self, mesh: Mesh) -> int:
        rows = [
            pool.lend(array)
            for pool, array in zip(
                _POOLS, (mesh.vertices, mesh.normals, mesh.uvs, np.arange(len(mesh.vertices))), strict=True
            )
        ]
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
        pybullet.removeBody(body, physicsClientId=self._client)

    def place(self, body: int, x: float, y: float, z: float, yaw: float) -> None:
        """Move a body to a pose on the ground."""
        turn = (0.0, 0.0, float(np.sin(yaw / 2)), float(np.cos(yaw / 2)))
        pybullet.resetBasePositionAndOrientation(body, (x, y, z), turn, physicsClientId=self._client)

    def touching(self, body: int, others: Sequence[int]) -> list[int]:
        """Return those of ``others`` that overlap ``body`` now."""
        return [b for b in others if pybullet.getClosestPoints(body, b, 0.0, physicsClientId=self._client)]

    def render(self, camera: Camera, sun: Sequence[float], ambient: float, diffuse: float) -> View:
        """Return what a camera sees under white light from direction ``sun``."""
        cp = np.cos(camera.pitch)
        x, y, z = camera.position
        ahead = (x + np.cos(camera.yaw) * cp, y + np.sin(camera.yaw) * cp, z + np.sin(camera.pitch))
        view = pybullet.computeViewMatrix(camera.position, ahead, (0, 0, 1), physicsClientId=self._client)
        _, _, rgba, depth, body = pybullet.getCameraImage(
            self.width,
            self.height,
            view,
            self._projection,
            lightDirection=sun,
            lightColor=(1, 1, 1),
            lightDistance=1000,
            lightAmbientCoeff=ambient,
            lightDiffuseCoeff=diffuse,
            lightSpecularCoeff=0,
            shadow=0,
            renderer=pybullet.ER_TINY_RENDERER,
            physicsClientId=self._client,
        )
        metres = NEAR * FAR / (FAR - (FAR - NEAR) * depth.astype(np.float32))
        return View(rgba[..., :3], metres, body)

    def close(self) -> None:
        """Free the client; calling it again does nothing."""
        if self._client >= 0:
            pybullet.disconnect(self._client)
            os.unlink(self._atlas_path)
            self._client = -1


_POOL: list[list[list[float]]] = [[], [], []]


def _lend(kind: int, values: np.ndarray) -> list[list[float]]:
    """Return an array as nested lists whose rows are used again.

    pybullet keeps a reference to each row it is given; fresh ones would cost 5 MB per city.
    """
    rows, pool = values.tolist(), _POOL[kind]
    pool.extend([] for _ in range(len(rows) - len(pool)))
    for held, row in zip(pool, rows, strict=False):
        held[:] = row
    return pool[: len(rows)]
