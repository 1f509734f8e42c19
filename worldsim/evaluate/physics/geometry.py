"""From pixels to metres and back: the only place where a pixel becomes a place in the world.

Image coordinates (u, v) are continuous: the pixel in column j and row i covers [j, j + 1) x [i, i + 1), its middle is
at (j + 0.5, i + 0.5), and ``K`` speaks of these coordinates. Poses ``c2w`` have OpenCV axes: x right, y down, z ahead.
One camera does not tell depth, so a place is where a pixel's ray meets the plane in which its body moves.
"""

from __future__ import annotations

import numpy as np

__all__ = ["ball_to_pixel", "ball_to_world", "depth_of", "outline_radius", "pixel_middles", "project", "to_world"]


def pixel_middles(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return u and v of the middle of every pixel, (H, W) each."""
    v, u = np.mgrid[:height, :width] + 0.5
    return u, v


def _in_camera(points: np.ndarray, c2w: np.ndarray) -> np.ndarray:
    """Return points (..., 3) of the world in the axes of cameras (..., 4, 4)."""
    return np.einsum("...ji,...j->...i", c2w[..., :3, :3], points - c2w[..., :3, 3])


def depth_of(points: np.ndarray, c2w: np.ndarray) -> np.ndarray:
    """Return how far points (..., 3) are in front of cameras (..., 4, 4), metres along the optical axis."""
    return _in_camera(np.asarray(points, float), np.asarray(c2w))[..., 2]


def project(points: np.ndarray, K: np.ndarray, c2w: np.ndarray) -> np.ndarray:
    """Return where points are seen.

    Args:
        points: (..., 3) metres.
        K: (3, 3) intrinsics in pixels.
        c2w: (..., 4, 4) poses, broadcast against the points.

    Returns:
        (..., 2) continuous image coordinates (u, v); NaN behind the camera.
    """
    x, y, z = np.moveaxis(_in_camera(np.asarray(points, float), np.asarray(c2w)), -1, 0)
    z = np.where(z > 0, z, np.nan)
    return np.stack([K[0, 0] * x / z + K[0, 2], K[1, 1] * y / z + K[1, 2]], axis=-1)


def to_world(px: np.ndarray, K: np.ndarray, c2w: np.ndarray, point: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Return where the rays through pixels meet a plane.

    Args:
        px: (..., 2) continuous image coordinates (u, v).
        K: (3, 3) intrinsics in pixels.
        c2w: (..., 4, 4) poses, broadcast against the pixels.
        point, normal: (..., 3) a point of the plane in metres and its normal.

    Returns:
        (..., 3) metres; NaN where the ray does not meet the plane in front of the camera.
    """
    px, c2w = np.asarray(px, float), np.asarray(c2w)
    ray = np.stack(
        [(px[..., 0] - K[0, 2]) / K[0, 0], (px[..., 1] - K[1, 2]) / K[1, 1], np.ones(px.shape[:-1])], axis=-1
    )
    ray = np.einsum("...ij,...j->...i", c2w[..., :3, :3], ray)
    eye = c2w[..., :3, 3]
    along = np.sum(ray * normal, axis=-1)
    ahead = np.sum((np.asarray(point) - eye) * normal, axis=-1) / np.where(np.abs(along) > 1e-9, along, np.nan)
    return eye + np.where(ahead > 0, ahead, np.nan)[..., None] * ray


def ball_to_pixel(centre: np.ndarray, radius: float | np.ndarray, K: np.ndarray, c2w: np.ndarray) -> np.ndarray:
    """Return the middle of a ball's outline (..., 2), which is not where its centre is seen.

    A ball's outline is an ellipse. Its middle is lambda (X, Y) with lambda = Z / (Z^2 - r^2) for a ball at (X, Y, Z) in
    the camera, a little further from the axis than its centre at lambda = 1 / Z: 0.1 pixels at a corner of the bench.
    """
    x, y, z = np.moveaxis(_in_camera(np.asarray(centre, float), np.asarray(c2w)), -1, 0)
    stretch = z / (z**2 - np.asarray(radius) ** 2)
    return np.stack([K[0, 0] * x * stretch + K[0, 2], K[1, 1] * y * stretch + K[1, 2]], axis=-1)


def ball_to_world(
    px: np.ndarray, radius: float | np.ndarray, K: np.ndarray, c2w: np.ndarray, point: np.ndarray, normal: np.ndarray
) -> np.ndarray:
    """Return the centre of a ball whose outline has its middle at a pixel; arguments as in `to_world`."""
    px = np.asarray(px, float)
    middle = np.array([K[0, 2], K[1, 2]])
    centre = to_world(px, K, c2w, point, normal)
    for _ in range(2):  # each pass shrinks what is left by (r / Z)^2, about 300 times
        z = depth_of(centre, c2w)
        shrink = (z**2 - np.asarray(radius) ** 2) / z**2
        centre = to_world(middle + (px - middle) * shrink[..., None], K, c2w, point, normal)
    return centre


def outline_radius(depth: np.ndarray, radius: float | np.ndarray, K: np.ndarray) -> np.ndarray:
    """Return how many pixels a ball's radius is at a depth in metres, on the axis."""
    return K[1, 1] * np.asarray(radius) / np.sqrt(np.asarray(depth) ** 2 - np.asarray(radius) ** 2)
