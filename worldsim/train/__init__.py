"""Training: windows over a store, the objective, the loop."""

from worldsim.train.loop import TrainConfig, train

__all__ = ["TrainConfig", "train"]
