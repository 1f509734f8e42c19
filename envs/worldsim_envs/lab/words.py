"""What the bench says and understands: captions in English and Chinese, and the vocabulary of its prompts.

A caption is one scene phrase (who does what) and one gravity phrase in one of several orders: 20 scene phrases of a
scenario and 20 gravity phrases a band, in each language. One in five of either is held out of training.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from worldsim_envs.captions import Caption, choose, worded
from worldsim_envs.prompts import Reading, Words, read_prompt

__all__ = ["COLORS", "GRAVITY", "LAB_WORDS", "draw_lab_prompt", "gravity_band", "lab_caption", "lab_prompt"]

_COLORS_ZH = {
    "red": "红色", "yellow": "黄色", "lime": "黄绿色", "green": "绿色", "cyan": "青色", "blue": "蓝色",
    "purple": "紫色", "magenta": "洋红色",
}  # fmt: skip
_BALL = ("a {c} ball", "one {c} ball", "the {c} ball", "a single {c} sphere")
_BLOCK = ("a {c} block", "one {c} box", "the {c} cube", "a single {c} block")
_BALL_ZH = ("一个{c}的球", "{c}小球", "那个{c}的球", "一颗{c}圆球")
_BLOCK_ZH = ("一个{c}的方块", "{c}积木", "那个{c}的箱子", "一块{c}立方体")
_PAIR = ("two balls", "a {c} ball and another ball", "a pair of balls", "two spheres, one of them {c}")
_PAIR_ZH = ("两个球", "一个{c}的球和另一个球", "一对小球", "两颗圆球,其中一颗是{c}")

# scenario: subjects and what they do, English and Chinese
_SCENES: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "free_fall": (
        _BALL, ("falls and bounces", "drops to the floor and bounces", "falls freely", "drops from a height",
                "is let go and bounces"),
        _BALL_ZH, ("自由落下并弹起", "掉到地上弹跳", "自由落体", "从高处落下", "松手后落地弹起"),
    ),
    "two_drops": (
        _PAIR, ("fall side by side", "drop from two heights", "are let go together", "fall to the floor",
                "drop and bounce next to each other"),
        _PAIR_ZH, ("并排落下", "从两个高度落下", "同时松手下落", "落到地面", "相邻地落下并弹起"),
    ),
    "projectile": (
        _BALL, ("is thrown in an arc", "flies along a parabola", "is thrown across", "flies through the air",
                "is launched upwards at an angle"),
        _BALL_ZH, ("被抛出一道弧线", "沿抛物线飞行", "被扔向对面", "在空中飞行", "斜着向上抛出"),
    ),
    "rolling": (
        _BALL, ("rolls along the floor", "rolls over the ground", "slides and rolls on", "is rolling across",
                "moves along the floor"),
        _BALL_ZH, ("在地面上滚动", "滚过地面", "边滑边滚", "正滚向另一边", "沿地面移动"),
    ),
    "ramp": (
        ("a {c} object", "one {c} thing", "the {c} object", "something {c}"),
        ("goes down a ramp", "moves down a slope", "is on an inclined plane", "rests or slides on a ramp",
         "comes down an incline"),
        ("一个{c}的物体", "{c}物体", "那个{c}的东西", "某个{c}物体"),
        ("沿斜坡下来", "从坡道下行", "在斜面上", "停在或滑下坡道", "顺着斜面下落"),
    ),
    "collision_1d": (
        _PAIR, ("collide head-on", "hit each other in line", "meet on a line and collide", "bump straight together",
                "collide and part along one line"),
        _PAIR_ZH, ("正面相撞", "在一条直线上碰撞", "在直线上相遇相撞", "笔直地撞在一起", "相撞后沿直线分开"),
    ),
    "collision_2d": (
        _PAIR, ("collide off centre", "hit each other at an angle", "glance off each other",
                "collide like billiard balls", "meet and scatter on a table"),
        _PAIR_ZH, ("偏心相撞", "斜着相撞", "擦碰后分开", "像台球一样相撞", "在台面上相遇后散开"),
    ),
    "pendulum": (
        _BALL, ("swings as a pendulum", "swings to and fro on a rod", "hangs and swings", "swings from a hinge",
                "moves as a simple pendulum"),
        _BALL_ZH, ("像钟摆一样摆动", "在杆上来回摆动", "悬挂着摆动", "绕铰链摆动", "作单摆运动"),
    ),
    "double_pendulum": (
        _PAIR, ("swing as a double pendulum", "hang one below the other and swing", "swing on two rods",
                "move as a chaotic double pendulum", "swing from two hinges"),
        _PAIR_ZH, ("作双摆运动", "一上一下悬挂着摆动", "在两根杆上摆动", "作混沌的双摆运动", "绕两个铰链摆动"),
    ),
    "stack": (
        ("a stack of blocks", "a heap of cubes", "a pile of blocks", "a tower of cubes"),
        ("stands or topples", "leans to one side", "may fall over", "is piled up with an overhang",
         "stays up or falls"),
        ("一叠方块", "几个叠起的立方体", "一堆积木", "一座方块塔"),
        ("立着或倒下", "向一侧倾斜", "可能会倒塌", "错位地堆放着", "保持不动或倒塌"),
    ),
    "dominoes": (
        ("a row of dominoes", "a chain of dominoes", "a line of dominoes", "a file of standing tiles"),
        ("falls one after another", "is knocked over", "topples in a chain", "tips over in turn",
         "falls as a chain reaction"),
        ("一排多米诺骨牌", "几块多米诺骨牌", "一列多米诺骨牌", "几块立着的骨牌"),
        ("一块接一块倒下", "被推倒", "连锁倒下", "依次翻倒", "产生连锁反应"),
    ),
    "occlusion": (
        _BALL, ("rolls behind a screen", "disappears behind a screen", "passes behind an occluder",
                "is hidden for a while by a screen", "goes behind a board and comes out"),
        _BALL_ZH, ("滚到挡板后面", "消失在屏风后", "从遮挡物后经过", "被挡板暂时遮住", "进到板后再出来"),
    ),
    "containment": (
        ("a moving tray", "a tray", "an open container", "a shallow box"),
        ("carries what is in it", "moves to and fro with its load", "keeps a ball inside", "slides with a ball in it",
         "shakes its content"),
        ("移动的托盘", "一个托盘", "敞口的容器", "一个浅盒"),
        ("带着里面的东西", "载着东西来回移动", "把球留在里面", "装着球滑动", "晃动里面的东西"),
    ),
    "support_removal": (
        ("a {c} object", "one {c} thing", "the {c} object", "something {c}"),
        ("loses its support", "falls when its support is pulled away", "stands on a shelf that is removed",
         "drops as the plate slides away", "rests until its support is gone"),
        ("一个{c}的物体", "{c}物体", "那个{c}的东西", "某个{c}物体"),
        ("失去支撑", "在支撑被抽走后落下", "放在会被移走的搁板上", "随着板子滑开而掉落", "一直放着直到支撑消失"),
    ),
    "solid_wall": (
        _BALL, ("rolls at a wall", "runs into a solid wall", "meets a wall", "hits a wall or passes beneath",
                "rolls towards a barrier"),
        _BALL_ZH, ("滚向墙壁", "撞上坚固的墙", "遇到一堵墙", "撞墙或从下方穿过", "朝障碍滚去"),
    ),
    "push": (
        _BLOCK, ("is to be pushed to the white mark", "is pushed by a hand", "must be pushed onto the mark",
                 "waits for a push to the mark", "gets pushed over the floor"),
        _BLOCK_ZH, ("要被推到白色标记处", "被手推动", "必须推到标记上", "等着被推向标记", "在地面上被推着走"),
    ),
    "pick_place": (
        _BLOCK, ("is to be picked up and placed on the mark", "is picked up by a gripper",
                 "must be lifted onto the white mark", "waits to be gripped and carried", "gets picked and placed"),
        _BLOCK_ZH, ("要被抓起放到标记上", "被夹爪抓起", "必须提起放到白色标记处", "等着被夹起搬走", "被抓取并放置"),
    ),
    "cart": (
        ("a {c} cart", "one {c} car", "the {c} cart", "a small {c} vehicle"),
        ("drives to the white mark", "has to brake at the mark", "steers towards a mark", "brakes and corners",
         "drives over a flat floor"),
        ("一辆{c}小车", "{c}车子", "那辆{c}的小车", "一部{c}小型车辆"),
        ("驶向白色标记", "要在标记处刹车", "朝标记转向", "刹车并转弯", "在平地上行驶"),
    ),
    "camera": (
        ("the camera", "a moving camera", "the view", "the observer"),
        ("circles around some objects", "orbits the scene", "moves around still objects", "looks from side to side",
         "turns about the middle"),
        ("摄像机", "移动的镜头", "视角", "观察者"),
        ("绕着几个物体转动", "环绕场景", "围绕静止的物体移动", "从一侧看到另一侧", "绕中心旋转"),
    ),
    "clutter": (
        ("several objects", "many things", "balls and blocks", "all sorts of objects"),
        ("move and collide", "slide around in a box", "bump into one another", "roll and slide in all directions",
         "scatter over the floor"),
        ("好几个物体", "许多东西", "一些球和方块", "一堆杂物"),
        ("移动并相撞", "在围栏里滑动", "互相碰撞", "向各个方向滚动滑行", "散布在地面上"),
    ),
}  # fmt: skip
_BANDS = {
    "weak": (("weak", "low", "moon-like", "very light"), ("微弱的", "低", "月球般的", "很轻的")),
    "ordinary": (("ordinary", "normal", "earth-like", "usual"), ("普通的", "正常的", "地球般的", "通常的")),
    "strong": (("strong", "high", "jupiter-like", "very heavy"), ("强大的", "高", "木星般的", "很大的")),
}
_PULL = (
    ("gravity", "gravitation", "pull of gravity", "gravitational pull", "downward pull"),
    ("重力", "引力", "重力环境", "地心引力", "向下的拉力"),
)
_FRAMES = (
    ("{scene} under {pull}", "{scene}, {pull}", "{pull}: {scene}", "with {pull}, {scene}", "{scene} in {pull}"),
    ("{pull}下,{scene}", "{scene},{pull}", "{pull}:{scene}", "在{pull}中,{scene}", "{scene}({pull})"),
)

COLORS: dict[str, tuple[str, ...]] = {
    "red": ("red", "红色", "红"), "yellow": ("yellow", "黄色", "黄"), "lime": ("lime", "黄绿色", "黄绿"),
    "green": ("green", "绿色", "绿"), "cyan": ("cyan", "turquoise", "青色", "青"), "blue": ("blue", "蓝色", "蓝"),
    "purple": ("purple", "violet", "紫色", "紫"), "magenta": ("magenta", "洋红色", "洋红", "品红"),
}  # fmt: skip
"""What prompts call each hue, in the order of the hues."""
GRAVITY = {
    band: worded(*([("|".join(how), "|".join(pull))] for how, pull in zip(bands, _PULL, strict=True)))
    for band, bands in _BANDS.items()
}
"""The wordings of each band of gravity."""

_MORE: dict[tuple[str, Any], tuple[str, ...]] = {
    ("scenario", "free_fall"): ("free fall", "falls", "drop", "drops", "bounce", "bounces", "bouncing ball",
        "落下", "自由落体", "弹跳"),
    ("scenario", "two_drops"): ("two drops", "two falling balls", "side by side", "两球下落", "并排落下"),
    ("scenario", "projectile"): ("projectile", "throw", "thrown", "parabola", "launch", "抛物线", "抛出", "抛射"),
    ("scenario", "rolling"): ("rolling", "rolls", "roll", "滚动"),
    ("scenario", "ramp"): ("ramp", "slope", "incline", "inclined plane", "斜坡", "斜面", "坡道"),
    ("scenario", "collision_1d"): ("head-on", "head-on collision", "collide head-on", "正面相撞", "直线碰撞"),
    ("scenario", "collision_2d"): ("collision", "collide", "billiard", "billiards", "glancing", "相撞", "碰撞", "台球"),
    ("scenario", "pendulum"): ("pendulum", "swings", "swing", "单摆", "钟摆", "摆动"),
    ("scenario", "double_pendulum"): ("double pendulum", "chaotic pendulum", "双摆"),
    ("scenario", "stack"): ("stack", "tower", "topple", "topples", "pile", "叠", "倒塌", "积木塔"),
    ("scenario", "dominoes"): ("dominoes", "domino", "chain reaction", "多米诺骨牌", "多米诺", "骨牌", "连锁反应"),
    ("scenario", "occlusion"): ("occlusion", "behind a screen", "behind the screen", "hidden",
        "screen", "遮挡", "挡板", "屏风"),
    ("scenario", "containment"): ("containment", "container", "tray", "托盘", "容器", "盒子"),
    ("scenario", "support_removal"): ("support", "shelf", "support removal", "支撑", "搁板"),
    ("scenario", "solid_wall"): ("wall", "barrier", "solid wall", "墙壁", "墙"),
    ("scenario", "push"): ("push", "pushes", "pushed", "推"),
    ("scenario", "pick_place"): ("pick", "pick and place", "gripper", "grasp", "抓取", "夹爪", "抓起"),
    ("scenario", "cart"): ("cart", "brake", "braking", "cornering", "小车", "刹车", "转弯"),
    ("scenario", "camera"): ("camera", "orbit", "camera motion", "摄像机", "镜头", "环绕"),
    ("scenario", "clutter"): ("clutter", "many objects", "several objects", "杂物", "许多物体"),
    ("gravity", "1.62"): ("moon", "weak gravity", "low gravity", "月球", "低重力", "微重力", "月球重力"),
    ("gravity", "3.71"): ("mars", "火星", "火星重力"),
    ("gravity", "9.81"): ("earth", "normal gravity", "ordinary gravity", "地球", "正常重力", "地球重力"),
    ("gravity", "24.79"): ("jupiter", "strong gravity", "high gravity", "heavy gravity",
        "木星", "强重力", "高重力", "木星重力"),
    ("friction", "low"): ("slippery", "ice", "icy", "smooth", "光滑", "冰面", "打滑"),
    ("friction", "high"): ("rough", "sticky", "grippy", "粗糙"),
    ("restitution", "low"): ("dull", "dead", "no bounce", "不弹"),
    ("restitution", "high"): ("bouncy", "elastic", "rubber", "有弹性", "弹性", "橡胶"),
    ("speed", "low"): ("slow", "slowly", "缓慢", "慢速", "慢"),
    ("speed", "high"): ("fast", "quick", "quickly", "快速", "快"),
    ("mass", "low"): ("lightweight", "light ball", "light block", "light box", "light object", "light cube",
        "轻的球", "轻球", "很轻", "轻方块", "轻物体"),
    ("mass", "high"): ("heavy", "massive", "沉重", "重球", "很重", "重方块", "重物体"),
    **{("hue", k): names for k, names in enumerate(COLORS.values())},
    ("side", "left"): ("from the left", "on the left", "left side", "left", "从左边", "左边", "左侧", "左"),
    ("side", "right"): ("from the right", "on the right", "right side", "right", "从右边", "右边", "右侧", "右"),
    ("size", "low"): ("small", "little", "tiny", "小", "小个", "很小", "小型"),
    ("size", "high"): ("big", "large", "huge", "大", "大个", "很大", "大型", "大球", "大方块"),
    ("count", "low"): ("few", "a few", "少数", "几个"),
    ("count", "high"): ("many", "a lot of", "许多", "很多"),
}  # fmt: skip
"""What prompts may say beside the words of captions: by a scenario's name, a gravity in m/s2, the number of a hue, a
side, or the lowest or highest tenth of a factor's range."""

