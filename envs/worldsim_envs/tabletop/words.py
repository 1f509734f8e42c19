"""What the table says and understands: captions, events and instructions in English and Chinese, and its prompts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from worldsim_envs.captions import Caption, Wordings, choose, told, worded
from worldsim_envs.lab.event_words import EVENTS as BENCH_EVENTS
from worldsim_envs.lab.event_words import Noun, noun, slots_of
from worldsim_envs.lab.words import COLORS, GRAVITY, gravity_band
from worldsim_envs.prompts import Reading, Words, read_prompt

__all__ = [
    "EVENTS",
    "INSTRUCTIONS",
    "SCENE",
    "TABLETOP_WORDS",
    "draw_tabletop_prompt",
    "tabletop_caption",
    "tabletop_events",
    "tabletop_instruction",
    "tabletop_prompt",
]

_ARM, _ARM_ZH = "a robot arm|the robot|a robotic arm|the arm|a manipulator", "机械臂|机器人|机器臂|手臂|机械手"

_PULL_ZH = "重力|引力|吸力|拉力"
_GLOW, _GLOW_ZH = "lighting|illumination|lamplight|glow", "光线|灯光|照明|光照"
_REACH = (
    "reaches for the white ball", "reaches towards a ball on a post", "moves its gripper to the white ball",
    "touches a ball on a pole", "stretches out to the ball",
)  # fmt: skip
_REACH_ZH = ("伸向白球", "够向杆上的球", "把夹爪移到白球处", "去碰杆上的球", "向球伸展")

SCENE: dict[tuple[str, str], dict[str, Wordings]] = {
    ("task", "reach"): worded([(_ARM, "|".join(_REACH))], [(_ARM_ZH, "|".join(_REACH_ZH))]),
    ("task", "push"): worded(
        [(_ARM, "pushes {a} to the mark|shoves {a} onto the white mark|pushes {a} over the table|"
          "slides {a} to the white square|pushes {a} onto the square")],
        [(_ARM_ZH, "把{a}推到标记|将{a}推向白色标记|在桌上推{a}|推着{a}滑到标记|把{a}推上标记")],
    ),
    ("task", "stack"): worded(
        [(_ARM, "stacks {a} on {b}|puts {a} on top of {b}|piles {a} onto {b}|builds a tower of {a} and {b}|"
          "stacks up {a} and {b}")],
        [(_ARM_ZH, "把{a}叠在{b}上|将{a}放到{b}顶上|把{a}堆到{b}上|用{a}和{b}搭塔|将{a}摞上{b}")],
    ),
    ("light", "dim"): worded(
        [("dim|faint|dusky|gloomy|murky", _GLOW)],
        [("昏暗|暗淡|微暗|幽暗|较暗", _GLOW_ZH)],
    ),
    ("light", "ordinary"): worded(
        [("plain|medium|moderate|middling|even", _GLOW)],
        [("柔和|平和|适中|中等|均匀", _GLOW_ZH)],
    ),
    ("light", "bright"): worded(
        [("bright|brilliant|glaring|dazzling|intense", _GLOW)],
        [("明亮|强烈|耀眼|很亮|亮堂", _GLOW_ZH)],
    ),
    ("gravity", "weak"): {
        "en": GRAVITY["weak"]["en"], "zh": Wordings((("微弱|低|月球般|很轻|轻微", _PULL_ZH),), glue=""),
    },
    ("gravity", "ordinary"): {
        "en": GRAVITY["ordinary"]["en"], "zh": Wordings((("正常|地球般|通常|惯常|标准", _PULL_ZH),), glue=""),
    },
    ("gravity", "strong"): {
        "en": GRAVITY["strong"]["en"], "zh": Wordings((("强大|高|木星般|超强|巨大", _PULL_ZH),), glue=""),
    },
}  # fmt: skip
"""The wordings of everything that a caption names, by slot and value."""

_FRAMES = {
    "en": ("{task}, {light}, {gravity}", "{task} in {light} and {gravity}", "{light}, {gravity}: {task}",
           "with {gravity}, {task} in {light}", "{gravity}; {task}; {light}"),
    "zh": ("{task},{light},{gravity}", "{light},{gravity},{task}", "{gravity},{task},{light}",
           "{light},{task},{gravity}", "{gravity},{light},{task}"),
}  # fmt: skip

INSTRUCTIONS: dict[str, dict[str, Wordings]] = {
    "reach": worded(
        [("reach|touch|reach for|go and touch|move to",
          "the white ball|the ball on the post|the ball|the white target ball")],
        [("够到|碰到|伸向|移到|触碰", "白球|杆上的球|那个球|白色目标球")],
    ),
    "push": worded(
        [("push|shove|slide|move|press", "{a} to the mark|{a} onto the white mark|{a} to the white square|"
          "{a} over to the white mark")],
        [("把{a}推|将{a}推|请把{a}推|用夹爪把{a}推|慢慢把{a}推", "到标记处|到白色标记|到标记上|到白色方块标记")],
    ),
    "stack": worded(
        [("stack|put|place|pile|set", "{a} on {b}|{a} on top of {b}|{a} onto {b}|{a} above {b}")],
        [("把{a}叠|将{a}放|请把{a}摞|拿起{a}堆|把{a}摆", "到{b}上|在{b}上面|在{b}顶上|到{b}的上方")],
    ),
}  # fmt: skip
"""What is to be done, by task."""

_A = "{a}|now {a}|then {a}|just now {a}|at once {a}"
_A_ZH = "{a}|现在{a}|随后{a}|此刻{a}|一下子{a}"
_GRIPPER, _GRIPPER_ZH = "the gripper|the robot|the arm|the hand|the manipulator", "夹爪|机器人|机械臂|机械手|手爪"
EVENTS: dict[str, dict[str, Wordings]] = {
    "contact": BENCH_EVENTS["contact"],
    "topple": BENCH_EVENTS["fall"],
    "grasp": worded(
        [(_GRIPPER, "grasps {a}|grips {a}|takes hold of {a}|picks up {a}|seizes {a}")],
        [(_GRIPPER_ZH, "抓住{a}|夹住{a}|握住{a}|拿起{a}|夹起{a}")],
    ),
    "release": worded(
        [(_GRIPPER, "releases {a}|sets down {a}|puts {a} down|lets go of {a}|places {a}")],
        [(_GRIPPER_ZH, "松开{a}|放下{a}|放开{a}|把{a}放好|摆好{a}")],
    ),
    "drop": worded(
        [(_GRIPPER, "drops {a}|loses {a}|lets {a} slip|loses its grip on {a}|lets {a} fall")],
        [(_GRIPPER_ZH, "掉落了{a}|丢了{a}|让{a}滑落|没夹住{a}|失手掉了{a}")],
    ),
    "fall": worded(
        [(_A, "falls off the table|drops from the table|goes over the edge|leaves the table|falls to the ground")],
        [(_A_ZH, "从桌上掉下|掉下桌子|越过桌边|离开桌面|跌落到地上")],
    ),
    "success": worded(
        [("the task|the job|the goal|the work|what was asked",
          "is done|is finished|is achieved|is completed|is accomplished")],
        [("任务|工作|目标|要求的事|这件事", "完成了|做完了|达成了|成功了|已实现")],
    ),
    **{f"change light={value}": worded(
        [("the light|the lamp|the lighting|the illumination|the lamp light", en)],
        [("光线|灯光|照明|光照|灯", zh)],
    ) for value, en, zh in (
        ("dim", "grows dim|fades|gets darker|goes down|becomes gloomy", "变暗|暗下来|减弱|转暗|变得昏暗"),
        ("ordinary", "becomes ordinary|gets normal|is as usual|turns plain|settles at medium",
         "变得普通|恢复正常|如平常|变得一般|变得适中"),
        ("bright", "grows bright|brightens|gets brilliant|goes up|becomes intense", "变亮|亮起来|增强|转亮|变得明亮"),
    )},
    **{name: wordings for name, wordings in BENCH_EVENTS.items() if name.startswith("change")},
}  # fmt: skip
"""The wordings of every event by name; of a change by factor and value."""

_MORE: dict[tuple[str, Any], tuple[str, ...]] = {
    ("task", "reach"): ("reach", "reaches", "reaching", "touch", "够", "伸向", "触碰", *_REACH, *_REACH_ZH),
    ("task", "push"): (
        "push",
        "pushes",
        "pushing",
        "pushed",
        "shove",
        "shoves",
        "slide",
        "slides",
        "推",
        "推着",
        "推动",
        "推上",
        "推向",
    ),
    ("task", "stack"): (
        "stack",
        "stacks",
        "stacking",
        "pile",
        "piles",
        "tower",
        "on top of",
        "叠",
        "叠在",
        "堆",
        "堆到",
        "堆叠",
        "摞",
        "摞上",
        "搭塔",
        "顶上",
    ),
    **{("color", name): names for name, names in COLORS.items()},
    ("mass", "low"): ("lightweight", "light block", "light cube", "轻", "很轻", "轻方块"),
    ("mass", "high"): ("heavy", "massive", "重", "沉重", "很重", "重方块"),
    ("friction", "low"): ("slippery", "icy", "smooth", "光滑", "打滑"),
    ("friction", "high"): ("rough", "sticky", "grippy", "粗糙"),
    ("size", "low"): ("small", "little", "tiny", "小", "很小", "小方块"),
    ("size", "high"): ("big", "large", "huge", "大", "很大", "大方块"),
    ("light", "dim"): ("dim", "dark", "gloomy", "dim light", "low light", "昏暗", "暗"),
    ("light", "ordinary"): ("ordinary light", "normal light", "普通光线", "正常光线"),
    ("light", "bright"): ("bright", "brilliant", "bright light", "strong light", "明亮", "亮"),
    ("gravity", "1.62"): ("moon", "weak gravity", "low gravity", "月球", "低重力", "微重力", "月球重力"),
    ("gravity", "3.71"): ("mars", "火星", "火星重力"),
    ("gravity", "9.81"): ("earth", "normal gravity", "ordinary gravity", "地球", "正常重力", "地球重力"),
    ("gravity", "24.79"): ("jupiter", "strong gravity", "high gravity", "heavy gravity", "木星", "强重力", "高重力"),
    ("extra", "0"): ("nothing else", "alone", "empty table", "单独", "空桌", "没有别的"),
    ("extra", "2"): ("clutter", "cluttered", "many blocks", "杂乱", "许多方块", "很多方块"),
    ("side", "left"): ("left", "on the left", "from the left", "左边", "左侧", "从左边"),
    ("side", "right"): ("right", "on the right", "from the right", "右边", "右侧", "从右边"),
}
_STANDS_FOR = {"weak": "1.62", "ordinary": "9.81", "strong": "24.79"}
_FILLER = (
    "robot", "arm", "robotic", "manipulator", "gripper", "hand", "table", "tabletop", "block", "blocks", "cube",
    "cubes", "box", "boxes", "ball", "mark", "white", "square", "target", "goal", "onto", "top", "gravity", "light",
    "put", "place", "move", "another", "one", "two", "colour", "color", "post", "机械臂", "机器人", "手臂",
    "机械手", "夹爪", "桌子", "桌上", "桌面", "方块", "积木", "球", "标记", "白色", "目标", "重力", "光线", "灯光",
    "把", "将", "到", "放", "另", "一块", "块", "两块", "颜色", "lamp", "lighting", "up", "puts", "builds", "用",
    "滑", "机器臂",
)  # fmt: skip


def _phrases() -> dict[tuple[str, Any], tuple[str, ...]]:
    said = {target: list(phrases) for target, phrases in _MORE.items()}
    for (slot, value), languages in SCENE.items():
        if slot != "task":  # a task's wordings name colours; its verbs are in _MORE
            target = (slot, _STANDS_FOR[value] if slot == "gravity" else value)
            said.setdefault(target, []).extend(text for part in languages.values() for text in part.all)
    return {target: tuple(phrases) for target, phrases in said.items()}


TABLETOP_WORDS = Words(
    phrases=_phrases(),
    opposites={
        **{
            (factor, value): (factor, other)
            for factor in ("mass", "friction", "size")
            for value, other in (("low", "high"), ("high", "low"))
        },
        ("light", "dim"): ("light", "ordinary"),
        ("light", "bright"): ("light", "ordinary"),
        ("extra", "2"): ("extra", "0"),
    },
    first_counts=frozenset({"color"}),
    filler=_FILLER,
)
"""What a prompt of the table may say."""


def tabletop_prompt(text: object) -> Reading:
    """Return the factors that a prompt sets, the words that the table cannot express, and the phrase of each factor.

    Of two colours the first one counts, "the red block onto the blue one": it is that of the block that is moved, and
    the other one is handed back.

    Raises:
        PromptError: If it is not a text or no word of it was understood.
    """
    return read_prompt(text, TABLETOP_WORDS)


def tabletop_caption(facts: Mapping[str, Any], key: tuple[int, ...], is_held_out: bool) -> Caption:
    """Return ``{"en", "zh"}`` of a scene: the task with its colours, the light and the gravity.

    Args:
        facts: ``task``, ``colors`` of the blocks, ``light`` and ``gravity`` in m/s2.
        key: Seed of the choice of words.
        is_held_out: Whether to use the wordings that training never sees.
    """
    rng = np.random.default_rng(key)
    values = {"task": facts["task"], "light": facts["light"], "gravity": gravity_band(facts["gravity"])}
    slots = slots_of(*_blocks(facts["colors"]))
    said = {}
    for language in ("en", "zh"):
        parts = {slot: choose(SCENE[item][language], rng, is_held_out=is_held_out) for slot, item in _items(values)}
        frame = _FRAMES[language][int(rng.integers(len(_FRAMES[language])))]
        said[language] = frame.format(**{slot: text.format(**slots[language]) for slot, text in parts.items()})
    return said


def draw_tabletop_prompt(facts: Mapping[str, Any], rng: np.random.Generator) -> Caption:
    """Return a prompt, ``{"en", "zh"}`` in training wordings, for another light or band of gravity.

    Args:
        facts: Of the present moment, as in `tabletop_caption`.
        rng: Draws which of the two, its value and the words.
    """
    now = {"light": facts["light"], "gravity": gravity_band(facts["gravity"])}
    slot = str(rng.choice(list(now)))
    other = [item for item in SCENE if item[0] == slot and item[1] != now[slot]]
    wordings = SCENE[other[int(rng.integers(len(other)))]]
    return {language: choose(said, rng, is_held_out=False) for language, said in wordings.items()}


def tabletop_instruction(task: str, facts: Mapping[str, Any], key: tuple[int, ...], is_held_out: bool) -> Caption:
    """Return ``{"en", "zh"}`` of what is to be done, for example "push the red block to the mark"."""
    wording = "held_out" if is_held_out else "train"
    return told(INSTRUCTIONS[task], key, wording, slots_of(*_blocks(facts["colors"])))


def tabletop_events(
    events: Sequence[Mapping[str, Any]], key: tuple[int, ...] = (0,), is_held_out: bool = False
) -> list[dict[str, Any]]:
    """Return events with what they say in words.

    Args:
        events: Each with ``name``, its facts, and the ``colors`` of the blocks by name.
        key: Seed of the choice of words.
        is_held_out: Whether to use the wordings that training never sees.
    """
    wording = "held_out" if is_held_out else "train"
    return [{**event, **_event_caption(event, (*key, i), wording)} for i, event in enumerate(events)]


def _event_caption(event: Mapping[str, Any], key: tuple[int, ...], wording: str) -> Caption:
    name = event["name"]
    if name == "change":
        value = event["to"] if event["factor"] == "light" else gravity_band(event["to"])
        name = f"{name} {event['factor']}={value}"
    bodies = [event[role] for role in ("first", "second", "body") if role in event]
    colors: Mapping[str, str] = event.get("colors", {})
    nouns = (("the arm", "机械臂") if body == "hand" else noun(body, colors.get(body, ""), "box") for body in bodies)
    return told(EVENTS[name], key, wording, slots_of(*nouns))


def _blocks(colors: Sequence[str]) -> list[Noun]:
    """Return what captions call blocks: shortly, since a longer text would not fit into the text encoder."""
    in_chinese = (next(name for name in COLORS[color] if not name.isascii()) for color in colors)
    return [(f"the {color} block", f"{zh}块") for color, zh in zip(colors, in_chinese, strict=True)]


def _items(values: Mapping[str, str]) -> Iterable[tuple[str, tuple[str, str]]]:
    return ((slot, (slot, value)) for slot, value in values.items())
