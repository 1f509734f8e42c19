"""Training: windows over a store, the objective, the loop."""

from worldsim.train.budget import with_numbers
from worldsim.train.config import TrainConfig
from worldsim.train.first_frames import FirstFrameTrainConfig, train_first_frames
from worldsim.train.loop import train
from worldsim.train.renderer import RenderTrainConfig, train_renderer

__all__ = [
    "FirstFrameTrainConfig",
    "RenderTrainConfig",
    "TrainConfig",
    "train",
    "train_first_frames",
    "train_renderer",
    "with_numbers",
]
