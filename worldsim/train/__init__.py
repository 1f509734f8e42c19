"""Training: windows over a store, the objective, the loop."""

from worldsim.train.config import TrainConfig
from worldsim.train.loop import train

__all__ = ["TrainConfig", "train"]
