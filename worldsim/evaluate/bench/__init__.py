"""What ``worldsim bench`` runs."""

from worldsim.evaluate.bench.speed import SpeedBudget, bench_speed, full, quick

__all__ = ["SpeedBudget", "bench_speed", "full", "quick"]
