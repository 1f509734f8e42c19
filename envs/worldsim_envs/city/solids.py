"""What a lidar meets in the city: solids without looks, in a client of their own.

What is drawn is what cameras see, and beams go all around; a solid that is not drawn would be a white box in a picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from worldsim_envs.city.layout import Key
from worldsim_envs.city.paint import CAR_SIZE, WALKER_SIZE
from worldsim_envs.scene import Box, Scene

__all__ = ["Solids", "solid_of"]

Pose = tuple[float, float, float, float]
"""x, y, z in metres and yaw in rad."""

_AWAY = (0.0, 0.0, -500.0, 0.0)
_BLANK = np.zeros((1, 1, 3), np.uint8)


def solid_of(size: tuple[float, float, float]) -> Box:
    """Return the box of length, width and height in metres that stands on the ground of its body."""
    length, width, height = size
    return Box((0, 0, height / 2), (length / 2, width / 2, height / 2))


class Solids:
    """The solids around a lidar, kept up to date from scan to scan."""

    def __init__(self) -> None:
        self.scene = Scene(_BLANK, 32, 32, 90.0)
        self.clear()

    def clear(self) -> None:
        """Forget the map."""
        self.scene.clear()
        self._blocks: dict[Key, int] = {}
        self._bodies: dict[str, int] = {}

    def place(self, blocks: Mapping[Key, Sequence[Box]], poses: Mapping[str, Pose]) -> None:
        """Let there be these blocks, and cars and people there and nowhere else.

        Args:
            blocks: Boxes of blocks and streets, which never change.
            poses: Of car0, car1, ..., pedestrian0, ...
        """
        for key in [key for key in self._blocks if key not in blocks]:
            self.scene.remove(self._blocks.pop(key))
        for key, boxes in blocks.items():
            if boxes and key not in self._blocks:
                self._blocks[key] = self.scene.add(None, boxes)
        for name in poses:
            if name not in self._bodies:
                solid = solid_of(CAR_SIZE if name.startswith("car") else WALKER_SIZE)
                self._bodies[name] = self.scene.add(None, [solid])
        for name, body in self._bodies.items():
            self.scene.place(body, *poses.get(name, _AWAY))
