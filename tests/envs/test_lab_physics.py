"""The bench obeys the laws that its parameters name, measured from its own states at 240 Hz.

Bullet steps velocity, then position (semi-implicit Euler, dt = 1/240 s): free flight has exactly the second
difference g dt^2, and after t it is g t dt / 2 too deep; a touch is noticed at most two ticks late. Undoing
penetrations adds up to 0.01 to a restitution. Pendulums take 16 steps a tick: a double one keeps its energy within 3%.
"""

import numpy as np
import pytest
from worldsim_envs.lab import LabEnv

DT = 1 / 240
STILL = np.zeros(8, np.float32)


@pytest.fixture(scope="module")
def env():
    lab = LabEnv()
    yield lab
    lab.close()


def _run(env, scenario, steps, action=STILL, **variation):
    plain = {"change": "none", "side": "left", "gravity": 9.81}
    _, info = env.reset(seed=0, options={"scenario": scenario, "variation": plain | variation})
    for _ in range(steps):
        env.step(action)
    return env.trajectory, env.contacts, info["variation"]


def _contact(contacts, first, second):
    return next(c for c in contacts if {c.first, c.second} == {first, second})


@pytest.mark.parametrize("gravity", [1.62, 9.81, 24.0])
def test_a_ball_falls_with_the_gravity_it_was_given(env, gravity):
    rows, contacts, v = _run(env, "free_fall", 30, gravity=gravity, height=1.5)
    landed = round(contacts[0].time_s / DT)
    z = rows["a"][: landed - 1, 2]
    assert -2 * np.polyfit(np.arange(len(z)) * DT, z, 2)[0] == pytest.approx(gravity, rel=1e-6)
    assert contacts[0].time_s == pytest.approx((2 * v["height"] / gravity) ** 0.5, abs=2.1 * DT)


@pytest.mark.parametrize("restitution", [0.1, 0.4, 0.7, 0.95])
def test_a_ball_rebounds_with_its_restitution(env, restitution):
    rows, contacts, _ = _run(env, "free_fall", 60, restitution=restitution, height=1.5)
    for contact in contacts[:3]:
        tick = round(contact.time_s / DT)
        before, after = rows["a"][tick - 1, 9] - 9.81 * DT, rows["a"][tick, 9]
        if before < -0.5:  # slower ones may come to rest
            assert restitution - 0.002 <= -after / before <= restitution + 0.012


def test_heavy_and_light_balls_fall_alike(env):
    rows, contacts, _ = _run(env, "two_drops", 20, height_a=1.0, height_b=1.0, mass_ratio=10.0)
    landed = round(contacts[0].time_s / DT) - 1
    np.testing.assert_allclose(rows["a"][:landed, 2], rows["b"][:landed, 2], atol=1e-9)


def test_a_thrown_ball_flies_along_a_parabola(env):
    rows, contacts, _ = _run(env, "projectile", 8, speed=4.0, angle=60.0)
    flight = rows["a"][: round(contacts[0].time_s / DT) - 1] if contacts else rows["a"]
    t = np.arange(len(flight)) * DT
    assert np.ptp(flight[:, 7]) < 1e-9
    assert np.polyfit(t, flight[:, 2], 2)[0] == pytest.approx(-9.81 / 2, rel=1e-6)


@pytest.mark.parametrize("friction", [0.05, 0.2, 0.6])
def test_a_sliding_ball_is_slowed_by_its_friction_until_it_rolls(env, friction):
    rows, _, v = _run(env, "rolling", 20, spin=0.0, speed=2.0, friction=friction)
    speed = rows["a"][:, 7]
    assert -np.polyfit(np.arange(5, 15) * DT, speed[5:15], 1)[0] == pytest.approx(friction * 9.81, rel=0.01)
    if friction > 0.1:
        assert speed[-1] == pytest.approx(2.0 * 5 / 7, rel=0.005)
        assert rows["a"][-1, 11] * v["size"] / 2 == pytest.approx(speed[-1], rel=0.005)


@pytest.mark.parametrize("slope", [20.0, 35.0])
@pytest.mark.parametrize("friction", [0.1, 0.3, 0.9])
def test_a_box_slides_down_a_ramp_by_the_law_of_friction(env, slope, friction):
    rows, _, _ = _run(env, "ramp", 8, slope=slope, friction=friction, shape="box")
    speed = np.hypot(rows["a"][:, 7], rows["a"][:, 9])
    measured = np.polyfit(np.arange(20, 90) * DT, speed[20:90], 1)[0]
    angle = np.radians(slope)
    assert measured == pytest.approx(max(0.0, 9.81 * (np.sin(angle) - friction * np.cos(angle))), abs=0.02)


def test_a_ball_rolls_down_a_ramp_at_five_sevenths(env):
    rows, _, _ = _run(env, "ramp", 8, slope=25.0, friction=0.6, shape="ball")
    speed = np.hypot(rows["a"][:, 7], rows["a"][:, 9])
    measured = np.polyfit(np.arange(20, 90) * DT, speed[20:90], 1)[0]
    assert measured == pytest.approx(5 / 7 * 9.81 * np.sin(np.radians(25)), rel=0.005)


@pytest.mark.parametrize("mass_ratio", [0.2, 3.0])
@pytest.mark.parametrize("restitution", [0.3, 0.9])
def test_a_collision_keeps_momentum_and_has_its_restitution(env, mass_ratio, restitution):
    rows, contacts, _ = _run(env, "collision_1d", 24, speed=2.0, mass_ratio=mass_ratio, restitution=restitution)
    tick = round(_contact(contacts, "a", "b").time_s / DT)
    before, a, b = rows["a"][tick - 1, 7], rows["a"][tick + 1, 7], rows["b"][tick + 1, 7]
    assert a + mass_ratio * b == pytest.approx(before, rel=1e-4)
    assert restitution - 0.002 <= (b - a) / before <= restitution + 0.012


