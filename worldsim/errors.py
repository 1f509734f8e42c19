"""Every error a user of worldsim can meet.

Each message says what was expected, what came, and what to do. The command line prints it in one or two lines; anything
that reaches a user as a traceback is a bug.
"""

from __future__ import annotations

from importlib import metadata

__all__ = [
    "ActionError",
    "CheckpointError",
    "EnvError",
    "MissingExtraError",
    "PromptError",
    "StoreError",
    "WorldsimError",
]

_DISTRIBUTION = "worldsim-sdk"


class WorldsimError(ValueError):
    """Base of all errors that worldsim raises on purpose."""


class ActionError(WorldsimError):
    """An action has the wrong shape, is not finite, or lies outside the action space."""


class PromptError(WorldsimError):
    """No word of a prompt was understood, or the prompt is not a usable text."""


class CheckpointError(WorldsimError):
    """A checkpoint is missing, damaged, or does not fit what it is used with."""


class StoreError(WorldsimError):
    """A rollout store is missing, damaged, or does not fit what is written to it."""


class EnvError(WorldsimError):
    """An environment is unknown, was used out of order, or cannot do what was asked."""


class MissingExtraError(WorldsimError):
    """An optional part of worldsim is not installed.

    Args:
        package: The package that could not be imported.
        extra: The extra of worldsim that brings it.
        purpose: What it is needed for, as a verb phrase.
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        try:
            name = metadata.metadata(_DISTRIBUTION)["Name"]
        except metadata.PackageNotFoundError:
            name = _DISTRIBUTION
        super().__init__(f'{package} is needed to {purpose}; install it with: pip install "{name}[{extra}]"')
