"""Streets, lights, traffic, people and weather of the city, without a renderer."""

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from worldsim_envs.city.factors import checked_factors, draw_factors
from worldsim_envs.city.layout import LANE, Layout
from worldsim_envs.city.lights import CYCLE, colors, red_left
from worldsim_envs.city.paint import CAR_SIZE
from worldsim_envs.city.traffic import Car, Moving, move_cars, spawn_cars
from worldsim_envs.city.walkers import Walker, move_walkers
from worldsim_envs.city.warp import Warp
from worldsim_envs.city.weather import PRESETS, conditions_of, grip_on, look_under, words_of

AWAY = (900.0, 900.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def curved():
    return Layout(3, 1, "light", 1.0, 1.0)


def test_the_warp_is_undone_exactly_and_never_sharper_than_a_quarter():
    warp = Warp(5, 1.0)
    for x, y in np.random.default_rng(0).uniform(-300, 300, (50, 2)).tolist():
        assert warp.grid(*warp.point(x, y)) == pytest.approx((x, y), abs=1e-6)
        assert np.abs(warp.slopes(x, y)).max() <= 0.25
        assert warp.grid_heading(x, y, warp.heading(x, y, 0.7)) == pytest.approx(0.7)


def test_curved_streets_bend_and_their_lanes_stay_on_the_road(curved):
    points = curved.route(3, 3, 0, 15.0, 4).points
    steps = np.hypot(*np.diff(points[:, :2], axis=0).T)
    assert steps.max() < 1.02 and steps.min() > 0.93
    assert max(curved.off_road(x, y) for x, y in points[:, :2].tolist()) == 0
    along = points[:-1, 2] - np.arctan2(*np.diff(points[:, :2], axis=0).T[::-1])
    assert np.abs(np.sin(along)).max() < 0.15
    straights = np.abs(points[:, 3])[np.abs(points[:, 3]) < 0.03]
    assert np.quantile(straights, 0.9) > 0.004


def test_a_lane_is_as_far_from_the_centre_line_as_its_own_side_says(curved):
    for direction in range(4):
        x, y, yaw, _ = curved.street_point(4, 4, direction, 30.0)
        assert curved.lane(x, y, yaw) == 1
        assert curved.lane(x, y, yaw + math.pi) == -1
        left = (x - 2 * LANE * math.sin(yaw), y + 2 * LANE * math.cos(yaw))
        assert curved.lane(*left, yaw) == -1


def test_lights_give_way_to_one_axis_at_a_time():
    seen = Counter()
    for step in range(CYCLE):
        one, other = colors(7, step)
        assert "red" in (one, other)
        seen[one, other] += 1
        for axis, color in enumerate((one, other)):
            left = red_left(7, axis, step)
            assert (left > 0) == (color == "red")
            if left:
                assert colors(7, step + left)[axis] == "green" and colors(7, step + left - 1)[axis] == "red"
    assert seen["green", "red"] == seen["red", "green"] == 55


def _street(layout, lit):
    """Return (i, j, direction) of a street that leads to a junction with or without lights."""
    for i in range(1, 6):
        for j in range(1, 6):
            if (layout.offsets[i + 1][j] >= 0) == lit:
                return i, j, 0
    raise AssertionError


def _drive(layout, cars, steps, start=0, walkers=(), ego=AWAY):
    rows = []
    for step in range(start, start + steps):
        cars = move_cars(layout, cars, Moving(ego, walkers, step, 7.0), 0.1)
        rows.append(cars)
    return rows


def _car(layout, slot, street, skip, speed, cruise, salt=0):
    pose = layout.street_point(*street, skip)
    return Car(slot, (*street, skip, salt), 0.0, speed, cruise, pose)


def test_a_car_follows_another_without_touching_it_and_its_brakes_light_up():
    layout = Layout(0, 1, "light", 1.0, 0.0)
    street = _street(layout, lit=False)
    cars = (_car(layout, 0, street, 30.0, 0.0, 1e-3), _car(layout, 1, street, 9.0, 8.0, 8.0))
    rows = _drive(layout, cars, 60)
    gaps = [math.dist(a.pose[:2], b.pose[:2]) - CAR_SIZE[0] for a, b in rows]
    assert min(gaps) > 1.0 and gaps[-1] < 5.0
    assert any(b.is_braking for _, b in rows[:30])
    assert rows[-1][1].speed < 0.3
    assert min((b.pull for _, b in rows)) >= -6.0


def test_traffic_stops_at_red_and_goes_at_green():
    layout = Layout(0, 1, "light", 1.0, 0.0)
    street = _street(layout, lit=True)
    i, j, _ = street
    offset = layout.offsets[i + 1][j]
    red = next(s for s in range(CYCLE) if red_left(offset, 0, s) == 90)
    length = layout.street_length(*street)
    cars = (_car(layout, 0, street, length - 40.0, 8.0, 8.0),)
    rows = _drive(layout, cars, 130, start=red)
    line = layout.route(*cars[0].route).stops[0, 0]
    noses = np.array([row[0].progress + CAR_SIZE[0] / 2 for row in rows])
    assert noses[:88].max() < line and noses[80] > line - 4
    assert noses[-1] > line


def test_traffic_waits_for_people_on_the_road():
    layout = Layout(0, 1, "light", 1.0, 0.0)
    street = _street(layout, lit=False)
    ahead = layout.street_point(*street, 35.0)
    cars = (_car(layout, 0, street, 9.0, 8.0, 8.0),)
    rows = _drive(layout, cars, 60, walkers=(ahead[:2],))
    assert math.dist(rows[-1][0].pose[:2], ahead[:2]) > CAR_SIZE[0] / 2 + 0.5
    assert rows[-1][0].speed < 0.3


def test_people_keep_to_the_pavement_and_cross_only_while_traffic_has_red(curved):
    crossings = 0
    for salt in range(12):
        junction = [(i, j) for i in range(2, 6) for j in range(2, 6) if curved.offsets[i][j] >= 0][salt]
        walk = (*junction, salt % 8, 2.0, salt)
        people = (Walker(0, walk, 0.0, 1.5, 0.0, (0.0, 0.0, 0.0)),)
        stops = curved.walk(*walk).stops
        for step in range(300):
            was = people[0]
            people = move_walkers(curved, people, [], step, 0.1)
            one = people[0]
            on_road = curved.off_road(*one.pose[:2]) == 0
            assert one.is_crossing or not on_road or one.progress < 0.2
            assert 0 <= one.progress - was.progress <= 0.1501
            if on_road:
                _, _, i, j, axis, _ = next(s for s in stops if s[0] - 0.1 <= one.progress <= s[1] + 0.1)
                offset = curved.offsets[int(i)][int(j)]
                if offset >= 0:
                    crossings += 1
                    assert colors(offset, step)[int(axis)] == "red"
    assert crossings > 100


def test_new_cars_appear_far_away_and_apart():
    layout = Layout(1, -1, "light", 1.0, 0.7)
    x, y, yaw, _ = layout.street_point(4, 4, 1, 20.0)
    cars = ()
    for step in range(10):
        cars = spawn_cars(layout, cars, (x, y, yaw), 8, (3, step))
    at = np.array([car.pose[:2] for car in cars])
    assert len(cars) >= 6
    assert np.hypot(*(at - (x, y)).T).min() > 57
    apart = np.hypot(*(at[:, None] - at[None]).transpose(2, 0, 1)) + 99 * np.eye(len(at))
    assert apart.min() > 11


def test_the_presets_are_carlas_and_named_by_what_they_are():
    assert len(PRESETS) == 21 and {"ClearNoon", "WetCloudySunset", "MidRainSunset", "HardRainNight"} <= set(PRESETS)
    for name, conditions in PRESETS.items():
        words = words_of(conditions)
        assert words["time_of_day"] == {"oon": "day", "set": "dusk", "ght": "night"}[name[-3:]]
        assert words["weather"] == ("rain" if "Rain" in name else "clear")
    assert grip_on(PRESETS["HardRainNoon"].wetness) == 5.0 and grip_on(PRESETS["ClearNoon"].wetness) == 7.0


def test_the_sky_changes_without_a_jump():
    noon = PRESETS["ClearNoon"]
    for name, values in (("sun_height", np.arange(-30, 75, 0.5)), ("rain", np.arange(0, 1, 0.01)),
                         ("cloud", np.arange(0, 1, 0.01)), ("fog", np.arange(0, 1, 0.01))):  # fmt: skip
        looks = [look_under(conditions_of(noon, {name: value})) for value in values]
        for one, other in pairwise(looks):
            assert np.abs(np.subtract(one.sky_low, other.sky_low)).max() < 16
            assert abs(one.density - other.density) < 0.002


def test_what_is_drawn_is_balanced_and_never_foggy_at_dusk():
    rng = np.random.default_rng(0)
    drawn = [draw_factors(rng, {}) for _ in range(3000)]
    times, weathers = Counter(d["time_of_day"] for d in drawn), Counter(d["weather"] for d in drawn)
    assert min(times.values()) > 0.25 * 3000 and min(weathers.values()) > 0.18 * 3000
    assert ("dusk", "fog") not in Counter((d["time_of_day"], d["weather"]) for d in drawn)
    changes = [d for d in drawn if d["change"] != "none"]
    assert 0.27 < len(changes) / 3000 < 0.33
    assert {d["change"].split("=")[0] for d in changes} == {"time_of_day", "weather", "traffic"}
    for d in changes:
        name, value = d["change"].split("=")
        assert d[name] != value
        assert {"dusk", "fog"} != {value, d["weather" if name == "time_of_day" else "time_of_day"]}
    assert all(checked_factors(d) == d for d in drawn[:50])


def test_a_number_wins_over_a_word_and_a_split_decides_what_is_out_of_range():
    rng = np.random.default_rng(1)
    one = draw_factors(rng, {"weather": "clear", "rain": 0.6, "sun_height": -20.0})
    assert (one["weather"], one["time_of_day"], one["rain"]) == ("rain", "night", 0.6)
    both = draw_factors(rng, {"split": "combination"})
    assert (both["time_of_day"], both["weather"]) == ("dusk", "fog")
    assert draw_factors(rng, {"split": "low"})["building_height"] <= 0.7
    assert draw_factors(rng, {"split": "high"})["building_height"] >= 1.4
    assert draw_factors(rng, {"weather_preset": "SoftRainSunset"})["weather"] == "rain"
