"""Captions: the same facts in many wordings, chosen by a seed, with some wordings kept out of training.

A wording is one word group of a first list before one of a second. Pairs whose indices add up to a multiple of five are
held out: each of their words is still learned, in other company.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

__all__ = ["Caption", "Wordings", "choose", "told", "worded"]

Caption = dict[str, str]
"""``{"en": ..., "zh": ...}``."""


@dataclass(frozen=True)
class Wordings:
    """The ways to say one thing in one language.

    Each product is a pair of lists, word groups separated by ``|``; every group of the first goes before every group of
    the second.
    """

    products: tuple[tuple[str, str], ...]
    glue: str = " "
    """Between the two; empty in Chinese."""

    @cached_property
    def train(self) -> tuple[str, ...]:
        """What training captions say."""
        return self._pairs(is_held_out=False)

    @cached_property
    def held_out(self) -> tuple[str, ...]:
        """What no training caption says: one in five."""
        return self._pairs(is_held_out=True)

    @property
    def all(self) -> tuple[str, ...]:
        """Every wording."""
        return self.train + self.held_out

    def _pairs(self, *, is_held_out: bool) -> tuple[str, ...]:
        return tuple(
            f"{a}{self.glue}{b}".strip()
            for first, second in self.products
            for i, a in enumerate(first.split("|"))
            for j, b in enumerate(second.split("|"))
            if ((i + j) % 5 == 0) == is_held_out
        )


def worded(en: Sequence[tuple[str, str]], zh: Sequence[tuple[str, str]]) -> dict[str, Wordings]:
    """Return the wordings of one thing by language."""
    return {"en": Wordings(tuple(en)), "zh": Wordings(tuple(zh), glue="")}


def choose(wordings: Wordings, rng: np.random.Generator, *, is_held_out: bool) -> str:
    """Draw a wording, each equally often."""
    options = wordings.held_out if is_held_out else wordings.train
    return options[int(rng.integers(len(options)))]


def told(
    wordings: Mapping[str, Wordings],
    key: tuple[int, ...],
    wording: str = "train",
    slots: Mapping[str, Mapping[str, str]] | None = None,
) -> Caption:
    """Return ``{"en", "zh"}`` in wordings that a key chooses.

    Args:
        wordings: By language, with slots in braces.
        key: Seed of the choice.
        wording: ``train`` or ``held_out``.
        slots: What stands in the slots, by language.
    """
    rng = np.random.default_rng(key)
    said = {}
    for language in ("en", "zh"):
        text = choose(wordings[language], rng, is_held_out=wording == "held_out")
        said[language] = text.format(**(slots or {}).get(language, {}))
    return said
