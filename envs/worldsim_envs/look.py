"""Time of day and weather as light on a frame: sky, grade, fog by depth, headlights, lit windows, rain.

A look is a handful of numbers, so a dusk that falls is a straight line between two looks. `compose` turns what the
camera saw under white light into the frame; it is a pure function of its arguments.

Light sources are marked by colour: a surface whose blue exceeds its red by a fifth shines warm white when lamps are on,
and one of almost pure red shines red; one without any red or without any blue, a brake light or a traffic light, shines
in its own colour at all times. No other surface of a world may have such a colour.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldsim_envs.scene import View

__all__ = ["TIMES", "WEATHERS", "Lens", "Look", "blend", "compose", "look_of"]

TIMES = ("day", "dusk", "night")
WEATHERS = ("clear", "rain", "fog")

_LUMA = np.array([0.30, 0.59, 0.11], dtype=np.float32)
_LAMP = np.array([228, 180, 100], dtype=np.float32)
_TAIL = np.array([235, 40, 30], dtype=np.float32)
_BEAM = np.array([1.0, 0.93, 0.74], dtype=np.float32)


@dataclass(frozen=True)
class Look:
    """How a moment is lit; colours are RGB in 0..255, every field blends linearly."""

    sun_height: float
    """Sine of the sun's elevation."""
    ambient: float
    diffuse: float
    tint: tuple[float, float, float]
    """Colour of the light as a factor per channel."""
    saturation: float
    sky_top: tuple[float, float, float]
    sky_low: tuple[float, float, float]
    glow: tuple[float, float, float]
    """Added to the sky around the sun's direction."""
    haze: tuple[float, float, float]
    """What distance fades into."""
    density: float
    """Extinction of the haze, 1/m."""
    lamps: float
    """0 = off, 1 = windows, street lamps and headlights are on."""
    rain: float
    """0 = none, 1 = streaks in the air."""
    wet: float
    """0 = dry, 1 = a road that mirrors the sky."""


def blend(a: Look, b: Look, weight: float) -> Look:
    """Return the look ``weight`` of the way from ``a`` to ``b``."""
    if weight <= 0 or a == b:
        return a
    if weight >= 1:
        return b
    mixed = {}
    for name, x in a.__dict__.items():
        y = getattr(b, name)
        if isinstance(x, tuple):
            mixed[name] = tuple(p + (q - p) * weight for p, q in zip(x, y, strict=True))
        else:
            mixed[name] = x + (y - x) * weight
    return Look(**mixed)


_CLEAR = {
    "day": Look(0.80, 0.55, 0.55, (1.06, 1.03, 0.98), 1.1, (70, 135, 225), (185, 215, 245), (20, 15, 5),
                (190, 212, 235), 0.005, 0.0, 0.0, 0.0),
    "dusk": Look(0.30, 0.42, 0.62, (1.05, 0.66, 0.50), 1.15, (72, 62, 128), (250, 140, 62), (60, 50, 10),
                 (215, 125, 85), 0.007, 0.75, 0.0, 0.0),
    "night": Look(0.70, 0.60, 0.30, (0.17, 0.20, 0.36), 0.9, (5, 7, 24), (20, 24, 58), (0, 0, 0),
                  (14, 17, 42), 0.010, 1.0, 0.0, 0.0),
}  # fmt: skip
_RAIN = {
    "day": Look(0.80, 0.72, 0.18, (0.62, 0.66, 0.72), 0.5, (105, 113, 124), (150, 157, 166), (0, 0, 0),
                (140, 147, 157), 0.016, 0.15, 1.0, 1.0),
    "dusk": Look(0.30, 0.66, 0.22, (0.62, 0.46, 0.44), 0.6, (66, 56, 72), (150, 104, 88), (12, 6, 2),
                 (128, 92, 84), 0.016, 0.85, 1.0, 1.0),
    "night": Look(0.70, 0.66, 0.20, (0.16, 0.18, 0.26), 0.6, (24, 27, 36), (38, 42, 54), (0, 0, 0),
                  (32, 36, 47), 0.018, 1.0, 1.0, 1.0),
}  # fmt: skip
_FOG = {
    "day": Look(0.80, 0.75, 0.20, (0.95, 0.96, 0.98), 0.7, (196, 202, 208), (212, 216, 220), (0, 0, 0),
                (210, 214, 218), 0.050, 0.1, 0.0, 0.0),
    "dusk": Look(0.30, 0.68, 0.24, (0.95, 0.66, 0.52), 0.75, (176, 128, 116), (216, 154, 116), (15, 10, 0),
                 (208, 148, 116), 0.050, 0.7, 0.0, 0.0),
    "night": Look(0.70, 0.66, 0.20, (0.22, 0.24, 0.32), 0.6, (44, 48, 60), (66, 70, 84), (0, 0, 0),
                  (64, 68, 82), 0.055, 1.0, 0.0, 0.0),
}  # fmt: skip


def look_of(time: str, weather: str) -> Look:
    """Return the look of a time of day in a weather."""
    return {"clear": _CLEAR, "rain": _RAIN, "fog": _FOG}[weather][time]


