"""Traffic lights: what each junction shows is a function of its offset and the step, nothing else.

A cycle lasts 16 s: traffic along x has 5.5 s of green, 1.5 s of yellow and 1 s in which all is red; then traffic
along y.
"""

from __future__ import annotations

__all__ = ["CYCLE", "colors", "red_left"]

CYCLE = 160  # steps of 0.1 s
_GREEN, _YELLOW, _HALF = 55, 70, 80  # steps after the start of an axis's half at which green, yellow and the half end


def _color(phase: int) -> str:
    return "green" if phase < _GREEN else "yellow" if phase < _YELLOW else "red"


def colors(offset: int, step: int) -> tuple[str, str]:
    """Return what traffic along x and traffic along y see at a step."""
    phase = (step + offset) % CYCLE
    return _color(phase), _color((phase + _HALF) % CYCLE)


def red_left(offset: int, axis: int, step: int) -> int:
    """Return for how many steps the light of an axis (0 = along x, 1 = along y) stays red; 0 if it is not."""
    phase = (step + offset + axis * _HALF) % CYCLE
    return max(CYCLE - phase, 0) if phase >= _YELLOW else 0
