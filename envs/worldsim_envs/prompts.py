"""What a prompt asks of a world, in English or Chinese: a text in; factors, their phrases and the rest out.

A world lists phrases by (factor, value). The longest phrase wins, words that only hold a sentence together are skipped,
and every other word is handed back: a world must say what it cannot express. A negation is understood where the world
names an opposite ("no rain" is clear weather unless another weather is named) and handed back where it does not. Of two
phrases that exclude each other the later one counts, and the other is handed back; of some factors the earlier one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from worldsim.errors import PromptError

__all__ = ["Reading", "Words", "read_prompt"]

Target = tuple[str, Any]
"""A factor and the value that it is set to."""

_NEGATORS = frozenset(
    ["no", "not", "without", "never", "neither", "isn't", "aren't", "wasn't", "weren't", "don't", "doesn't", "didn't",
     "won't", "wouldn't", "can't", "cannot", "shouldn't", "non",
     "没有", "没", "无", "不", "不要", "别", "毫无", "并非", "非", "不是", "未"]
)  # fmt: skip
_OR = frozenset(["or", "nor", "或", "或者", "也没有", "也没", "也无", "也不"])
_AND = frozenset(["and", "和", "与", "及"])
_IS = frozenset(["is", "are", "was", "were", "looks", "be"])
_PAUSE, _LISTED = ",", "、"
_PAUSES, _END = frozenset([_PAUSE, _LISTED]), ""
_FILLER = frozenset(
    [
        "a", "an", "the", "this", "that", "some", "any", "such", "very", "quite", "rather", "really", "more", "much",
        "too", "in", "on", "at", "with", "and", "or", "nor", "of", "to", "by", "through", "along", "across", "down",
        "up", "under", "over", "during", "while", "as", "from", "into", "is", "are", "was", "were", "be", "it", "its",
        "there", "here", "then", "but", "for", "just", "please", "show", "me", "let", "make", "i", "want", "would",
        "like", "see", "you", "we", "s",
    ]
)  # fmt: skip
_FILLER_ZH = (
    "正在", "一个", "这个", "那个", "一些", "任何", "非常", "很", "十分", "比较", "在", "里", "中", "上", "下",
    "和", "与", "及", "着", "有", "时", "于", "是", "了", "请", "给我", "我", "想", "要", "看", "个", "只", "但",
    "而", "又", "且", "被",
)  # fmt: skip
_TOKEN = re.compile(
    r"[^\W\d_\u4e00-\u9fff]+(?:'[^\W\d_\u4e00-\u9fff]+)*"  # words of any script
    r"|[0-9]+(?:\.[0-9]+)?|[\u4e00-\u9fff]+|[,.;:!?。、\n]"
    r"|[\u2600-\u27bf\U0001f000-\U0001faff]+"  # pictures
)
_SIGNS = frozenset(",.;:!?。\n")  # in normal form, in which the wide ones are these
_UNKNOWN, _PIECE = 100, 1  # cost of an unknown Chinese character and of a known piece


@dataclass(frozen=True, kw_only=True)
class Words:
    """What a world understands."""

    phrases: Mapping[Target, tuple[str, ...]]
    """What may be said, by what it sets; a phrase under several targets sets them all."""
    opposites: Mapping[Target, Target] = field(default_factory=dict)
    """What is meant by the negation of a phrase that sets one factor alone."""
    nearest: Mapping[Target, tuple[str, ...]] = field(default_factory=dict)
    """What cannot be expressed but comes close: it is set, and handed back as well."""
    first_counts: frozenset[str] = frozenset()
    """Factors of which the first value counts: "the red block onto the blue one" moves the red one."""
    filler: tuple[str, ...] = ()
    """Words of this world that say nothing, such as ``street``."""

    @cached_property
    def targets(self) -> dict[str, tuple[Target, ...]]:
        """Everything that phrases set, by phrase in normal form."""
        table: dict[str, tuple[Target, ...]] = {}
        for group in (self.phrases, self.nearest):
            for target, phrases in group.items():
                for phrase in map(_normal, phrases):
                    table[phrase] = (*table.get(phrase, ()), target)
        return table

    @cached_property
    def inexact(self) -> frozenset[str]:
        """Phrases of ``nearest`` in normal form."""
        return frozenset(_normal(phrase) for phrases in self.nearest.values() for phrase in phrases)

    @cached_property
    def skipped(self) -> frozenset[str]:
        """Every word that says nothing."""
        return _FILLER | frozenset(_FILLER_ZH) | frozenset(map(_normal, self.filler))

    @cached_property
    def pieces(self) -> frozenset[str]:
        """Every piece that a Chinese text may be cut into."""
        known = {*self.targets, *self.skipped, *_NEGATORS, *_OR, *_AND}
        return frozenset(piece for piece in known if _is_chinese(piece))

    @cached_property
    def longest(self) -> tuple[int, int]:
        """Most words of an English phrase and most characters of a Chinese piece."""
        return max(phrase.count(" ") + 1 for phrase in self.targets), max(map(len, self.pieces), default=1)


class Reading(NamedTuple):
    """What a prompt says."""

    factors: dict[str, Any]
    """The value that each factor is set to."""
    unknown: list[str]
    """Words that the world cannot express, in order."""
    phrases: dict[str, str]
    """The words that set each factor."""


def read_prompt(text: object, words: Words) -> Reading:
    """Return what a prompt says; English and Chinese may be mixed.

    Raises:
        PromptError: If it is not a text or no word of it was understood.
    """
    if not isinstance(text, str):
        raise PromptError(f'a prompt must be a text such as "a rainy night, heavy traffic"; got {text!r}')
    reader = _Reader(words, _tokens(text, words))
    reading = reader.read()
    if not reading.factors:
        example = {factor: phrases[0] for (factor, _), phrases in words.phrases.items()}  # one of each factor
        known = ", ".join(example.values())
        raise PromptError(f"no word of the prompt {text!r} was understood; words that are: {known} (and their Chinese)")
    return reading


class _Reader:
    """Walks the tokens of one prompt."""

    def __init__(self, words: Words, tokens: list[str]) -> None:
        self._words, self._tokens = words, tokens
        self._said: dict[str, tuple[Any, str]] = {}  # factor: value, phrase
        self._denied: list[tuple[Target, str]] = []
        self._unknown: list[str] = []

    def read(self) -> Reading:
        at = 0
        while at < len(self._tokens):
            token = self._tokens[at]
            if sizes := self._sizes(at):
                self._say(*self._spoken(at, sizes[0]))
                at += sizes[0]
            elif token in _NEGATORS:
                at = self._deny(at)
            else:
                if token not in _PAUSES and token not in self._words.skipped and token not in _OR:
                    self._unknown.append(token)
                at += 1
        self._settle_denials()
        return Reading(
            {factor: value for factor, (value, _) in self._said.items()},
            list(dict.fromkeys(self._unknown)),
            {factor: phrase for factor, (_, phrase) in self._said.items()},
        )

    def _sizes(self, at: int) -> list[int]:
        """Return how many tokens each phrase spans that begins at a token, longest first."""
        tokens, known = self._tokens, self._words.targets
        most = min(self._words.longest[0], len(tokens) - at)
        return [size for size in range(most, 0, -1) if " ".join(tokens[at : at + size]) in known]

    def _spoken(self, at: int, size: int) -> tuple[str, str]:
        """Return a phrase and how to repeat it."""
        phrase = " ".join(self._tokens[at : at + size])
        return phrase, phrase.replace(" ", "") if _is_chinese(phrase) else phrase

    def _say(self, phrase: str, spoken: str) -> None:
        """Set what a phrase means; what it contradicts was said in vain and is handed back."""
        targets = self._words.targets[phrase]
        contradicted = {f for f, value in targets if f in self._said and self._said[f][0] != value}
        if contradicted & self._words.first_counts:
            self._unknown.append(spoken)
            return
        for factor, _ in targets:
            if factor in contradicted and factor in self._said:
                lost = self._said[factor][1]
                self._unknown.append(lost)
                self._said = {f: said for f, said in self._said.items() if said[1] != lost}
        for factor, value in targets:
            self._said[factor] = (value, spoken)
        if phrase in self._words.inexact:
            self._unknown.append(spoken)

    def _deny(self, at: int) -> int:
        """Take in a negation and what it governs ("no rain or fog"); return where it ends."""
        negator = self._tokens[at]
        end = self._deny_item(at + 1, negator)
        while self._goes_on(end):
            end = self._deny_item(end + 1, negator)
        return end

    def _goes_on(self, at: int) -> bool:
        """Return whether the list of what is denied goes on behind a token: "no rain, snow or fog"."""
        tokens = [*self._tokens[at:], _END, _END]
        if tokens[0] in _OR:
            return tokens[1] != _END
        if tokens[0] in _AND:
            return self._is_alike(at + 1)
        if tokens[0] not in _PAUSES:
            return False
        item = 1
        while tokens[item] in self._words.skipped and tokens[item] not in _OR | _AND and not self._sizes(at + item):
            item += 1
        if tokens[item] in _OR:  # a comma before it, or a word between that says nothing
            return True
        if tokens[item] in _PAUSES | _AND | _NEGATORS | {_END}:
            return False
        sizes, is_alike = self._sizes(at + item), self._is_alike(at + item)
        if is_alike and tokens[0] == _LISTED:
            return True
        end = item + (sizes or [1])[0]
        if tokens[end] in _PAUSES and tokens[end + 1] in _OR | _AND:  # the last comma
            end += 1
        if tokens[end] in _OR:
            return True
        if tokens[end] in _AND:
            return self._is_alike(at + end + 1) or (is_alike and not self._sizes(at + end + 1))
        return (is_alike or not sizes) and self._goes_on(at + end)

    def _is_alike(self, at: int) -> bool:
        """Return whether a phrase begins at a token that sets the factor that was denied last ("no rain and fog")."""
        if not self._denied or not (sizes := self._sizes(at)):
            return False
        factors = {factor for factor, _ in self._words.targets[self._spoken(at, sizes[0])[0]]}
        return self._denied[-1][0][0] in factors

    def _deny_item(self, at: int, negator: str) -> int:
        tokens, words, begun = self._tokens, self._words, at
        while at < len(tokens) and not self._sizes(at) and tokens[at] in words.skipped:
            at += 1
        if at >= len(tokens) or tokens[at] in _PAUSES:
            self._unknown.append(" ".join([negator, *tokens[begun:at]]))
            return at
        for size in self._sizes(at):
            phrase, spoken = self._spoken(at, size)
            targets = words.targets[phrase]
            if len(targets) == 1 and targets[0] in words.opposites and phrase not in words.inexact:
                self._denied.append((targets[0], _joined(negator, spoken)))
                return at + size
        size = (self._sizes(at) or [1])[0]
        self._unknown.append(_joined(negator, self._spoken(at, size)[1]))
        return at + size

    def _settle_denials(self) -> None:
        """Set the opposite of what was denied, unless another value was named; naming the denied one is in vain."""
        for (factor, value), spoken in self._denied:
            if factor not in self._said:
                other, opposite = self._words.opposites[factor, value]
                self._said[other] = (opposite, spoken)
            elif self._said[factor][0] == value:
                self._unknown.append(spoken)


def _tokens(text: str, words: Words) -> list[str]:
    """Return English words in lower case, known pieces of Chinese, runs of unknown Chinese, and pauses."""
    tokens: list[str] = []
    for token in _TOKEN.findall(unicodedata.normalize("NFKC", text).replace("\u2019", "'")):
        if _is_chinese(token):
            tokens += _cut(token.replace("的", ""), words)
        else:
            tokens.append(_PAUSE if token in _SIGNS else token.lower())
    return _straight(tokens, words)


def _straight(tokens: list[str], words: Words) -> list[str]:
    """Put a quality before its noun: "traffic is (not) heavy" and "heavy morning traffic" become "heavy traffic"."""
    known, at = words.targets, 0
    while at + 2 < len(tokens):
        first, middle, last = tokens[at : at + 3]
        if middle in _IS:
            end = at + 2
            while end + 1 < len(tokens) and (tokens[end] in _NEGATORS or tokens[end] in words.skipped):
                end += 1
            if f"{tokens[end]} {first}" in known:
                negators = [token for token in tokens[at + 2 : end] if token in _NEGATORS]
                tokens[at : end + 1] = [*negators, tokens[end], first]
                at += len(negators) + 1
        elif f"{first} {last}" in known and not (
            {first, middle} & {*_PAUSES, *_NEGATORS, *_AND, *_OR}
            or {f"{first} {middle}", f"{middle} {last}"} & known.keys()
        ):
            tokens[at : at + 3] = [middle, first, last]
            at += 2
        at += 1
    return tokens


def _cut(run: str, words: Words) -> list[str]:
    """Cut a run of Chinese so that the fewest characters stay unknown, then into the fewest pieces."""
    longest = words.longest[1]
    best: list[tuple[int, int]] = [(0, 0)] * (len(run) + 1)  # from the end: cost, length of the first piece
    for at in range(len(run) - 1, -1, -1):
        ways = [(best[at + 1][0] + _UNKNOWN, 1)]
        for size in range(1, min(longest, len(run) - at) + 1):
            if run[at : at + size] in words.pieces:
                ways.append((best[at + size][0] + _PIECE, size))
        best[at] = min(ways, key=lambda way: (way[0], -way[1]))
    pieces: list[str] = []
    at, was_unknown = 0, False
    while at < len(run):
        piece = run[at : at + best[at][1]]
        after = run[at + len(piece) :]
        following = after[: best[at + len(piece)][1]]
        is_inside = was_unknown and piece in words.skipped and following and following not in words.pieces
        is_unknown = piece not in words.pieces or is_inside  # a small word inside an unknown one
        if is_unknown and was_unknown:
            pieces[-1] += piece
        else:
            pieces.append(piece)
        at, was_unknown = at + len(piece), is_unknown
    return pieces


def _joined(negator: str, spoken: str) -> str:
    return negator + ("" if _is_chinese(negator) and _is_chinese(spoken) else " ") + spoken


def _normal(phrase: str) -> str:
    return phrase.lower().replace("-", " ").replace("的", "")


def _is_chinese(text: str) -> bool:
    return "\u4e00" <= text[0] <= "\u9fff"
