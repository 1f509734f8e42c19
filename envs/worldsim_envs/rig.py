"""Where cameras stand and what they map to: poses, intrinsics, and converters between OpenCV, OpenGL and pybullet.

One convention holds everywhere: a pose is camera-to-world, (4, 4), metres, with OpenCV's axes (x right, y down, z
forward) in a world whose z points up. Image coordinates are in pixels from the upper left corner of the frame, u to the
right and v down; the middle of the pixel in row i and column j is (j + 0.5, i + 0.5). Nothing here needs Bullet.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import atan2, cos, hypot, pi, sin
from typing import NamedTuple

import numpy as np

__all__ = [
    "FAR",
    "NEAR",
    "Camera",
    "c2w_of_view",
    "intrinsics",
    "intrinsics_of_projection",
    "opencv_from_opengl",
    "opengl_from_opencv",
    "project",
    "projection_matrix",
    "unproject",
    "view_matrix",
]

NEAR, FAR = 0.1, 160.0  # m, between which every camera sees
_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])  # OpenGL's camera axes are x right, y up, z backward
_VERTICAL = 1e-9  # m of a unit vector's flat part, below which it has no heading


class Camera(NamedTuple):
    """Where a camera stands and how it looks; any orientation can be said with the three angles."""

    position: tuple[float, float, float]
    """Metres."""
    yaw: float
    """Heading, rad, 0 = east, counterclockwise. Of a camera that looks straight down: where the image's top points."""
    pitch: float
    """rad, below 0 looks down."""
    roll: float = 0.0
    """Turn about the line of sight, rad, clockwise as the camera sees it."""
    fov: float | None = None
    """Vertical field of view, degrees; None is the scene's own."""

    @classmethod
    def toward(cls, position: Sequence[float], target: Sequence[float], fov: float | None = None) -> Camera:
        """Return an upright camera that looks at a point; of one straight below, +y is the image's top."""
        x, y, z = (float(b - a) for a, b in zip(position, target, strict=True))
        flat = hypot(x, y)
        yaw = atan2(y, x) if flat > _VERTICAL else pi / 2
        return cls(_vector(position), yaw, atan2(z, flat), 0.0, fov)

    @classmethod
    def posed(cls, c2w: np.ndarray, fov: float | None = None) -> Camera:
        """Return the camera of a (4, 4) pose with OpenCV axes, whatever its orientation."""
        right, forward = c2w[:3, 0], c2w[:3, 2]
        flat = hypot(forward[0], forward[1])
        yaw = atan2(forward[1], forward[0]) if flat > _VERTICAL else atan2(right[0], -right[1])
        upright = cls(_vector(c2w[:3, 3].tolist()), yaw, atan2(forward[2], flat), 0.0, fov)
        level = upright.c2w()
        return upright._replace(roll=atan2(right @ level[:3, 1], right @ level[:3, 0]))

    def c2w(self) -> np.ndarray:
        """Return the (4, 4) pose with OpenCV axes: x right, y down, z forward."""
        cy, sy, cp, sp = np.cos(self.yaw), np.sin(self.yaw), np.cos(self.pitch), np.sin(self.pitch)
        x, y, z = self.position
        pose = np.array(
            [  # right, down, forward, position
                [sy, cy * sp, cy * cp, x],
                [-cy, sy * sp, sy * cp, y],
                [0.0, -cp, sp, z],
                [0.0, 0.0, 0.0, 1.0],
            ]
        )
        if self.roll:
            c, s = cos(self.roll), sin(self.roll)
            right, down = pose[:3, 0].copy(), pose[:3, 1].copy()
            pose[:3, 0], pose[:3, 1] = c * right + s * down, c * down - s * right
        return pose


def intrinsics(fov: float, height: int, width: int) -> np.ndarray:
    """Return K, (3, 3), of a pinhole camera with square pixels.

    Args:
        fov: Vertical field of view, degrees.
        height, width: Frame size in pixels; the optical axis meets the frame's middle.
    """
    focal = height / 2 / np.tan(np.radians(fov) / 2)  # px
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])


