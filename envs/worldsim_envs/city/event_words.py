"""What happens in the city and what the driver is to do, in English and Chinese, in many wordings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from worldsim_envs.captions import Caption, Wordings, told, worded

__all__ = ["EVENTS", "INSTRUCTIONS", "event_caption", "instruction_caption"]

_CAR = "the {c} car {w}|a {c} car {w}|the {c} vehicle {w}|one {c} car {w}|the {c} auto {w}"
_CAR_ZH = "{w}的{c}汽车|{w}一辆{c}车|{w}的{c}车辆|{w}那辆{c}车|{w}的{c}轿车"
_PERSON = "a pedestrian in {c} {w}|a walker in {c} {w}|a person in {c} {w}|someone in {c} {w}|a passer-by in {c} {w}"
_PERSON_ZH = "{w}穿{c}衣服的行人|{w}一个穿{c}的人|{w}穿{c}外套的路人|{w}一名{c}衣行人|{w}穿{c}的步行者"
_EGO = "the ego car|our car|the car we drive|the driver|our vehicle"
_EGO_ZH = "本车|我们的车|自车|驾驶的车|我车"
_LIGHT = "the traffic light|the signal|the light ahead|the stop light|the lamp at the junction"
_LIGHT_ZH = "交通灯|信号灯|前方的灯|红绿灯|路口的灯"

EVENTS: dict[str, dict[str, Wordings]] = {
    "collision": worded(
        [(_EGO, "hits {o}|crashes into {o}|collides with {o}|runs into {o}|strikes {o}")],
        [(_EGO_ZH, "撞上{o}|碰到{o}|与{o}相撞|撞到{o}|和{o}碰撞")],
    ),
    "off_road": worded(
        [(_EGO, "leaves the road|goes off the road|runs off the roadway|drives off the road|comes off the street")],
        [(_EGO_ZH, "驶离道路|冲出路面|开出马路|冲出车道|偏出道路")],
    ),
    "red_light": worded(
        [(_EGO, "runs a red light|passes the red light|drives through on red|ignores the red signal|jumps the light")],
        [(_EGO_ZH, "闯红灯|越过红灯|在红灯时通过|无视红灯|抢过红灯")],
    ),
    "lane_change oncoming": worded(
        [(_EGO, "moves into the oncoming lane|crosses the centre line|changes to the opposite lane|"
          "swerves into oncoming traffic|drives on the wrong side")],
        [(_EGO_ZH, "进入对向车道|越过中线|换到对面车道|驶入逆行道|开到错误的一侧")],
    ),
    "lane_change own": worded(
        [(_EGO, "returns to its lane|moves back into lane|comes back to its own side|gets back in lane|"
          "regains its lane")],
        [(_EGO_ZH, "回到自己的车道|驶回车道|回到本侧|重新回到车道|归回原车道")],
    ),
    "car_brakes": worded(
        [(_CAR, "brakes|slows down|hits the brakes|reduces its speed|is braking")],
        [(_CAR_ZH, "刹车|减速|踩下刹车|降低速度|正在制动")],
    ),
    "car_stops": worded(
        [(_CAR, "stops|comes to a halt|comes to a stop|stands still|has stopped")],
        [(_CAR_ZH, "停下|停住了|停了下来|静止不动|停车")],
    ),
    "car_starts": worded(
        [(_CAR, "starts|drives on|moves off|pulls away|sets off again")],
        [(_CAR_ZH, "起步|继续行驶|开动了|驶离|重新出发")],
    ),
    "pedestrian_crosses": worded(
        [(_PERSON, "crosses the street|steps onto the road|walks across|starts to cross|goes over the crossing")],
        [(_PERSON_ZH, "过马路|走上车道|横穿街道|开始过街|走过斑马线")],
    ),
    "light_changes": worded(
        [(_LIGHT, "turns {c}|changes to {c}|goes {c}|switches to {c}|is now {c}")],
        [(_LIGHT_ZH, "变为{c}|变成{c}|转为{c}|切换到{c}|现在是{c}")],
    ),
    "turn": worded(
        [(_EGO, "turns {d}|takes the {d} turn|swings to the {d}|makes a {d} turn|bears {d} at the junction")],
        [(_EGO_ZH, "{d}转|向{d}转弯|往{d}拐|在路口{d}转|开始{d}转")],
    ),
    "goal": worded(
        [(_EGO, "reaches the goal|arrives at the destination|gets to the target|completes the route|"
          "is at the end of its route")],
        [(_EGO_ZH, "到达目标|抵达目的地|到了终点|完成路线|走完了路线")],
    ),
    "change time_of_day=day": worded(
        [("the day|daylight|the morning|the sun|brightness", "comes up|breaks|returns|begins|arrives")],
        [("白天|天光|早晨|太阳|日光", "到来|出现|回来|开始|来了")],
    ),
    "change time_of_day=dusk": worded(
        [("dusk|evening|twilight|sunset|sundown", "falls|sets in|comes on|begins|arrives")],
        [("黄昏|傍晚|暮色|日落|夕阳", "降临|到来|渐近|开始|来临")],
    ),
    "change time_of_day=night": worded(
        [("night|the night|darkness|the dark|midnight", "falls|sets in|comes on|begins|arrives")],
        [("夜晚|夜色|黑夜|夜幕|深夜", "降临|到来|渐近|开始|来临")],
    ),
    "change weather=clear": worded(
        [("the sky|the weather|the air|it|the view", "clears|clears up|turns fine|becomes clear|brightens and dries")],
        [("天空|天气|天色|空中|四周", "放晴|转晴|变得晴朗|晴了|变晴")],
    ),
    "change weather=rain": worded(
        [("rain|a shower|the rain|wet weather|rainfall", "begins|starts|sets in|comes down|falls")],
        [("雨|阵雨|雨水|雨天|大雨", "开始|来了|落下|降下|到来")],
    ),
    "change weather=fog": worded(
        [("fog|mist|haze|the fog|a bank of fog", "comes up|rolls in|sets in|gathers|rises")],
        [("雾|雾气|薄雾|大雾|浓雾", "起来了|涌来|出现|聚拢|升起")],
    ),
    "change traffic=heavy": worded(
        [("traffic|the traffic|road traffic|street traffic|the flow of cars",
          "grows heavy|gets dense|becomes busy|thickens|increases")],
        [("车流|交通|道路|街道|车辆", "变得密集|繁忙起来|开始拥堵|增多|变多")],
    ),
    "change traffic=light": worded(
        [("traffic|the traffic|road traffic|street traffic|the flow of cars",
          "gets light|thins out|becomes calm|eases|decreases")],
        [("车流|交通|道路|街道|车辆", "变得稀少|畅通起来|安静下来|减少|变少")],
    ),
    "change pedestrians=none": worded(
        [("the pavements|the sidewalks|the footpaths|the kerbs|the street sides",
          "empty|become deserted|clear of people|are abandoned|are left by everyone")],
        [("人行道|路边|街边|两旁|路旁", "空了|变得无人|人走光了|没有人了|渐渐无人")],
    ),
    "change pedestrians=some": worded(
        [("several people|a handful of walkers|a trickle of pedestrians|scattered passers-by|occasional walkers",
          "appear|come along|show up|are about|walk by")],
        [("几个行人|若干路人|三两个人|数名过客|零落的步行者", "出现|走来|露面|在路边|经过")],
    ),
    "change pedestrians=many": worded(
        [("crowds of people|throngs of walkers|swarms of pedestrians|masses of passers-by|hordes of walkers",
          "appear|come along|show up|are about|walk by")],
        [("熙攘的行人|成群的路人|涌动的人群|如织的行人|成群的步行者", "出现|走来|露面|在路边|经过")],
    ),
}  # fmt: skip
"""The wordings of every event by name; where a name is not enough, by name and value."""

INSTRUCTIONS: dict[str, dict[str, Wordings]] = {
    "left": worded(
        [("turn left|take a left|go left|make a left turn|bear left",
          "at the next junction|at the next corner|at the coming crossing|at the intersection ahead")],
        [("在下个路口|在前方路口|到下一个街角|在前面的十字路口", "左转|向左转|往左拐|左拐弯|向左行驶")],
    ),
    "right": worded(
        [("turn right|take a right|go right|make a right turn|bear right",
          "at the next junction|at the next corner|at the coming crossing|at the intersection ahead")],
        [("在下个路口|在前方路口|到下一个街角|在前面的十字路口", "右转|向右转|往右拐|右拐弯|向右行驶")],
    ),
    "straight": worded(
        [("go straight|drive straight on|keep straight|continue ahead|carry straight on",
          "at the next junction|at the next corner|at the coming crossing|at the intersection ahead")],
        [("在下个路口|在前方路口|到下一个街角|在前面的十字路口", "直行|直走|一直往前|继续向前|笔直通过")],
    ),
    "goal": worded(
        [("drive|go on|continue|carry on|proceed",
          "to the goal|to the destination|to the target|until you arrive at the end")],
        [("开到|驶向|前往|一直开到|继续驶向", "目标|目的地|终点|路线尽头")],
    ),
    "lane": worded(
        [("follow the lane|keep to the lane|stay in the lane|hold the lane|drive along the lane",
          "at a steady speed|at an even pace|without leaving it|and keep the speed")],
        [("沿车道|顺着车道|保持在车道内|跟随车道|沿着本车道", "匀速行驶|平稳行驶|稳定前进|保持车速")],
    ),
}  # fmt: skip
"""What the driver is to do next: the next turn of a route, its goal, or to keep to the lane."""

_COLORS_ZH = {
    "red": "红色", "yellow": "黄色", "white": "白色", "black": "黑色", "green": "绿色", "orange": "橙色",
    "brown": "棕色", "silver": "银色", "pink": "粉色",
}  # fmt: skip
_WHERE = {"ahead": ("ahead", "前方"), "left": ("on the left", "左侧"), "right": ("on the right", "右侧")}
_THINGS = {
    "car": ("a {c} car", "{c}汽车"),
    "pedestrian": ("a pedestrian in {c}", "穿{c}的行人"),
    "parked_car": ("a parked car", "停着的车"),
    "building": ("a building", "建筑"),
}


def event_caption(event: Mapping[str, Any], key: tuple[int, ...], wording: str = "train") -> Caption:
    """Return ``{"en", "zh"}`` of an event.

    Args:
        event: ``name`` and its facts, as the city's ``info["events"]`` has them.
        key: Seed of the choice of words.
        wording: ``train``, or ``held_out`` for wordings that no training caption holds.
    """
    name = event["name"]
    if name == "lane_change":
        name = f"{name} {event['to']}"
    elif name == "change":
        name = f"{name} {event['factor']}={event['value']}"
    return told(EVENTS[name], key, wording, _slots(event))


def instruction_caption(order: str, key: tuple[int, ...], wording: str = "train") -> Caption:
    """Return ``{"en", "zh"}`` of what the driver is to do: ``left``, ``right``, ``straight``, ``goal`` or ``lane``."""
    return told(INSTRUCTIONS[order], key, wording)


def _slots(event: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    color = event.get("color")
    where = _WHERE[event.get("where", "ahead")]
    en = {"c": color or "", "w": where[0]}
    zh = {"c": _COLORS_ZH.get(color or "", ""), "w": where[1]}
    if event["name"] == "collision":
        thing = _THINGS[event["kind"]]
        en["o"], zh["o"] = (text.format(c=slots["c"]) for text, slots in zip(thing, (en, zh), strict=True))
    elif event["name"] == "turn":
        en["d"], zh["d"] = event["direction"], {"left": "左", "right": "右"}[event["direction"]]
    return {"en": en, "zh": zh}
