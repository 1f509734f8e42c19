"""Read the state of a scene from its frames alone: where every coloured object is, or why it is not seen.

Objects are saturated and of hues far apart, surroundings are grey. A pixel's hue therefore says whose it is under any
light; how much grey is mixed in says what share of it the object covers, which gives centroids below a pixel on soft
edges too. What is known in advance is what the model was shown: colours, sizes, the camera, and the context's state.

Nothing is filled in: an object that is not seen has no position, and a status that says whether it is hidden behind
something, outside the frame, or missing where it ought to be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from worldsim.errors import EnvError
from worldsim.evaluate.physics.clip import NEUTRAL, Body, Clip
from worldsim.evaluate.physics.geometry import (
    ball_to_pixel,
    ball_to_world,
    depth_of,
    outline_radius,
    pixel_middles,
    project,
    to_world,
)
from worldsim.evaluate.physics.outline import Outline, box_outline, turned
from worldsim.evaluate.physics.track import Filters, assign

__all__ = ["HIDDEN", "MISSING", "OUTSIDE", "SEEN", "SLIGHT", "Tracks", "extract", "reference_pixels"]

SEEN, HIDDEN, OUTSIDE, MISSING = range(4)
"""Status of an object in a frame: seen; behind something; out of the frame; not there though it ought to be seen."""
GHOST = 0.35
"""Share of an object's area from which a blob that belongs to nobody counts as one more object."""
_FAINT = 24.0  # levels of chroma from which a pixel is coloured, in a frame without noise
_NOISY = 3.0  # levels of noise from which frames are smoothed first
SLIGHT = 0.2
"""Share of an object's area below which what is seen of it tells no position."""
_DARK = 112.0  # brightest level of screens, hands and rods, which hide things
_DIM = 160.0  # the same of borders, which are brighter than that nowhere and darker than the floor
_BEHIND = 0.02  # m farther off, from which an object hides nothing of another
_DARKENED = 0.2  # of a frame
_HIDING = 0.4  # of an object's outline that is covered where it is hidden
_GREY = 180.0  # level of the surroundings where a blob has no grey neighbours
_WHOLE = 0.97  # of an outline in view, from which an object counts as seen whole
_FITS = 0.95  # overlap with a box's outline, from which its turn is not searched
_TURNS = (0.16, 0.08, 0.04)  # rad, steps of the search
_RIGHT, _UP = np.array([1.0, -0.5, -0.5]), np.array([0.0, 3**0.5 / 2, -(3**0.5) / 2])
_ALIKE = np.zeros((3, 3, 3), bool)
_ALIKE[1] = True  # neighbours in a frame, never between frames


@dataclass(frozen=True, kw_only=True)
class Tracks:
    """Where N objects are in F frames."""

    names: tuple[str, ...]
    px: np.ndarray
    """(F, N, 2) centre (u, v) in pixels; NaN unless seen."""
    world: np.ndarray
    """(F, N, 3) centre in metres, in the plane in which the object moves; NaN unless seen."""
    status: np.ndarray
    """(F, N) uint8: SEEN, HIDDEN, OUTSIDE or MISSING."""
    area: np.ndarray
    """(F, N) pixels that are seen of it, 0 if none."""
    size: np.ndarray
    """(F, N) area over what should be seen of it there; NaN unless half of it is in view."""
    swapped: np.ndarray
    """(F, N) bool: what moves on in the object's place has another colour, for at least three frames."""
    ghosts: np.ndarray
    """(F,) blobs as large as an object that belong to none."""
    labels: np.ndarray
    """(F, H, W) uint8: 1 + index of the object that a pixel shows; 0 none."""

    @property
    def visible(self) -> np.ndarray:
        """(F, N) bool: seen."""
        return self.status == SEEN


@dataclass(frozen=True)
class _Blobs:
    """Connected coloured parts of one frame."""

    hue: np.ndarray  # (M,) index among hues
    area: np.ndarray  # (M,) px
    px: np.ndarray  # (M, 2)
    pixels: list[np.ndarray]  # M arrays of indices into the flat frame


