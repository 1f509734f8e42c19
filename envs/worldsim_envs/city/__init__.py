"""A procedural city to drive in, `worldsim/City-v0`."""

from worldsim_envs.city.env import CityEnv, CitySnapshot, CityState

__all__ = ["CityEnv", "CitySnapshot", "CityState"]
