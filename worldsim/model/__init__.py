"""The video diffusion model and the explicit state it steps."""

from worldsim.model.checkpoint import CHECKPOINTS, bundled, load, new_model, save
from worldsim.model.presets import PRESETS, ModelConfig
from worldsim.model.spec import ModelSpec, encode_actions, spec_of
from worldsim.model.text import Vocabulary
from worldsim.model.world_model import Networks, Prediction, Start, WorldModel, WorldState

__all__ = [
    "CHECKPOINTS",
    "PRESETS",
    "ModelConfig",
    "ModelSpec",
    "Networks",
    "Prediction",
    "Start",
    "Vocabulary",
    "WorldModel",
    "WorldState",
    "bundled",
    "encode_actions",
    "load",
    "new_model",
    "save",
    "spec_of",
]
