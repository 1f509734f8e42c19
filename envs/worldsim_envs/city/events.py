"""What happened in a step, as facts: each event has a name and what it is about, and no sentence."""

from __future__ import annotations

import math
from typing import Any

from worldsim_envs.city.layout import Layout
from worldsim_envs.city.lights import colors
from worldsim_envs.city.paint import CAR_SIZE
from worldsim_envs.city.state import CityState, middle

__all__ = ["LightAhead", "collision", "happened", "light_ahead"]

_SEEN = 30.0  # m, how far ahead others make events
_TURN = 0.05  # 1/m, what only a junction's turns bend

LightAhead = tuple[tuple[int, int, int], float, str]
"""A junction's i, j and the axis of one's way, metres from the nose to the stop line, and the colour one sees."""


def light_ahead(layout: Layout, state: CityState) -> LightAhead | None:
    """Return the light that the ego drives towards, if it is less than 40 m away."""
    ahead = layout.approach(*middle(state), CAR_SIZE[0] / 2)
    if ahead is None or not -4 < ahead.distance < 40 or layout.offsets[ahead.i][ahead.j] < 0:
        return None
    color = colors(layout.offsets[ahead.i][ahead.j], state.step)[ahead.axis]
    return (ahead.i, ahead.j, ahead.axis), ahead.distance, color


def collision(state: CityState, hit: str) -> dict[str, Any]:
    """Return the event of touching ``hit``: car3, pedestrian1, parked car or building."""
    if hit.startswith("car"):
        color = next(car.color for car in state.cars if f"car{car.slot}" == hit)
        return {"name": "collision", "with": hit, "kind": "car", "color": color}
    if hit.startswith("pedestrian"):
        color = next(one.coat for one in state.walkers if f"pedestrian{one.slot}" == hit)
        return {"name": "collision", "with": hit, "kind": "pedestrian", "color": color}
    return {"name": "collision", "with": hit, "kind": hit.replace(" ", "_")}


def happened(layout: Layout, before: CityState, after: CityState, leader: int | None) -> list[dict[str, Any]]:
    """Return the events of one step, except for collisions, changes of the weather, and leaving the road.

    Args:
        layout: The map.
        before: The state.
        after: The state one step later.
        leader: Slot of the car ahead of the ego, if there is one.
    """
    events: list[dict[str, Any]] = []
    x, y, yaw = middle(after)
    was, now = light_ahead(layout, before), light_ahead(layout, after)
    gone = was and was[1] > 0 and layout.has_passed(was[0], middle(before)[:2], (x, y), CAR_SIZE[0] / 2)
    if was and gone and was[2] == "red":
        events.append({"name": "red_light", "color": "red"})
    if was and now and was[0] == now[0] and now[1] > 0 and was[2] != now[2]:
        events.append({"name": "light_changes", "color": now[2]})
    lanes = layout.lane(*middle(before)), layout.lane(x, y, yaw)
    if lanes[0] * lanes[1] < 0:
        events.append({"name": "lane_change", "body": "ego", "to": "own" if lanes[1] > 0 else "oncoming"})
    bends = []
    for state in (before, after):
        points = layout.route(*state.route).points
        bends.append(float(points[min(round(state.progress), len(points) - 1), 3]))
    if abs(bends[0]) < _TURN <= abs(bends[1]):
        events.append({"name": "turn", "direction": "left" if bends[1] > 0 else "right"})
    old = {car.slot: car for car in before.cars}
    for car in after.cars:
        if car.slot != leader or car.slot not in old or old[car.slot].route != car.route:
            continue
        one = {"body": f"car{car.slot}", "color": car.color, "where": "ahead"}
        if car.speed == 0 and old[car.slot].speed > 0:
            events.append({"name": "car_stops", **one})
        elif car.speed > 0 and old[car.slot].speed == 0:
            events.append({"name": "car_starts", **one})
        elif car.is_braking and not old[car.slot].is_braking:
            events.append({"name": "car_brakes", **one})
    crossing = {one.slot for one in before.walkers if one.is_crossing}
    for one in after.walkers:
        if one.is_crossing and one.slot not in crossing:
            dx, dy = one.pose[0] - x, one.pose[1] - y
            forward = dx * math.cos(yaw) + dy * math.sin(yaw)
            left = dy * math.cos(yaw) - dx * math.sin(yaw)
            if forward > 0 and math.hypot(dx, dy) < _SEEN:
                where = "left" if left > 0.36 * forward else "right" if left < -0.36 * forward else "ahead"
                facts = {"body": f"pedestrian{one.slot}", "color": one.coat, "where": where}
                events.append({"name": "pedestrian_crosses", **facts})
    return events
