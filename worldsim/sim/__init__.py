"""Simulators: a world model as a Gymnasium env (one stream) and as a native vector env (one model, a batch of N).

What an env holds is a value, a `Snapshot`: it can be kept, restored, branched, pickled and given to another env.
"""

from worldsim.sim.env import WorldModelEnv
from worldsim.sim.hybrid import HybridEnv, HybridSnapshot
from worldsim.sim.imagine import imagine
from worldsim.sim.paired import PairedEnv, make_dream
from worldsim.sim.plan import PlanConfig, Planner, plan
from worldsim.sim.stream import Snapshot, Stream, pick_device
from worldsim.sim.uncertainty import Calibration, UncertaintyPenalty, UncertaintyTruncation, VectorUncertaintyPenalty
from worldsim.sim.vector_env import WorldModelVectorEnv

__all__ = [
    "Calibration",
    "HybridEnv",
    "HybridSnapshot",
    "PairedEnv",
    "PlanConfig",
    "Planner",
    "Snapshot",
    "Stream",
    "UncertaintyPenalty",
    "UncertaintyTruncation",
    "VectorUncertaintyPenalty",
    "WorldModelEnv",
    "WorldModelVectorEnv",
    "imagine",
    "make_dream",
    "pick_device",
    "plan",
]
