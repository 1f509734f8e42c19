"""The table: a robot arm that reaches, pushes and stacks blocks."""

from worldsim_envs.tabletop.env import TabletopEnv, TabletopSnapshot
from worldsim_envs.tabletop.factors import TASKS

__all__ = ["TASKS", "TabletopEnv", "TabletopSnapshot"]
