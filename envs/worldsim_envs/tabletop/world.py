"""A table in Bullet: builds a `Setup`, advances it tick by tick, and says what touched what.

A world is a pure function of its setup, its gravity and the commands it was given: the same ones, to a world built
anew, give the same bits. That is how the env saves and restores it.
"""

from __future__ import annotations

from collections.abc import Sequence

from scipy.spatial.transform import Rotation

from worldsim_envs.mesh import Mesh
from worldsim_envs.scene import Dynamics, Scene, Solid, Surface
from worldsim_envs.tabletop.arm import BASE, MAX_GRIP, MAX_MOVE, SHOULDER, Arm
from worldsim_envs.tabletop.paint import ball_mesh, box_mesh, tube_mesh
from worldsim_envs.tabletop.tasks import TABLE, Setup

__all__ = ["ACTIONS", "CONTROL_DT", "PHYSICS_DT", "TICKS", "World"]

CONTROL_DT, PHYSICS_DT = 1 / 20, 1 / 240  # s
TICKS = round(CONTROL_DT / PHYSICS_DT)
ACTIONS: dict[str, tuple[str, float, float]] = {
    # name: unit, value at -1, value at +1
    "dx": ("m per step", -MAX_MOVE, MAX_MOVE),
    "dy": ("m per step", -MAX_MOVE, MAX_MOVE),
    "dz": ("m per step", -MAX_MOVE, MAX_MOVE),
    "close": ("m per step", -MAX_GRIP, MAX_GRIP),
}
_LOOKS = (TICKS // 3 - 1, 2 * TICKS // 3 - 1, TICKS - 1)
"""Ticks of a step at whose end contacts are read."""
_ITERATIONS = 20
"""Enough for a few blocks and the arm: at 50, two fifths of the time of a tick more, an expert stacks as well."""
_THICK = 0.04  # m, of the table's top
_SPOT = 0.035  # m, half extents of the shade below the gripper

Row = tuple[float, ...]


class World:
    """One episode's table.

    Args:
        scene: Where to build it; whatever it holds is removed.
        setup: What to build.
        gravity: m/s2.
    """

    def __init__(self, scene: Scene, setup: Setup, gravity: float) -> None:
        self.setup, self._scene = setup, scene
        scene.clear()
        self._dynamics = Dynamics(scene, PHYSICS_DT)
        self._dynamics.begin(gravity, iterations=_ITERATIONS)
        self._gravity = gravity
        self.names: dict[tuple[int, int], str] = {}
        self._blocks: dict[str, int] = {}
        self._drawn: list[tuple[Mesh, tuple[int, int]]] = []
        self._build_table()
        for block in setup.blocks:
            half, surface = (block.half, block.half, block.half), Surface(block.friction**2, 0.0)
            turn = Rotation.from_euler("z", block.yaw).as_quat().tolist()
            mesh = box_mesh(half, block.paint)
            body = self._dynamics.add(mesh, Solid("box", half), block.mass, surface, (*block.at, block.half), turn)
            self._blocks[block.name] = body
            self._note(mesh, body, -1, block.name)
        self._arm = Arm(self._dynamics, setup.hand, CONTROL_DT)
        for link, part in enumerate(self._arm.links):
            self._note(part.mesh, self._arm.body, link, self._arm.part(link))
        self.rows = self._read()
        self.touching: frozenset[tuple[str, str]] = frozenset()
        self._place_shade()

    @property
    def angles(self) -> tuple[float, ...]:
        """Angle of every hinge, rad."""
        return self._arm.angles

    @property
    def gap(self) -> float:
        """Room between the fingers, m."""
        return self._arm.gap

    def meshes(self) -> list[tuple[str, Mesh]]:
        """Return what is drawn, each with its name, where it is now."""
        placed = []
        for mesh, key in self._drawn:
            row = self._dynamics.row(*key)
            turn = Rotation.from_quat(row[3:7]).as_matrix()
            moved = Mesh(mesh.vertices @ turn.T + row[:3], mesh.normals @ turn.T, mesh.uvs)
            placed.append((f"{self.names[key]}_{key[0]}_{key[1]}", moved))
        return placed

    def advance(self, action: Sequence[float], gravity: Sequence[float]) -> frozenset[tuple[str, str]]:
        """Advance by one control step and return the pairs that touched in it, the arm's parts by their names.

        Args:
            action: One number in [-1, 1] per entry of ACTIONS.
            gravity: m/s2 in each tick.
        """
        self._arm.command(action)
        touched: set[tuple[str, str]] = set()
        for tick in range(TICKS):
            if gravity[tick] != self._gravity:
                self._gravity = gravity[tick]
                self._dynamics.set_gravity(self._gravity)
            self._dynamics.tick()
            if tick in _LOOKS:
                self.touching = self._touching()
                touched |= self.touching
        self.rows = self._read()
        self._place_shade()
        return frozenset(touched)

    # ---- building

    def _note(self, mesh: Mesh | None, body: int, link: int, name: str) -> None:
        self.names[body, link] = name
        if mesh is not None:
            self._drawn.append((mesh, (body, link)))

    def _add_fixed(self, mesh: Mesh, name: str, at: tuple[float, float, float], solid: Solid | None = None) -> int:
        body = self._dynamics.add(mesh, solid, 0, Surface(1.0, 0.0), at)
        self._note(mesh, body, -1, name)
        return body

    def _build_table(self) -> None:
        half = (*TABLE, _THICK / 2)
        top = box_mesh(half, "table")
        self._add_fixed(top, "table", (0, 0, -_THICK / 2), Solid("box", half))
        self._add_fixed(tube_mesh(0.07, SHOULDER / 2 - 0.03, "z", "arm"), "base", (*BASE, SHOULDER / 2 - 0.03))
        self._shade = self._add_fixed(box_mesh((_SPOT, _SPOT, 0.001), "shade"), "shade", (0, 0, 0))
        if self.setup.task == "push":
            self._add_fixed(box_mesh((0.07, 0.07, 0.0015), "mark"), "goal", (*self.setup.goal[:2], 0.0015))
        if self.setup.task == "reach":
            x, y, z = self.setup.goal
            self._add_fixed(tube_mesh(0.006, z / 2, "z", "post", 6), "post", (x, y, z / 2))
            self._add_fixed(ball_mesh(0.038, "mark"), "goal", (x, y, z))

    # ---- reading

    def _read(self) -> dict[str, Row]:
        self._arm.read()
        return {name: self._dynamics.row(body) for name, body in self._blocks.items()} | self._arm.rows()

    def _touching(self) -> frozenset[tuple[str, str]]:
        pairs = ((self.names[first], self.names[second]) for first, second in self._dynamics.touches())
        return frozenset((min(pair), max(pair)) for pair in pairs)

    def _place_shade(self) -> None:
        """Put the spot below the gripper, on the table: it tells from one camera where the gripper is in depth."""
        x, y, _ = self.rows["hand"][:3]
        self._scene.place(self._shade, x, y, 0.001, 0.0)
