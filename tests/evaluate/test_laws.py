"""Laws fitted to positions that are known to follow them."""

import numpy as np
import pytest

from worldsim.evaluate.physics import laws

DT, G = 0.05, 9.81


def bouncing(height=1.2, restitution=0.7, frames=48, ground=0.25):
    """Return the heights (F,) of a ball that is let go, the times of its bounces, and its speeds before them."""
    times, speeds, heights = [], [], []
    for t in np.arange(frames) * DT:
        fall = (2 * height / G) ** 0.5
        begun, z, v = 0.0, height, 0.0
        land, up = fall, 0.0
        while t > land and len(times) < 50:
            speed = v + G * (land - begun) if up == 0.0 else up
            if land not in times:
                times.append(land)
                speeds.append(speed)
            up = restitution * speed
            begun, z, v = land, 0.0, -up
            land = begun + 2 * up / G
        heights.append(ground + z - v * (t - begun) - G * (t - begun) ** 2 / 2)
    return np.array(heights), times, speeds


def test_gravity_is_found_from_arcs_between_bounces():
    z, _, _ = bouncing()
    arcs = laws.flight_arcs(z, 0.25, G, DT)
    assert len(arcs) >= 3
    flight = laws.fit_flight(z, arcs, DT)
    assert flight is not None
    assert flight.g == pytest.approx(G, rel=1e-6)
    assert flight.r2 > 0.999999


def test_gravity_survives_gaps_and_noise_and_says_how_sure_it_is():
    rng = np.random.default_rng(0)
    found, errors = [], []
    for _ in range(40):
        z = bouncing()[0] + rng.normal(0, 0.004, 48)
        z[20] = np.nan
        flight = laws.fit_flight(z, laws.flight_arcs(z, 0.25, G, DT), DT)
        assert flight is not None
        found.append(flight.g)
        errors.append(flight.error)
    assert np.mean(found) == pytest.approx(G, rel=0.02)
    assert 0.3 < np.std(found) / np.mean(errors) < 3


def test_bounces_are_found_between_frames():
    z, times, speeds = bouncing(restitution=0.6)
    flight = laws.fit_flight(z, laws.flight_arcs(z, 0.25, G, DT), DT)
    assert flight is not None
    found = laws.bounces(flight, DT)
    assert found
    assert found[0].time_s == pytest.approx(times[0], abs=1e-4)
    assert found[0].restitution == pytest.approx(0.6, abs=1e-3)
    assert found[0].before == pytest.approx(-speeds[0], rel=1e-3)


def test_what_lies_on_the_ground_does_not_fly():
    assert laws.flight_arcs(np.full(30, 0.25), 0.25, G, DT) == []
    assert laws.fit_flight(np.full(30, 0.25), [], DT) is None


def test_a_swing_of_less_than_a_period_tells_the_period():
    t = np.arange(30) * DT
    swing = laws.period(t, 0.5 * np.cos(2 * np.pi * t / 2.1 + 0.4), 1.5)
    assert swing is not None
    assert swing.period_s == pytest.approx(2.1, rel=1e-3)
    assert swing.amplitude == pytest.approx(0.5, rel=1e-3)
    assert np.abs(swing.angle(t) - 0.5 * np.cos(2 * np.pi * t / 2.1 + 0.4)).max() < 1e-3
    assert laws.period(t[:6], t[:6], 1.5) is None


def test_two_things_meet_where_their_gap_turns():
    t = np.arange(20) * DT
    gap = 0.5 + np.abs(t - 0.43) * 1.5
    assert laws.meeting_time(t, gap) == pytest.approx(0.43, abs=0.01)
    assert laws.meeting_time(t, 2.0 - t) is None


def test_a_local_parabola_keeps_a_parabola_and_forgets_gaps():
    t = np.arange(12) * DT
    x = np.stack([1 + 2 * t - 3 * t**2, 5 * t], axis=1)
    x[4] = np.nan
    place, speed = laws.smooth(x, DT)
    known = np.isfinite(x[:, 0])
    assert np.isnan(place[4]).all()
    assert place[known] == pytest.approx(x[known])
    assert speed[known] == pytest.approx(np.stack([2 - 6 * t, np.full(12, 5.0)], axis=1)[known])
    assert laws.acceleration(t, x[:, 0]) == pytest.approx(-6.0)


def test_the_hinge_is_the_middle_of_the_arc():
    angle = np.linspace(-0.3, 0.4, 20)
    points = np.array([0.2, 2.35]) + 1.1 * np.stack([np.sin(angle), -np.cos(angle)], axis=1)
    assert laws.circle_centre(points) == pytest.approx(np.array([0.2, 2.35]))