_STANDS_FOR = {"weak": "1.62", "ordinary": "9.81", "strong": "24.79"}
_FILLER = (
    "ball", "balls", "block", "blocks", "box", "boxes", "cube", "cubes", "sphere", "spheres", "object", "objects",
    "thing", "things", "something", "one", "two", "single", "pair", "another", "other", "them", "gravity", "floor",
    "ground", "which", "where", "experiment", "lab", "mark", "white", "colour", "color", "coloured", "colored",
    "row", "line", "chain", "file", "standing", "tiles", "moving", "open", "shallow", "vehicle", "car", "observer",
    "view", "sorts", "all", "heap", "has", "have", "球", "小球", "圆球", "方块", "积木", "箱子", "立方体", "物体",
    "东西", "一颗", "一块", "一辆", "一部", "一对", "两个", "两颗", "一座", "一叠", "一堆", "一排", "一列", "几块",
    "那个", "那辆", "某个", "另一个", "其中", "重力", "引力", "环境", "地面", "实验", "颜色", "白色", "标记",
    "一颗圆球", "车子", "车辆", "小型车辆", "移动", "立着", "敞口", "浅盒", "视角", "观察者", "球和方块",
    "一些球和方块", "好几个物体", "许多东西", "一堆杂物", "叠起", "几个叠起",
)  # fmt: skip


