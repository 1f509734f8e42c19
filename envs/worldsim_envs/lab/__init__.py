"""The bench: twenty physics experiments in one env."""

from worldsim_envs.lab.env import LabEnv, LabSnapshot
from worldsim_envs.lab.scenarios import SCENARIOS

__all__ = ["SCENARIOS", "LabEnv", "LabSnapshot"]
