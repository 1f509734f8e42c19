"""A procedural city to drive in, `worldsim/City-v0`."""

from worldsim_envs.city.env import CityEnv
from worldsim_envs.city.state import CitySnapshot, CityState

__all__ = ["CityEnv", "CitySnapshot", "CityState"]
