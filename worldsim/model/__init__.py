"""The video diffusion model and the explicit state it steps."""

from worldsim.model.checkpoint import (
    CHECKPOINTS,
    bundled,
    find_checkpoint,
    load,
    new_model,
    save,
    set_terminate_calibration,
)
from worldsim.model.presets import PRESETS, ModelConfig
from worldsim.model.spec import ModelSpec, encode_actions, encode_factors, spec_of
from worldsim.model.text import TEXT_ENCODERS, TextEncoder, Vocabulary
from worldsim.model.world_model import Imagined, Networks, Prediction, Start, WorldModel, WorldState

__all__ = [
    "CHECKPOINTS",
    "PRESETS",
    "TEXT_ENCODERS",
    "Imagined",
    "ModelConfig",
    "ModelSpec",
    "Networks",
    "Prediction",
    "Start",
    "TextEncoder",
    "Vocabulary",
    "WorldModel",
    "WorldState",
    "bundled",
    "encode_actions",
    "encode_factors",
    "find_checkpoint",
    "load",
    "new_model",
    "save",
    "set_terminate_calibration",
    "spec_of",
]