class Lens:
    """What depends on the camera's geometry alone: where each pixel points.

    Args:
        height, width: Frame size in pixels.
        focal: Focal length in pixels.
        pitch: Pitch of the camera in radians.
        headlights: Whether it looks where the headlights shine.
    """

    def __init__(self, height: int, width: int, focal: float, pitch: float, headlights: bool = True) -> None:
        row = (np.arange(height, dtype=np.float32) + 0.5 - height / 2)[:, None] / focal
        column = (np.arange(width, dtype=np.float32) + 0.5 - width / 2)[None, :] / focal
        up = np.sin(pitch) - row * np.cos(pitch)  # tangent-like height of each row's ray
        self.shape = (height, width)
        self.rise = np.clip(up / 0.9, 0, 1).astype(np.float32)[..., None]  # (H, 1, 1), how high a row looks
        self.azimuth = np.arctan2(-column, np.cos(pitch)).astype(np.float32)  # (1, W), left positive
        self.grazing = np.exp(np.clip(up, -1, 0) * 4).astype(np.float32)  # (H, 1), how flat a row meets the road
        beam = np.exp(-((column / 0.55) ** 2)) * np.clip(1 - (row - 0.25) ** 2 / 0.5, 0, 1) * (row > -0.12)
        self.beam = (beam * headlights).astype(np.float32)  # (H, W), where headlights reach


def compose(
    view: View, look: Look, lens: Lens, sun_azimuth: float, ground: int, rain_key: tuple[int, ...]
) -> np.ndarray:
    """Return the frame (H, W, 3) uint8 of a view in a look.

    Args:
        view: What the camera saw under white light.
        look: Time of day and weather.
        lens: Geometry of the camera that took the view.
        sun_azimuth: Direction of the sun relative to the camera's, radians, left positive.
        ground: Id of the body that the rain makes shine.
        rain_key: Seed, step and camera, which decide where the streaks fall.
    """
    albedo = view.rgb.astype(np.float32)  # (H, W, 3)
    color = albedo
    if look.saturation != 1.0:
        grey = (albedo @ _LUMA)[..., None]
        color = albedo - grey
        color *= np.float32(look.saturation)
        color += grey
    light = np.array(look.tint, dtype=np.float32)
    if look.lamps > 0:
        reach = lens.beam * np.exp(view.depth * np.float32(-0.055))  # (H, W)
        beam = _BEAM * np.float32(1.0 * look.lamps * max(0.0, 1.0 - light.mean()))
        color = color * (light + reach[..., None] * beam)
        red, green, blue = albedo[..., 0], albedo[..., 1], albedo[..., 2]
        lit = blue > red * 1.2
        color[lit] += (_LAMP - color[lit]) * np.float32(0.75 * look.lamps)
        tail = red > green * 5
        color[tail] += (_TAIL - color[tail]) * np.float32(0.9 * look.lamps)
    else:
        color = color * light
    shining = (albedo[..., 2] == 0) | (albedo[..., 0] == 0)
    if shining.any():
        brightest = albedo[shining].max(axis=1, keepdims=True).clip(1)  # black stays black
        color[shining] = albedo[shining] * (np.float32(255) / brightest)
    low, haze = np.array(look.sky_low, np.float32), np.array(look.haze, np.float32)
    if look.wet > 0:
        wet = lens.grazing * (view.body == ground) * np.float32(0.55 * look.wet)
        color += (low - color) * wet[..., None]
    clearness = np.exp(view.depth * np.float32(-look.density))[..., None]
    color -= haze
    color *= clearness
    color += haze
    sky = low + (np.array(look.sky_top, np.float32) - low) * lens.rise  # (H, 1 or W, 3)
    if any(look.glow):
        away = np.cos(lens.azimuth - np.float32(sun_azimuth))  # (1, W)
        sky = sky + np.array(look.glow, np.float32) * (np.clip(away, 0, 1) ** 4)[..., None] * (1 - lens.rise)
    color = _through_lens(np.where((view.body < 0)[..., None], sky, color), view.depth)
    if look.rain > 0:
        _streaks(color, look.rain, rain_key)
    np.clip(color, 0, 255, out=color)
    return color.astype(np.uint8)


def _through_lens(color: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Return the frame as a lens would spread it: the renderer samples one ray per pixel, a camera gathers an area.

    What is far holds more detail per pixel, so it is spread more: 60% of a [1, 2, 1] / 4 blur nearby, 85% beyond 30 m.
    """
    padded = np.concatenate([color[:1], color, color[-1:]])
    padded = np.concatenate([padded[:, :1], padded, padded[:, -1:]], axis=1)  # (H + 2, W + 2, 3)
    rows = 2 * padded[1:-1]  # (H, W + 2, 3)
    rows += padded[:-2]
    rows += padded[2:]
    spread = 2 * rows[:, 1:-1]  # (H, W, 3)
    spread += rows[:, :-2]
    spread += rows[:, 2:]
    spread *= np.float32(1 / 16)
    share = np.clip(depth * np.float32(0.01) + np.float32(0.55), 0.6, 0.85)[..., None]
    spread -= color
    spread *= share
    spread += color
    return spread


def _streaks(color: np.ndarray, rain: float, key: tuple[int, ...]) -> None:
    """Draw about a dozen short falling streaks into a frame of at least 32 pixels, in place."""
    height, width, _ = color.shape
    rng = np.random.default_rng(key)
    length = max(3, height // 14)
    count = 11 * max(1, width // 64)
    x = rng.integers(0, width, count)
    y = rng.integers(0, height - length, count)
    rows = (y[:, None] + np.arange(length)).ravel()
    color[rows, np.repeat(x, length)] += np.float32(24 * rain)