@pytest.mark.parametrize("length", [0.8, 1.4])
def test_a_pendulum_has_its_period(env, length):
    rows, _, _ = _run(env, "pendulum", 96, length=length, amplitude=20.0)
    x = rows["a"][:, 0]
    crossings = np.flatnonzero((x[:-1] < 0) & (x[1:] >= 0))
    times = (crossings - x[crossings] / (x[crossings + 1] - x[crossings])) * DT
    inertia, swing = length**2 + 0.4 * 0.24**2, np.radians(20)
    period = 2 * np.pi * np.sqrt(inertia / (9.81 * length)) * (1 + swing**2 / 16 + 11 * swing**4 / 3072)
    assert np.diff(times).mean() == pytest.approx(period, rel=1e-3)
    assert np.ptp(np.linalg.norm(rows["a"][:, :3] - (0, 0, 2.35), axis=1)) < 1e-9


def test_a_double_pendulum_keeps_its_energy(env):
    rows, _, v = _run(env, "double_pendulum", 96, angle_1=100.0, angle_2=100.0)
    energy = np.zeros(len(rows["a"]))
    for name, mass in (("a", 1.0), ("b", v["mass_ratio"])):
        motion = rows[name]
        energy += mass * (9.81 * motion[:, 2] + 0.5 * (motion[:, 7:10] ** 2).sum(1))
        energy += 0.5 * 0.4 * mass * 0.22**2 * (motion[:, 10:] ** 2).sum(1)
    swing = 9.81 * (1 + v["mass_ratio"]) * (v["length_1"] + v["length_2"])
    assert np.ptp(energy) < 0.03 * swing


@pytest.mark.parametrize("friction", [0.1, 0.4])
def test_a_cart_stops_within_what_its_tyres_hold(env, friction):
    brake = STILL.copy()
    brake[5] = -1.0
    rows, _, _ = _run(env, "cart", 60, brake, speed=2.4, friction=friction)
    x = rows["a"][:, 0]
    assert x[-1] - x[0] == pytest.approx(2.4**2 / (2 * min(friction * 9.81, 6.0)), rel=0.03)
    assert abs(rows["a"][-1, 7]) < 0.02


def test_a_cart_turns_by_its_wheels_and_skids_on_ice(env):
    turn = STILL.copy()
    turn[6] = 1.0
    rates = {}
    for friction in (0.9, 0.05):
        rows, _, _ = _run(env, "cart", 8, turn, speed=1.5, friction=friction)
        rates[friction] = rows["a"][-1, 12]
        speed = np.hypot(*rows["a"][-1, 7:9])
    assert rates[0.9] == pytest.approx(1.5 * np.tan(0.5) / 0.7, rel=0.1)
    assert rates[0.05] * speed < 0.05 * 9.81 * 1.1


def test_a_tower_within_its_balance_stands_and_one_beyond_it_falls(env):
    rows, _, _ = _run(env, "stack", 60, count=4, offset=0.3)
    assert max(np.abs(r[-1, :3] - r[0, :3]).max() for r in rows.values()) < 0.01
    rows, _, _ = _run(env, "stack", 60, count=4, offset=0.7)
    assert rows["d"][-1, 2] < rows["d"][0, 2] - 0.4


def test_dominoes_fall_in_their_order(env):
    _run(env, "dominoes", 0, count=6, missing=0, spacing=0.38)
    fallen = []
    for _ in range(60):
        *_, info = env.step(STILL)
        fallen += [event["body"] for event in info["events"] if event["name"] == "fall"]
    assert fallen == list("abcdef")


@pytest.mark.parametrize("speed", [2.0, 8.0])
def test_a_wall_is_never_passed_through(env, speed):
    rows, contacts, v = _run(env, "solid_wall", 40, speed=speed, thickness=0.1, opening="closed")
    assert _contact(contacts, "a", "wall")
    deep = rows["a"][:, 0].max() + 0.25 - (0.4 - v["thickness"] / 2)
    assert deep <= speed * DT + 1e-6  # one tick's way


def test_a_change_of_gravity_is_felt(env):
    rows, _, _ = _run(
        env, "pendulum", 40, gravity=8.0, change="gravity", change_to=20.0, change_step=20, change_length=5
    )
    fast = lambda r: np.abs(np.diff(r[:, 7], axis=0)).max() / DT  # noqa: E731
    assert fast(rows["a"][26 * 12 :]) > 1.5 * fast(rows["a"][: 20 * 12])


@pytest.mark.parametrize("scenario", ["pendulum", "free_fall"])
def test_an_impulse_changes_momentum_by_its_size(env, scenario):
    push = STILL.copy()
    push[0] = 0.5
    setting = {"amplitude": 4.0} if scenario == "pendulum" else {"height": 1.7}
    speeds = []
    for action in (STILL, push):
        rows, _, v = _run(env, scenario, 1, action, mass=1.5, **setting)
        speeds.append(rows["a"][-1, 7])
    inertia = 1 + 0.4 * (0.24 / v["length"]) ** 2 if scenario == "pendulum" else 1.0
    assert speeds[1] - speeds[0] == pytest.approx(0.5 * 0.3 / 1.5 / inertia, rel=0.02)