def _phrases() -> dict[tuple[str, Any], tuple[str, ...]]:
    """Return what may be said by (factor, value): what captions say that things do, and more."""
    said = {target: list(phrases) for target, phrases in _MORE.items()}
    for scenario, (who_en, does_en, who_zh, does_zh) in _SCENES.items():
        said["scenario", scenario] += [*does_en, *does_zh]
        if scenario in ("stack", "dominoes", "containment", "clutter"):  # no other scenario has these
            said["scenario", scenario] += [*who_en, *who_zh]
    for band, gravity in _STANDS_FOR.items():
        for k, glue in enumerate((" ", "")):
            said["gravity", gravity] += [f"{how}{glue}{pull}" for how in _BANDS[band][k] for pull in _PULL[k]]
    return {target: tuple(phrases) for target, phrases in said.items()}


LAB_WORDS = Words(
    phrases=_phrases(),
    opposites={
        (factor, value): (factor, other)
        for factor in ("friction", "restitution", "speed", "mass", "size", "count")
        for value, other in (("low", "high"), ("high", "low"))
    },
    first_counts=frozenset({"hue"}),
    filler=_FILLER,
)
"""What a prompt of the bench may say."""


def lab_prompt(text: object) -> Reading:
    """Return the factors that a prompt sets, the words that the bench cannot express, and the phrase of each factor.

    Of two colours the first one counts: it is that of the object that the scene is about.

    Raises:
        PromptError: If it is not a text or no word of it was understood.
    """
    return read_prompt(text, LAB_WORDS)