def _hues(clip: Clip) -> tuple[str, ...]:
    """Return the names of the saturated colours of a clip's palette, in the order of their hue."""
    names = [name for name, rgb in clip.palette.items() if (max(rgb) - min(rgb)) / max(*rgb, 1) > NEUTRAL]
    return tuple(sorted(names, key=lambda name: _hue_angle(np.array(clip.palette[name], float))))


def _hue_angle(rgb: np.ndarray) -> np.ndarray:
    return np.arctan2(rgb @ _UP, rgb @ _RIGHT) % (2 * np.pi)


def reference_pixels(clip: Clip, body: Body) -> np.ndarray:
    """Return where the middle of a body's outline truly is, (F, 2): its state through the camera."""
    pos = clip.state[body.name][:, :3]
    if body.shape == "ball":
        return ball_to_pixel(pos, body.radius, clip.K, clip.c2w)
    return project(pos, clip.K, clip.c2w)


def extract(frames: np.ndarray, clip: Clip) -> Tracks:
    """Follow the objects of a clip through frames of it, true or imagined.

    Args:
        frames: (F, H, W, 3) uint8; usually ``clip.with_future(imagined)``.
        clip: Says what is known: palette, bodies, camera, and the state in the context. Nothing behind it is read.

    Raises:
        EnvError: If the clip names no objects or does not say where they are in the context, or the frames are not of
            its kind.
    """
    bodies = clip.objects
    if not bodies:
        raise EnvError(f"{clip.env_id} names no coloured bodies, so that nothing can be followed in its frames")
    if frames.shape != clip.frames.shape or frames.dtype != np.uint8:
        raise EnvError(f"extract needs {clip.frames.shape} uint8 frames; got {frames.shape} {frames.dtype}")
    for body in bodies:
        if not np.isfinite(clip.state[body.name][: clip.num_context, :3]).all():
            raise EnvError(f"the state of {body.name!r} must be known in the context's {clip.num_context} frames")
    return _Extraction(frames, clip).run()


