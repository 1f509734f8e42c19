"""A level fan of 256 range beams, cast in Bullet against the solids of a scene."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from worldsim_envs.scene import Scene

__all__ = ["NUM_BEAMS", "REACH", "scan"]

NUM_BEAMS = 256
REACH = 60.0  # m


def scan(
    scene: Scene, origin: Sequence[float], yaw: float, *, reach: float = REACH, ignore: Sequence[int] = ()
) -> np.ndarray:
    """Return the ranges of a turn, (256,) float32 metres, ``reach`` where nothing was met.

    Beam k points 2 pi k / 256 counterclockwise from ``yaw``: 0 ahead, 64 left, 128 behind, 192 right.

    Args:
        scene: What is scanned: its solids, not its meshes.
        origin: Where the scanner is, metres; all beams are level with it.
        yaw: Heading of beam 0, rad.
        reach: Metres.
        ignore: Bodies without mass that beams pass through, such as the one that carries the scanner.
    """
    angles = yaw + 2 * np.pi * np.arange(NUM_BEAMS) / NUM_BEAMS
    directions = np.stack([np.cos(angles), np.sin(angles), np.zeros(NUM_BEAMS)], axis=1)  # (256, 3)
    return scene.ranges(origin, directions, reach, ignore)