def gravity_band(gravity: float) -> str:
    """Return ``weak``, ``ordinary`` or ``strong`` for a gravity in m/s2."""
    return "weak" if gravity < 6.0 else "ordinary" if gravity < 13.5 else "strong"


def draw_lab_prompt(gravity: float, rng: np.random.Generator) -> Caption:
    """Return a prompt, ``{"en", "zh"}`` in training wordings, for another band than that of a gravity in m/s2."""
    band = str(rng.choice([band for band in GRAVITY if band != gravity_band(gravity)]))
    return {language: choose(wordings, rng, is_held_out=False) for language, wordings in GRAVITY[band].items()}


def lab_caption(
    variation: Mapping[str, Any], color: str, band: str, is_held_out: bool, key: tuple[int, ...]
) -> dict[str, str]:
    """Return ``{"en", "zh"}`` for a scenario in a band of gravity; ``key`` decides the wording.

    Args:
        variation: Factors of the episode.
        color: Name of the first object's colour.
        band: From `gravity_band`.
        is_held_out: Whether to use the wordings that training never sees.
        key: Seed of the choice.
    """
    rng = np.random.default_rng(key)
    texts = {}
    for language, name in (("en", color), ("zh", _COLORS_ZH[color])):
        k = 0 if language == "en" else 1
        scenes = _SCENES[variation["scenario"]]
        scene = " ".join(_chosen(rng, scenes[2 * k], scenes[2 * k + 1], is_held_out))
        pull = " ".join(_chosen(rng, _BANDS[band][k], _PULL[k], is_held_out))
        frame = _FRAMES[k][int(rng.integers(len(_FRAMES[k])))]
        text = frame.format(scene=scene.format(c=name), pull=pull)
        texts[language] = text if language == "en" else text.replace(" ", "")
    return texts


def _chosen(
    rng: np.random.Generator, first: tuple[str, ...], second: tuple[str, ...], is_held_out: bool
) -> tuple[str, str]:
    """Draw one of each; a pair is held out where its indices add up to a multiple of five."""
    pairs = [(a, b) for i, a in enumerate(first) for j, b in enumerate(second) if ((i + j) % 5 == 0) == is_held_out]
    return pairs[int(rng.integers(len(pairs)))]
