"""What the figures of a comparison say in words: the verdict, and what the model cannot do."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

__all__ = ["limits", "verdict"]

_VERDICT_STEP = 16


def verdict(figures: Mapping[str, Any]) -> str:
    """Return two or three sentences on how good the model is, from a report's JSON."""
    step = max((s for s in range(1, min(_VERDICT_STEP, figures["horizon"]) + 1) if figures["n"][s - 1]), default=1)
    skill, (low, high) = figures["skill"][step - 1], figures["skill_ci"][step - 1]
    if skill is None:
        return "Nothing moved in the truth, so that holding the last frame still is perfect and skill has no meaning."
    when = f"At step {step} ({step * figures['control_dt']:.1f} s)"
    interval = f"skill {skill:.2f}, 95% interval {low:.2f} to {high:.2f}"
    if low > 0:
        parts = [f"{when} the imagined frames are closer to the truth than the last frame held still: {interval}."]
    elif high < 0:
        parts = [f"{when} the imagined frames are further from the truth than the last frame held still: {interval}."]
    else:
        parts = [
            f"{when} the imagined frames are neither closer to the truth nor further than the last frame: {interval}."
        ]
    parts.append(f"They have {_sharp(figures['sharpness'][step - 1])}.")
    if (ratio := figures["action_shuffle_ratio"]) is not None:
        heeds = "The actions count" if ratio > 1.1 else "The actions hardly count"
        parts.append(f"{heeds}: with those of another clip the error is {ratio:.2f} times as large.")
    return " ".join(parts)


def limits(figures: Mapping[str, Any]) -> list[str]:
    """Return what the model cannot do, each as one sentence with its figure, the most important first."""
    memory_s = figures["num_context"] * figures["control_dt"]
    last = max((step for step, n in enumerate(figures["n"], 1) if n), default=1)
    found = [
        f"It remembers {figures['num_context']} frames ({memory_s:.1f} s): what has left the view for longer is "
        "made up anew, and what comes into view for the first time is plausible at best, never the true thing.",
    ]
    known = [(s, high < 0) for s, (_, high) in enumerate(figures["skill_ci"], 1) if high is not None]
    worse = list(itertools.takewhile(lambda item: item[1], reversed(known)))
    below = worse[-1][0] if worse else None
    if below is not None:
        found.append(f"From step {below} on it is further from the truth than the last frame held still.")
    found.append(f"At step {last} its frames have {_sharp(figures['sharpness'][last - 1])}.")
    ends = figures["termination"]
    if ends["true_ends"]:
        found.append(
            f"It foresaw {ends['right']} of {ends['true_ends']} true ends within {ends['tolerance_steps']} steps, "
            f"and ended {ends['early']} clips without reason."
        )
    found.append(f"It knows only worlds like {figures['env']} under the policies of its data, at its own frame size.")
    return found


def _sharp(value: float | None) -> str:
    if value is None:
        return "nothing to be sharp about"
    blurred = " (detail is blurred away)" if value < 0.8 else ""
    return f"{100 * value:.0f}% of the truth's gradient energy{blurred}"