def opengl_from_opencv(c2w: np.ndarray) -> np.ndarray:
    """Return a camera-to-world pose, (..., 4, 4), with OpenGL's axes: x right, y up, z backward."""
    return c2w @ _FLIP


def opencv_from_opengl(c2w: np.ndarray) -> np.ndarray:
    """Return a camera-to-world pose, (..., 4, 4), with OpenCV's axes: x right, y down, z forward."""
    return c2w @ _FLIP


def view_matrix(c2w: np.ndarray) -> list[float]:
    """Return what pybullet calls a view matrix: world to OpenGL camera, 16 numbers, column by column."""
    turn, position = opengl_from_opencv(c2w)[:3, :3], c2w[:3, 3]
    view = np.eye(4)
    view[:3, :3], view[:3, 3] = turn.T, -turn.T @ position
    return view.T.ravel().tolist()


def c2w_of_view(view: Sequence[float]) -> np.ndarray:
    """Return the (4, 4) OpenCV pose of pybullet's view matrix, 16 numbers."""
    matrix = np.reshape(view, (4, 4)).T
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = matrix[:3, :3].T, -matrix[:3, :3].T @ matrix[:3, 3]
    return opencv_from_opengl(pose)


def projection_matrix(k: np.ndarray, height: int, width: int, near: float, far: float) -> list[float]:
    """Return pybullet's projection matrix of intrinsics K, 16 numbers, column by column.

    Args:
        k: (3, 3) intrinsics without skew; the principal point may lie anywhere.
        height, width: Frame size in pixels.
        near, far: Distances in metres between which things are seen.
    """
    matrix = np.zeros((4, 4))
    matrix[0, 0], matrix[0, 2] = 2 * k[0, 0] / width, 1 - 2 * k[0, 2] / width
    matrix[1, 1], matrix[1, 2] = 2 * k[1, 1] / height, 2 * k[1, 2] / height - 1
    matrix[2, 2], matrix[2, 3] = -(far + near) / (far - near), -2 * far * near / (far - near)
    matrix[3, 2] = -1
    return matrix.T.ravel().tolist()


def intrinsics_of_projection(projection: Sequence[float], height: int, width: int) -> np.ndarray:
    """Return K, (3, 3), of pybullet's projection matrix, 16 numbers, for a frame of that size in pixels."""
    matrix = np.reshape(projection, (4, 4)).T
    fx, cx = matrix[0, 0] * width / 2, (1 - matrix[0, 2]) * width / 2
    fy, cy = matrix[1, 1] * height / 2, (1 + matrix[1, 2]) * height / 2
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])


def project(points: np.ndarray, k: np.ndarray, c2w: np.ndarray) -> np.ndarray:
    """Return u, v in pixels and depth in metres, (..., 3), of world points (..., 3); depth <= 0 lies behind."""
    local = (points - c2w[:3, 3]) @ c2w[:3, :3]  # (..., 3) in camera axes
    depth = local[..., 2:]
    return np.concatenate([(local @ k.T)[..., :2] / depth, depth], axis=-1)


def unproject(depth: np.ndarray, k: np.ndarray, c2w: np.ndarray) -> np.ndarray:
    """Return the world points (H, W, 3), metres, that the middles of a depth frame's (H, W) pixels show."""
    height, width = depth.shape
    x = (np.arange(width) + 0.5 - k[0, 2]) / k[0, 0]
    y = (np.arange(height) + 0.5 - k[1, 2]) / k[1, 1]
    rays = np.stack([*np.meshgrid(x, y), np.ones((height, width))], axis=-1)  # (H, W, 3)
    return (rays * depth[..., None]) @ c2w[:3, :3].T + c2w[:3, 3]


def _vector(values: Sequence[float]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return (x, y, z)
