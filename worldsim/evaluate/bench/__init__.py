"""What ``worldsim bench`` runs."""

from worldsim.evaluate.bench.speed import SpeedBudget, WorldSpeed, bench_speed, full, quick, world_speed

__all__ = ["SpeedBudget", "WorldSpeed", "bench_speed", "full", "quick", "world_speed"]
