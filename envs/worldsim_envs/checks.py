"""What every world asks of the arguments that it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from worldsim.errors import EnvError

__all__ = ["check_number", "check_size", "reset_options"]


def check_size(height: Any, width: Any) -> None:
    """Raise unless both are whole numbers of pixels from 32 to 256.

    Raises:
        EnvError: If one is not.
    """
    for name, size in (("height", height), ("width", width)):
        if not isinstance(size, int | np.integer) or not 32 <= size <= 256:
            raise EnvError(f"{name} must be 32 to 256 pixels; got {size!r}")


def reset_options(options: Any, names: Sequence[str]) -> dict[str, Any]:
    """Return the options of a reset that are set; one that is None is as none.

    Args:
        options: As `reset` was given them.
        names: What they may be; ``snapshot`` stands alone, and ``variation`` is a mapping.

    Raises:
        EnvError: If there is another one, or one that does not go with the rest.
    """
    if not isinstance(options, Mapping | None):
        raise EnvError(f"reset options are a dict of {', '.join(names)}; got {options!r}")
    if unknown := set(options or {}) - set(names):
        raise EnvError(f"reset options are {', '.join(names)}; got {sorted(map(str, unknown))}")
    given = {name: value for name, value in (options or {}).items() if value is not None}
    if "snapshot" in given and len(given) > 1:
        others = ", ".join(name for name in given if name != "snapshot")
        raise EnvError(f"a snapshot holds all of an episode: give it without {others}")
    if not isinstance(given.get("variation", {}), Mapping):
        raise EnvError(f"variation must be a dict of factors and values; got {given['variation']!r}")
    return given


def check_number(name: str, value: Any, low: float, high: float, *, is_integer: bool = False) -> float | int:
    """Return a factor's value as a plain number.

    Args:
        name: For the message.
        value: As it was given.
        low, high: The least and the most.
        is_integer: Whether it must be a whole number.

    Raises:
        EnvError: If it is none, or outside.
    """
    is_number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not is_number or not low <= value <= high or (is_integer and value != int(value)):
        kind = "whole number" if is_integer else "number"
        raise EnvError(f"{name} must be a {kind} from {low} to {high}; got {value!r}")
    return int(value) if is_integer else float(value)
