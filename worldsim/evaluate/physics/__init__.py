"""How far a world model is from the law, in metres and seconds, with the error of the ruler beside it."""

from worldsim.evaluate.physics.outcome import bench
from worldsim.evaluate.physics.plan import Plan
from worldsim.evaluate.physics.plan import full as full_plan
from worldsim.evaluate.physics.plan import quick as quick_plan
from worldsim.evaluate.physics.suite import export_scenes, prepare_truth

__all__ = ["Plan", "bench", "export_scenes", "full_plan", "prepare_truth", "quick_plan"]
