"""What happened at the table in a step: who began to touch, what was gripped, set down or lost, what tipped or fell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import cos, pi
from typing import Any

from worldsim_envs.tabletop.tasks import Setup

__all__ = ["GRIPPER", "PARTS", "Watch"]

PARTS = ("base", "turret", "upper_arm", "forearm", "wrist", "hand", "finger_left", "finger_right")
GRIPPER = ("hand", "finger_left", "finger_right")
_APART = 2  # steps without touching, after which a touch is a new contact
_FALLEN_Z, _TILTED = -0.03, cos(pi / 4)  # m below the table's top, least cosine of a block that stands

Pairs = Iterable[tuple[str, str]]
Event = dict[str, Any]


class Watch:
    """Looks at an episode step by step and says what is new.

    Args:
        setup: What was put on the table.
    """

    def __init__(self, setup: Setup) -> None:
        self._blocks = setup.blocks
        self._num_steps = 0
        self._last_touch = {(block.name, "table"): 0 for block in setup.blocks}
        self._held: frozenset[str] = frozenset()
        self._tipped: set[str] = set()
        self.fallen: set[str] = set()
        """Blocks that have left the table."""

    def look(self, touched: Pairs, touching: Pairs, rows: Mapping[str, tuple[float, ...]], gap: float) -> list[Event]:
        """Return the events of a step.

        Args:
            touched: Pairs that touched in it.
            touching: Pairs that touch at its end.
            rows: State rows at its end.
            gap: Room between the fingers at its end, m.
        """
        self._num_steps += 1
        return [*self._contacts(touched), *self._grips(touching, gap), *self._falls(rows)]

    def _contacts(self, touched: Pairs) -> list[Event]:
        """Return contacts that began: of blocks, and of the hand, which stands for the whole arm."""
        events = []
        pairs = {tuple(sorted("hand" if name in PARTS else name for name in pair)) for pair in touched}
        for first, second in sorted(pairs):
            if first == second:
                continue
            if self._num_steps - self._last_touch.get((first, second), -_APART - 1) > _APART:
                one, other = (second, first) if second == "hand" else (first, second)
                events.append({"name": "contact", "first": one, "second": other})
            self._last_touch[first, second] = self._num_steps
        return events

    def _grips(self, touching: Pairs, gap: float) -> list[Event]:
        """Return what the fingers took hold of, set down, or lost in the air."""
        pairs = list(touching)
        near = {b.name: {one if other == b.name else other for one, other in pairs if b.name in (one, other)}
                for b in self._blocks}  # fmt: skip
        fingers = {"finger_left", "finger_right"}
        held = frozenset(b.name for b in self._blocks if fingers <= near[b.name] and gap > b.half)
        events = [{"name": "grasp", "body": name} for name in sorted(held - self._held)]
        for name in sorted(self._held - held):
            is_supported = bool(near[name] - set(PARTS))
            events.append({"name": "release" if is_supported else "drop", "body": name})
        self._held = held
        return events

    def _falls(self, rows: Mapping[str, tuple[float, ...]]) -> list[Event]:
        events = []
        for block in self._blocks:
            name, row = block.name, rows[block.name]
            upright = 1 - 2 * (row[3] ** 2 + row[4] ** 2)  # cosine of its z axis and the world's
            if name not in self._tipped and upright < _TILTED:
                self._tipped.add(name)
                events.append({"name": "topple", "body": name})
            if name not in self.fallen and row[2] < _FALLEN_Z:
                self.fallen.add(name)
                events.append({"name": "fall", "body": name})
        return events
