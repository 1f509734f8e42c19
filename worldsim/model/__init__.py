"""The video diffusion model and the explicit state it steps."""

from worldsim.model.checkpoint import (
    CHECKPOINTS,
    FIRST_FRAMES,
    bundled,
    encode_starts,
    find_checkpoint,
    load,
    new_first_frames,
    new_model,
    save,
    save_first_frames,
    set_terminate_calibration,
)
from worldsim.model.exclusions import Exclusions
from worldsim.model.first_frame import FirstFrameConfig, FirstFrameNet, first_frame_config, tiny_first_frames
from worldsim.model.networks import Networks
from worldsim.model.precision import PRECISION_VARIABLE, autocast, compute_dtype
from worldsim.model.prediction import Imagined, Prediction
from worldsim.model.presets import PRESETS, ModelConfig
from worldsim.model.render_net import RendererConfig, RendererSpec, RenderNet, tiny_renderer, view_channels
from worldsim.model.renderer import (
    PLAIN_MODES,
    Renderer,
    bundled_renderers,
    load_renderer,
    new_renderer,
    save_renderer,
)
from worldsim.model.spec import ModelSpec, encode_actions, encode_factors, spec_of
from worldsim.model.state import WorldState
from worldsim.model.text import TEXT_ENCODERS, TextEncoder, Vocabulary
from worldsim.model.world_model import Start, WorldModel

__all__ = [
    "CHECKPOINTS",
    "FIRST_FRAMES",
    "PLAIN_MODES",
    "PRECISION_VARIABLE",
    "PRESETS",
    "TEXT_ENCODERS",
    "Exclusions",
    "FirstFrameConfig",
    "FirstFrameNet",
    "Imagined",
    "ModelConfig",
    "ModelSpec",
    "Networks",
    "Prediction",
    "RenderNet",
    "Renderer",
    "RendererConfig",
    "RendererSpec",
    "Start",
    "TextEncoder",
    "Vocabulary",
    "WorldModel",
    "WorldState",
    "autocast",
    "bundled",
    "bundled_renderers",
    "compute_dtype",
    "encode_actions",
    "encode_factors",
    "encode_starts",
    "find_checkpoint",
    "first_frame_config",
    "load",
    "load_renderer",
    "new_first_frames",
    "new_model",
    "new_renderer",
    "save",
    "save_first_frames",
    "save_renderer",
    "set_terminate_calibration",
    "spec_of",
    "tiny_first_frames",
    "tiny_renderer",
    "view_channels",
]