class _Extraction:
    """One clip's frames while they are read."""

    def __init__(self, frames: np.ndarray, clip: Clip) -> None:
        self.clip, self.bodies = clip, clip.objects
        self.num_frames, self.height, self.width = frames.shape[:3]
        self.u, self.v = pixel_middles(self.height, self.width)
        names = _hues(clip)
        self.hue_of = np.array([names.index(body.color) for body in self.bodies])
        self.coverage, self.hue, self.dark, self.dim = _read_pixels(frames, clip, names)
        for shade in (self.dark, self.dim):  # what darkens a whole frame hides nothing in it
            share = shade.mean(axis=(1, 2))
            shade[share > 2 * share[: clip.num_context].max() + _DARKENED] = False
        self.blobs = _find_blobs(self.coverage, self.hue, self.u.ravel(), self.v.ravel())
        self.grid = _disc_points()
        self._free_of, self._free_now = (-1, -1), self.dark[0]  # of the last frame and object that were asked for

    def run(self) -> Tracks:
        num, frames = len(self.bodies), self.num_frames
        shape = (frames, num)
        px, status = np.full((*shape, 2), np.nan), np.full(shape, MISSING, np.uint8)
        area, share = np.zeros(shape), np.full(shape, np.nan)
        color = np.full(shape, -1)  # index among hues of what is found where the motion leads
        ghosts, labels = np.zeros(frames, int), np.zeros((frames, self.height * self.width), np.uint8)

        known = np.stack([reference_pixels(self.clip, body)[0] for body in self.bodies])  # (N, 2)
        by_color, by_place = Filters(known), Filters(known)
        self.turns = [self._known_turn(k, 0) for k in range(num)]  # (3, 3) each
        self.turning = np.zeros(num)  # rad in the last frame
        self.areas = np.array([self._begin_area(k, known[k]) for k in range(num)])  # px of each as a whole
        last_status = np.full(num, SEEN)
        for t in range(frames):
            if t:
                expected, carried = by_color.predict(), by_place.predict()
            else:
                expected, carried = known, known
            self.depths = np.array([self._depth(k, t, expected[k]) for k in range(num)])  # m, of each
            blobs = self.blobs[t]
            owned, num_ghosts = self._owned(blobs, expected)
            ghosts[t] = num_ghosts
            for k in range(num):
                parts = owned[k]
                area[t, k] = blobs.area[parts].sum() if parts else 0.0
                if self.bodies[k].shape == "ball":
                    self.areas[k] = np.pi * self._ball_radius_px(k, t, expected[k]) ** 2
                if area[t, k] < SLIGHT * self.areas[k]:
                    status[t, k] = self._why_unseen(t, k, expected[k], last_status[k], area[t, k] > 0)
                    continue
                px[t, k], shown = self._centre(t, k, blobs, parts)
                status[t, k] = SEEN
                labels[t, np.concatenate([blobs.pixels[m] for m in parts])] = k + 1
                if shown > 0.5:
                    share[t, k] = area[t, k] / (self.areas[k] * shown)
                by_color.update(k, px[t, k])
            last_status = status[t]
            color[t] = self._followed(blobs, carried, by_place)
        world = np.stack([self._world(k, px[:, k]) for k in range(num)], axis=1)
        return Tracks(
            names=tuple(body.name for body in self.bodies),
            px=px,
            world=world,
            status=status,
            area=area,
            size=share,
            swapped=_lasting((color >= 0) & (color != self.hue_of), 3),
            ghosts=ghosts,
            labels=labels.reshape(frames, self.height, self.width),
        )

    # ---- what is expected

    def _depth(self, k: int, t: int, px: np.ndarray) -> float:
        """Return how far off an object is whose middle is seen at a pixel, metres."""
        clip, body = self.clip, self.bodies[k]
        place = to_world(px, clip.K, clip.c2w[t], self._plane_point(k), np.array(clip.normal))
        depth = float(depth_of(place, clip.c2w[t]))
        near = not np.isfinite(depth) or depth < 2 * body.radius
        return float(depth_of(self._plane_point(k), clip.c2w[t])) if near else depth

    def _ball_radius_px(self, k: int, t: int, px: np.ndarray) -> float:
        return float(outline_radius(np.array(self._depth(k, t, px)), self.bodies[k].radius, self.clip.K))

    def _plane_point(self, k: int) -> np.ndarray:
        return self.clip.state[self.bodies[k].name][self.clip.num_context - 1, :3]

    def _known_turn(self, k: int, t: int) -> np.ndarray:
        """Return how a box is turned in a frame of the context, (3, 3); how a ball is cannot be seen."""
        if self.bodies[k].shape == "ball":
            return np.eye(3)
        return Rotation.from_quat(self.clip.state[self.bodies[k].name][t, 3:7]).as_matrix()

    def _begin_area(self, k: int, px: np.ndarray) -> float:
        """Return how many pixels an object covers as a whole in the first frame."""
        if self.bodies[k].shape == "ball":
            return np.pi * self._ball_radius_px(k, 0, px) ** 2
        outline = self._outline(k, 0, px, self.turns[k])
        return outline.area if outline else 1.0

    def _outline(self, k: int, t: int, px: np.ndarray, turn: np.ndarray) -> Outline | None:
        clip = self.clip
        centre = to_world(px, clip.K, clip.c2w[t], self._plane_point(k), np.array(clip.normal))
        return box_outline(centre, turn, self.bodies[k].half, clip.K, clip.c2w[t])

    # ---- whose blob

    def _owned(self, blobs: _Blobs, expected: np.ndarray) -> tuple[list[list[int]], int]:
        """Return the blobs of every object, and how many of an object's size are left over."""
        owned: list[list[int]] = [[] for _ in self.bodies]
        num_ghosts = 0
        smallest = self.areas.min()
        for hue in np.unique(blobs.hue):
            parts = np.flatnonzero((blobs.hue == hue) & (blobs.area >= 0.05 * smallest))
            mine = np.flatnonzero(self.hue_of == hue)
            if len(mine):
                reach = np.sqrt(self.areas[mine] / np.pi)  # (n,) px
                away = np.linalg.norm(blobs.px[parts][None] - expected[mine][:, None], axis=-1)  # (n, M)
                odd = np.abs(np.log(np.clip(blobs.area[parts][None] / self.areas[mine][:, None], 0.05, 20)))
                for row, column in assign(away / reach[:, None] + odd):
                    owned[mine[row]].append(int(parts[column]))
            taken = {m for group in owned for m in group}
            for m in parts.tolist():
                if m in taken:
                    continue
                home = next((k for k in mine.tolist() if self._belongs(blobs, owned[k], m, k)), None)
                if home is not None:
                    owned[home].append(m)
                elif blobs.area[m] >= GHOST * smallest:
                    num_ghosts += 1
        return owned, num_ghosts

    def _belongs(self, blobs: _Blobs, parts: list[int], m: int, k: int) -> bool:
        """Return whether a blob is a further piece of an object that something in front cuts in two."""
        if not parts:
            return False
        reach = 1.5 * np.sqrt(self.areas[k] / np.pi) * (1.0 if self.bodies[k].shape == "ball" else 1.5)
        near = np.linalg.norm(blobs.px[m] - blobs.px[parts[0]]) < reach
        return bool(near and blobs.area[parts].sum() + blobs.area[m] < 1.3 * self.areas[k])

    def _followed(self, blobs: _Blobs, carried: np.ndarray, filters: Filters) -> np.ndarray:
        """Follow by place alone and return the hue of what is found, (N,)."""
        found = np.full(len(self.bodies), -1)
        large = np.flatnonzero(blobs.area >= GHOST * self.areas.min())
        if not len(large):
            return found
        reach = np.sqrt(self.areas / np.pi)
        away = np.linalg.norm(blobs.px[large][None] - carried[:, None], axis=-1)  # (N, M)
        other = blobs.hue[large][None] != self.hue_of[:, None]
        limit = np.maximum(1.5 * reach, 3 * np.minimum(filters.spread(), 4.0))
        cost = np.where(away <= limit[:, None], away + 0.6 * reach[:, None] * other, 1e6)
        for k, column in assign(cost, 1e5):
            found[k] = blobs.hue[large[column]]
            filters.update(k, blobs.px[large[column]])
        return found

    # ---- where exactly

    def _in_view(self, t: int, k: int, points: np.ndarray, middle: float) -> np.ndarray:
        """Return which points of the image could show object k: inside, and nothing in front of it; (P,) bool.

        In front are dark things, other objects, and what is as dim as a border and lower in the image than the middle
        of the object, in row ``middle``: what is lower on a floor is nearer.
        """
        column, row = np.floor(points[:, 0]).astype(int), np.floor(points[:, 1]).astype(int)
        inside = (column >= 0) & (column < self.width) & (row >= 0) & (row < self.height)
        column, row = np.where(inside, column, 0), np.where(inside, row, 0)
        return inside & self._free(t, k)[row, column] & ~(self.dim[t][row, column] & (points[:, 1] > middle))

    def _free(self, t: int, k: int) -> np.ndarray:
        """Return which pixels show nothing that may stand in front of object k, dim things left out, (H, W) bool."""
        if self._free_of != (t, k):
            self._free_of = (t, k)
            self._free_now = ~(self.dark[t] | self._others(t, k))
        return self._free_now

    def _others(self, t: int, k: int) -> np.ndarray:
        """Return where something of another colour is that may stand in front: not of an object that is farther off."""
        hue = self.hue[t]
        behind = np.append(self.hue_of[self.depths > self.depths[k] + _BEHIND], self.hue_of[k])
        return (hue >= 0) & ~np.isin(hue, behind) & (self.coverage[t] > 0.5)

    def _centre(self, t: int, k: int, blobs: _Blobs, parts: list[int]) -> tuple[np.ndarray, float]:
        """Return where an object's middle is seen and which share of it is in view."""
        weight = blobs.area[parts]
        seen = weight @ blobs.px[parts] / weight.sum()
        if self.bodies[k].shape == "ball":
            return self._settled(t, k, seen, self.grid * np.sqrt(self.areas[k] / np.pi))
        own = np.zeros_like(self.coverage[t])
        pixels = np.concatenate([blobs.pixels[m] for m in parts])
        own.flat[pixels] = self.coverage[t].flat[pixels]
        return self._fitted_box(t, k, seen, own)

    def _settled(self, t: int, k: int, seen: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the middle from which an outline's points in view have the centroid that is seen, and their share.

        A fixed point; with all points in view it is the centroid less that of the points.
        """
        centre = seen - points.mean(axis=0)
        share = float(self._in_view(t, k, centre + points, centre[1]).mean())
        if share > _WHOLE:
            return centre, 1.0
        begun = centre.copy()
        for _ in range(15):
            open_now = self._in_view(t, k, centre + points, centre[1])
            if not open_now.any():
                return begun, share
            share = float(open_now.mean())
            shift = seen - (centre + points[open_now].mean(axis=0))
            centre += shift
            if np.abs(shift).max() < 0.01:
                break
        lost = np.linalg.norm(centre - begun) > np.sqrt(self.areas[k] / np.pi)
        return (begun if lost else centre), share

    def _fitted_box(self, t: int, k: int, seen: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the same for a box, turned so that its outline covers most of what is seen and little else.

        Args:
            t, k: Frame and object.
            seen: (2,) centroid of its pixels.
            own: (H, W) which share of each pixel is the box.
        """
        normal, total = np.array(self.clip.normal), own.sum()
        best: tuple[float, np.ndarray, float, float] = (-1.0, seen, 1.0, self.areas[k])
        found = 0.0

        def attempt(angle: float) -> bool:
            nonlocal best, found
            outline = self._outline(k, t, seen, turned(turn, normal, angle))
            if outline is None:
                return False
            centre, share = self._settled(t, k, seen, outline.points)
            left, top = np.maximum(np.floor(centre + outline.low).astype(int), 0)
            right, bottom = np.maximum(np.ceil(centre + outline.high).astype(int), 0)
            part = (slice(top, bottom), slice(left, right))
            v = self.v[part]
            inside = outline.holds(self.u[part] - centre[0], v - centre[1])
            both = own[part][inside].sum()
            free = self._free(t, k)[part] & ~(self.dim[t][part] & (v > centre[1]))
            overlap = both / max(total + (free & inside).sum() - both, 1.0)
            if overlap <= best[0]:
                return False
            best, found = (overlap, centre, share, outline.area), angle
            return True

        if t < self.clip.num_context:
            turn = self._known_turn(k, t)
            attempt(0.0)
        else:
            turn = self.turns[k]
            attempt(self.turning[k])
            attempt(0.0)
            for step in _TURNS if best[0] < _FITS and best[2] > 0.4 else ():
                for sign in (1, -1):
                    while abs(found) < 0.6 and attempt(found + sign * step):
                        pass
        if best[0] > 0:
            self.turning[k] = found if t >= self.clip.num_context else 0.0
            self.turns[k], self.areas[k] = turned(turn, normal, found), best[3]
        return best[1], best[2]

    def _why_unseen(self, t: int, k: int, px: np.ndarray, before: int, some: bool) -> int:
        radius = np.sqrt(self.areas[k] / np.pi)
        if not (0 <= px[0] < self.width and 0 <= px[1] < self.height):
            return OUTSIDE
        points = px + self.grid * radius
        inside = (points >= 0).all(1) & (points[:, 0] < self.width) & (points[:, 1] < self.height)
        hiding = 1.0 - self._in_view(t, k, points, px[1])[inside].mean()
        return HIDDEN if hiding >= _HIDING * (0.5 if some or before == HIDDEN else 1.0) else MISSING

    # ---- in metres

    def _world(self, k: int, px: np.ndarray) -> np.ndarray:
        clip, body = self.clip, self.bodies[k]
        plane = (self._plane_point(k), np.array(clip.normal))
        if body.shape == "ball":
            return ball_to_world(px, body.radius, clip.K, clip.c2w, *plane)
        return to_world(px, clip.K, clip.c2w, *plane)


# ---- pixels


def _read_pixels(frames: np.ndarray, clip: Clip, names: tuple[str, ...]) -> tuple[np.ndarray, ...]:
    """Return which share of every pixel is coloured, of which hue (-1 none), if it is dark, if dim; (F, H, W) each."""
    rgb = frames.astype(np.float32)
    noise = _noise_of(rgb)
    if noise > _NOISY:
        rgb = ndimage.gaussian_filter(rgb, (0, 0.9, 0.9, 0))
        noise *= 0.35
    red, green, blue = np.moveaxis(rgb, -1, 0)  # (F, H, W) each
    high, low = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    chroma = high - low
    is_colored = chroma > _FAINT + 4 * noise
    palette = np.array([clip.palette[name] for name in names], float)
    apart = (_hue_angle(rgb[is_colored])[:, None] - _hue_angle(palette) + np.pi) % (2 * np.pi) - np.pi  # (pixels, hues)
    hue = np.full(high.shape, -1)
    hue[is_colored] = np.abs(apart).argmin(axis=-1)
    # A pixel is a share a of the object, s (m + C hue), and 1 - a of grey g: low = a s m + (1 - a) g, chroma = a s C.
    whiteness = float(np.median(palette.min(axis=1) / (palette.max(axis=1) - palette.min(axis=1))))
    grey = ndimage.uniform_filter(np.where(is_colored, 0, high), 5, axes=(1, 2))
    shares = ndimage.uniform_filter((~is_colored).astype(np.float32), 5, axes=(1, 2))
    around = np.where(shares > 0.05, grey / np.maximum(shares, 0.05), _GREY)
    coverage = np.clip(1 - (low - whiteness * chroma) / np.maximum(around, 30), 0, 1)
    return np.where(is_colored, coverage, 0.0), hue, (high < _DARK) & ~is_colored, (high < _DIM) & ~is_colored


def _noise_of(rgb: np.ndarray) -> float:
    """Return the standard deviation of a clip's pixel noise in levels, from its flat regions (Immerkaer 1996)."""
    green = rgb[:: max(1, len(rgb) // 8), :, :, 1]
    kernel = np.outer([1, -2, 1], [1, -2, 1])[None]
    return float(np.median(np.abs(ndimage.convolve(green, kernel.astype(np.float32)))) / 0.6745 / 6)


def _find_blobs(coverage: np.ndarray, hue: np.ndarray, u: np.ndarray, v: np.ndarray) -> list[_Blobs]:
    """Return the connected parts of one hue in every frame."""
    num_frames = len(hue)
    found: list[list[tuple[int, float, np.ndarray, np.ndarray]]] = [[] for _ in range(num_frames)]
    size = u.size
    for h in np.unique(hue[hue >= 0]).tolist():
        labels, count = ndimage.label(hue == h, structure=_ALIKE)  # pyright: ignore[reportGeneralTypeIssues]
        if not count:
            continue
        where = np.flatnonzero(labels)
        order = np.argsort(labels.ravel()[where], kind="stable")
        where = where[order]
        ends = np.cumsum(np.bincount(labels.ravel()[where])[1:])
        for pixels in np.split(where, ends[:-1]):
            frame, inner = divmod(int(pixels[0]), size)[0], pixels % size
            weight = coverage[frame].ravel()[inner]
            total = float(weight.sum())
            if total < 2:
                continue
            x, y = u[inner], v[inner]
            px = np.array([weight @ x, weight @ y]) / total
            found[frame].append((h, total, px, inner))
    return [
        _Blobs(
            hue=np.array([blob[0] for blob in blobs], int),
            area=np.array([blob[1] for blob in blobs], float),
            px=np.array([blob[2] for blob in blobs], float).reshape(-1, 2),
            pixels=[blob[3] for blob in blobs],
        )
        for blobs in found
    ]


def _disc_points() -> np.ndarray:
    """Return points that fill a disc of radius 1 evenly, (P, 2)."""
    side = (np.arange(24) + 0.5) / 12 - 1
    x, y = np.meshgrid(side, side)
    inside = x**2 + y**2 < 1
    return np.stack([x[inside], y[inside]], axis=1)


def _lasting(flags: np.ndarray, num: int) -> np.ndarray:
    """Return flags (F, N) that belong to runs of at least ``num`` frames."""
    ones = np.ones((num, 1), bool)
    return ndimage.binary_opening(flags, ones) if len(flags) >= num else np.zeros_like(flags)
