"""What a prompt denies ("no rain", "没有雨"): an encoder that averages words would hear the rain.

What is denied is not heard at all, and is handed back with the words that a model does not know: it was never told
what the opposite of rain is. Captions may deny, too ("路边没人", nobody at the roadside), and what they say is known
as any other word is.
"""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ["split_denials"]

_TOKEN = re.compile(r"[a-z]+(?:['’][a-z]+)?|[㐀-鿿]+|[,，、;；.。:：!?！？\n]", re.IGNORECASE)
_NEGATORS = frozenset(
    ["no", "not", "without", "never", "neither", "isn't", "aren't", "wasn't", "weren't", "don't", "doesn't", "didn't",
     "won't", "wouldn't", "can't", "cannot", "shouldn't"]
)  # fmt: skip
# 非常 (very), 特别 (specially), 不断 (ever), 无数 (countless) and such begin or end alike and deny nothing.
_NEGATORS_ZH = re.compile("没有|(?<![淹沉出埋])没|毫无|无(?![论数限])|不要|不是|不(?![断停错同久少仅但只过管论])|并非")
_OR, _LISTED = frozenset(["or", "nor"]), frozenset([",", "，", "、"])
_EMPTY = frozenset(["a", "an", "the", "any", "some", "more", "very", "too", "much", "many", "is", "are", "be", "it"])
_ONLY = frozenset(["only", "just"])  # "not only rain"
_LINKS = frozenset(
    ["and", "but", "with", "in", "at", "on", "by", "under", "over", "during", "while", "when", "then", "through",
     "along", "to", "from"]
)  # fmt: skip
_ENDS_ZH = re.compile("[的但而]")


def split_denials(text: str, is_known: Callable[[str], bool]) -> tuple[str, list[str]]:
    """Return a text without what it denies, and what that was.

    A denial governs the words behind it to a pause, a preposition, "and" or "but"; a list to its last item ("no rain,
    snow or fog"). In Chinese it ends with its run of characters, or with 的, 但 or 而.

    Args:
        text: In English or Chinese.
        is_known: Whether training showed a word, or a pair of Chinese characters; what it showed is no denial.
    """
    tokens = [(match.group().lower().replace("’", "'"), match.start(), match.end()) for match in _TOKEN.finditer(text)]
    spans: list[tuple[int, int]] = []
    at = 0
    while at < len(tokens):
        token, start, end = tokens[at]
        following = tokens[at + 1][0] if at + 1 < len(tokens) else ""
        if token in _NEGATORS and following not in _ONLY and not is_known(token):
            at, end = _english(tokens, at + 1, end)
            spans.append((start, end))
            continue
        offset = _denial(token, is_known) if not token[0].isascii() else None
        if offset is not None:
            at, end = _chinese(tokens, at, offset)
            spans.append((start + offset, end))
            continue
        at += 1
    kept, begun = [], 0
    for start, end in spans:
        kept.append(text[begun:start])
        begun = end
    return " ".join([*kept, text[begun:]]) if spans else text, [text[start:end].strip() for start, end in spans]


def _english(tokens: list[tuple[str, int, int]], at: int, end: int) -> tuple[int, int]:
    """Return the token and the place in the text at which a denial ends whose first governed word is a token."""
    has_said = False
    while at < len(tokens):
        word = tokens[at][0]
        if word in _OR or (word in _LISTED and has_said and _is_list(tokens, at + 1)):
            has_said = False
        elif not word[0].isalpha() or not word.isascii() or word in _NEGATORS or (has_said and word in _LINKS):
            break
        else:
            has_said = has_said or (word not in _EMPTY and word not in _LINKS)
        end = tokens[at][2]
        at += 1
    return at, end


def _is_list(tokens: list[tuple[str, int, int]], at: int) -> bool:
    """Return whether an "or" comes before what ends a list: "snow or fog", "snow, hail or fog"."""
    for word, _, _ in tokens[at:]:
        if word in _OR:
            return True
        if word in _NEGATORS or word in _LINKS or not ((word.isascii() and word[0].isalpha()) or word in _LISTED):
            return False
    return False


def _denial(run: str, is_known: Callable[[str], bool]) -> int | None:
    """Return where a run of Chinese characters begins to deny what training never showed denied, or None."""
    for found in _NEGATORS_ZH.finditer(run):
        after = run[found.end() : found.end() + 1]
        if after and not is_known(found.group()[-1] + after):
            return found.start()
    return None


def _chinese(tokens: list[tuple[str, int, int]], at: int, offset: int) -> tuple[int, int]:
    """Return the token and the place in the text at which a denial ends that begins inside a run of characters."""
    run, start, end = tokens[at]
    while True:
        if ended := _ENDS_ZH.search(run, offset):
            return at + 1, start + ended.start()
        following = [token for token, _, _ in tokens[at + 1 : at + 3]]
        if len(following) < 2 or following[0] != "、" or not "㐀" <= following[1][0] <= "鿿":
            return at + 1, end
        at, offset = at + 2, 0
        run, start, end = tokens[at]
