"""Which words never stand in one caption: "fog" and "rain", "night" and "noon". They say different things of the same.

With them a prompt that names one thing can be read as a change of what was told before: of "a rainy night, heavy
traffic" the prompt "noon" takes the night and leaves rain and traffic. Nobody writes down what excludes what; captions
say it, in all their languages at once.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from worldsim.model.text import Vocabulary, split_words

__all__ = ["Exclusions"]

_RARELY = 0.1  # of how often two words would meet by chance
_SEEN = 5.0  # meetings by chance below which captions are too few to tell
_AT_ONCE = 1024  # captions that are counted at once


@dataclass(frozen=True, eq=False)
class Exclusions:
    """Pairs of words that captions never hold together.

    Args:
        vocabulary: Of V words.
        table: (V, V) bool, symmetric.
    """

    vocabulary: Vocabulary
    table: np.ndarray

    @classmethod
    def of_captions(cls, vocabulary: Vocabulary, captions: Iterable[Sequence[str]]) -> Exclusions:
        """Return the exclusions that captions show; each caption is its texts in all languages."""
        held = [sorted({i - 1 for text in texts for i in vocabulary.encode(text)}) for texts in captions]
        together = np.zeros((len(vocabulary), len(vocabulary)))
        for first in range(0, len(held), _AT_ONCE):
            some = held[first : first + _AT_ONCE]
            rows = np.zeros((len(some), len(vocabulary)), np.float32)
            for row, words in zip(rows, some, strict=True):
                row[words] = 1
            together += rows.T @ rows
        each = together.diagonal()
        by_chance = np.outer(each, each) / max(1, len(held))
        return cls(vocabulary, (by_chance >= _SEEN) & (together <= _RARELY * by_chance))

    def retold(self, told: str | None, prompt: str) -> str:
        """Return a prompt together with all that was told before and does not exclude any of its words."""
        asked = np.array(self.vocabulary.encode(prompt), np.int64) - 1
        kept, said = [], set(split_words(prompt))
        for piece in split_words(told or ""):
            words = np.array(self.vocabulary.encode(piece), np.int64) - 1
            if piece not in said and len(words) and not self.table[np.ix_(words, asked)].any():
                kept.append(piece)
                said.add(piece)
        return f"{prompt}, {' '.join(kept)}" if kept else prompt

    def to_bytes(self) -> bytes:
        """Return the contents of a file of `from_bytes`, some 20 kB."""
        file = io.BytesIO()
        np.savez_compressed(file, table=np.packbits(self.table, axis=1))
        return file.getvalue()

    @classmethod
    def from_bytes(cls, vocabulary: Vocabulary, data: bytes) -> Exclusions:
        """Return what `to_bytes` wrote.

        Raises:
            ValueError: If it is of another vocabulary.
        """
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            packed = file["table"]
        num = len(vocabulary)
        if packed.shape != (num, -(-num // 8)) or packed.dtype != np.uint8:
            raise ValueError(f"exclusions of {num} words are {(num, -(-num // 8))} uint8, not {packed.shape}")
        return cls(vocabulary, np.unpackbits(packed, axis=1, count=num).astype(bool))
