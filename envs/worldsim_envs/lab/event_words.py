"""What happens on the bench and what its hand or cart is to do, in English and Chinese, in many wordings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from worldsim_envs.captions import Caption, Wordings, told, worded

__all__ = ["EVENTS", "INSTRUCTIONS", "Noun", "event_caption", "instruction_caption", "noun", "slots_of"]

Noun = tuple[str, str]
"""What to call a thing in English and Chinese."""

_A = "{a}|now {a}|then {a}|just now {a}|at once {a}"
_A_ZH = "{a}|现在{a}|随后{a}|此刻{a}|一下子{a}"
_PULL = "gravity|the pull of gravity|gravitation|the downward pull|the gravitational pull"
_PULL_ZH = "重力|引力|地心引力|向下的拉力|重力环境"
EVENTS: dict[str, dict[str, Wordings]] = {
    "contact": worded(
        [(_A, "hits {b}|touches {b}|meets {b}|bumps into {b}|strikes {b}")],
        [(_A_ZH, "碰到{b}|接触{b}|遇上{b}|撞到{b}|撞击{b}")],
    ),
    "fall": worded(
        [(_A, "falls over|tips over|topples|keels over|is knocked down")],
        [(_A_ZH, "倒下|翻倒|倾覆|倒了|被撞倒")],
    ),
    "change gravity=weak": worded(
        [(_PULL, "becomes weak|gets low|turns moon-like|falls off|drops very low")],
        [(_PULL_ZH, "变得微弱|变低|变得像月球|减弱|变得很轻")],
    ),
    "change gravity=ordinary": worded(
        [(_PULL, "becomes ordinary|gets normal|turns earth-like|is usual again|settles at the usual strength")],
        [(_PULL_ZH, "变得普通|变为正常|变得像地球|恢复通常|变为平常")],
    ),
    "change gravity=strong": worded(
        [(_PULL, "becomes strong|gets high|turns jupiter-like|rises|grows very heavy")],
        [(_PULL_ZH, "变得强大|变高|变得像木星|增强|变得很大")],
    ),
}  # fmt: skip
"""The wordings of every event by name; of a change by factor and value."""

INSTRUCTIONS: dict[str, dict[str, Wordings]] = {
    "push": worded(
        [("push|shove|slide|move|press",
          "{a} to the mark|{a} onto the white mark|{a} over to the mark|{a} to the white square")],
        [("把{a}推|将{a}推|请把{a}推|用手把{a}推|慢慢把{a}推", "到标记处|到白色标记|到标记上|到白色方块标记")],
    ),
    "pick_place": worded(
        [("pick up|lift|grip|grasp|take",
          "{a} and put it on the mark|{a} and place it on the white mark|{a} and set it down on the mark|"
          "{a} and carry it to the mark")],
        [("抓起|提起|夹住|握住|拿起", "{a}放到标记上|{a}摆到白色标记处|{a}搬到标记处|{a}送到标记上")],
    ),
    "cart": worded(
        [("drive|steer|bring|take|move",
          "{a} to the mark and stop|{a} onto the white mark and brake|{a} to the mark and halt|"
          "{a} to the white square and stop")],
        [("把{a}开|将{a}驶|让{a}开|请把{a}开|驾着{a}开",
          "到标记处停下|到白色标记并刹车|到标记上停住|到白色方块处停车")],
    ),
}  # fmt: skip
"""What is to be done in the scenarios that have a task."""

_COLORS_ZH = {
    "red": "红色", "yellow": "黄色", "lime": "黄绿色", "green": "绿色", "cyan": "青色", "blue": "蓝色",
    "purple": "紫色", "magenta": "洋红色",
}  # fmt: skip
_SHAPES: dict[str, Noun] = {"ball": ("ball", "球"), "box": ("block", "方块"), "cart": ("cart", "小车")}
_FIXTURES: dict[str, Noun] = {
    "floor": ("the floor", "地面"), "border": ("the border", "围栏"), "wall": ("the wall", "墙"),
    "screen": ("the screen", "挡板"), "ramp": ("the ramp", "斜坡"), "tray": ("the tray", "托盘"),
    "support": ("the support", "支撑板"), "hand": ("the hand", "手"), "table": ("the table", "桌面"),
}  # fmt: skip


def noun(name: str, color: str = "", shape: str = "") -> Noun:
    """Return what to call a body: a fixture by its name, another one by colour and shape."""
    if name in _FIXTURES:
        return _FIXTURES[name]
    what = _SHAPES.get(shape, ("object", "物体"))
    return f"the {color} {what[0]}", f"{_COLORS_ZH.get(color, '')}{what[1]}"


def event_caption(
    event: Mapping[str, Any], nouns: Mapping[str, Noun], key: tuple[int, ...], wording: str = "train"
) -> Caption:
    """Return ``{"en", "zh"}`` of an event.

    Args:
        event: ``name`` and its facts: a contact's ``first`` and ``second``, a fall's ``body``, a change's ``factor``
            and ``band``.
        nouns: What to call each body.
        key: Seed of the choice of words.
        wording: ``train``, or ``held_out`` for wordings that no training caption holds.
    """
    name = event["name"]
    if name == "change":
        return told(EVENTS[f"change {event['factor']}={event['band']}"], key, wording)
    bodies = (event["first"], event["second"]) if name == "contact" else (event["body"],)
    return told(EVENTS[name], key, wording, slots_of(*(nouns[body] for body in bodies)))


def instruction_caption(task: str, body: Noun, key: tuple[int, ...], wording: str = "train") -> Caption:
    """Return ``{"en", "zh"}`` of what is to be done with a body: ``push``, ``pick_place`` or ``cart``."""
    return told(INSTRUCTIONS[task], key, wording, slots_of(body))


def slots_of(*nouns: Noun) -> dict[str, dict[str, str]]:
    """Return nouns as the slots ``a``, ``b`` of both languages."""
    return {
        language: {slot: names[k] for slot, names in zip("abc", nouns, strict=False)}
        for k, language in enumerate(("en", "zh"))
    }
