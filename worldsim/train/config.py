"""How a model is trained, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

from worldsim.train.budget import Budget

__all__ = ["TrainConfig"]


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Budget):
    """How a model is trained."""

    batch: int = 4
    """Windows per step, of all processes together."""
    accumulate: int = 1
    """Shares into which a process divides its windows of a step, one after the other, to save memory."""
    shard: bool = False
    """Whether several processes divide the network among themselves (FSDP2); else each holds a copy (DDP)."""
    length: int = 24
    """Steps per window."""
    muon_rate: float = 2.5
    """Learning rate of the blocks' matrices, whose steps are made orthogonal (Muon), as a multiple of
    ``learning_rate``; 0 leaves them to AdamW as well."""
    ends_share: float = 0.1
    """Share of the windows that hold an end of an episode by the world itself, which are rare otherwise."""
    balance: float = 0.0
    """Power of its change from frame to frame by which a window's squared error is divided, relative to the mean: above
    0, scenes in which little moves count more."""
    prompts_share: float = 0.0
    """Share of the windows in which the caption changes, as after a prompt, which may be rare otherwise."""
    text_drop_share: float = 0.25
    """Share of the windows without a prompt, of those in which nothing has changed since the episode began: most starts
    have none, and guidance needs both."""
    mirror: tuple[int | str, ...] = ()
    """Names or numbers of the actions whose sign turns when a picture is mirrored left to right; with any, half of the
    windows are."""
    text_encoder: str = "words"
    """``words`` or ``sentence``; see `worldsim.model.text`."""
    factors: tuple[str, ...] = ()
    """Numeric factors of the episodes' variation that the model is told, such as gravity."""
    tensorboard: bool = False
    """Whether the figures are also written as TensorBoard events."""
    padded_share: float = 0.25
    """Share of the steps whose windows begin with padding, so that a model can start from few frames or one."""
    own_frames_from: float = 0.15
    """Share of the budget after which windows with the model's own frames as context are mixed in."""
    own_frames_share: float = 0.75
    """Share of the steps after that which use them."""
    several_steps_share: float = 0.1
    """Share of those, but for deep ones, in which the model imagines by two or four sampler steps in place of its
    default, and learns from what those steps meet, so that one checkpoint can be sampled by any of them."""
    deep_share: float = 0.2
    """Share of the steps after that whose windows begin deep in a rollout of the model's own, so that it holds for
    longer than a window; where episodes are long enough."""
    deep_steps: int = 56
    """Imagined steps before such a window at most."""
    known_for: float = 4.0
    """Imagined steps after which a squared error counts half, 0.1 or more: longer where what comes follows from what
    was seen, as on a bench, than where it is open, as in traffic."""
    sharpness: float = 0.9
    """From ``own_frames_from`` on, the weight of local contrast is led so that imagined frames are about so sharp."""
    contrast_weight: float = 1.0
    """That weight to begin with; a run that continues another begins best near where the other one ended."""
    contrast_limit: float = 30.0
    """That weight at most."""
    critic_share: float = 0.6
    """The critic's part of a frame's gradient as a share of the squared error's, from ``own_frames_from`` on."""
