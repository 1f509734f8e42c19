"""Building footprints from a local GeoJSON file (RFC 7946), such as an extract of OpenStreetMap: metres, with heights.

Nothing is downloaded. Longitude and latitude become metres east and north of the middle of all buildings by an
equirectangular projection, which is exact to a few centimetres within a kilometre.
"""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from shapely.geometry import Polygon
from shapely.geometry.polygon import orient

from worldsim.errors import EnvError

__all__ = ["DEFAULT_HEIGHT", "Footprint", "read_footprints"]

DEFAULT_HEIGHT = 9.0  # m, of a building that says nothing of its height
_LEVEL = 3.0  # m
_RADIUS = 6_371_008.8  # m, mean radius of the earth
_HIGHEST = 900.0  # m
_WIDEST = 20_000.0  # m, beyond which the projection is no longer good
_SIMPLE = 0.3  # m, how far an outline may be straightened
_LEAST = 4.0  # m2, smaller ones are left out
_METRES = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:m|metres|meters)?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Footprint:
    """The outline of one building on the ground."""

    points: tuple[tuple[float, float], ...]
    """Corners in metres (east, north), counterclockwise, the first one not repeated."""
    height: float
    """Metres."""
    name: str = ""


def read_footprints(path: str | Path) -> tuple[Footprint, ...]:
    """Read the buildings of a GeoJSON file.

    Buildings are the polygons whose property ``building`` is set and not ``no``; if no feature has that property, all
    polygons. A height is ``height`` in metres, else ``building:levels`` times 3 m, else 9 m. Courtyards are filled.
    What cannot be used (outlines that cross themselves or are smaller than 4 m2, heights that are no number) is named
    in one warning.

    Raises:
        EnvError: If the file cannot be read, is not GeoJSON in degrees, or holds no building.
    """
    path = Path(path)
    features = list(_features(_loaded(path), path))
    has_tag = any("building" in properties for _, properties in features)
    chosen = [
        (where, ring, properties)
        for where, (geometry, properties) in enumerate(features)
        if not has_tag or properties.get("building") not in (None, "", "no")
        for ring in _rings(geometry, f"{path}, feature {where}")
    ]
    if not chosen:
        kinds = sorted({str(geometry.get("type")) for geometry, _ in features})
        raise EnvError(
            f"{path} holds no building: it has {len(features)} features ({', '.join(kinds) or 'none'}); "
            "footprints are Polygons or MultiPolygons"
        )
    rings = _in_metres([ring for _, ring, _ in chosen], path)
    faults: list[str] = []
    footprints = []
    for (where, _, properties), ring in zip(chosen, rings, strict=True):
        shape = Polygon(ring)
        if not shape.is_valid:
            faults.append(f"feature {where} crosses itself")
            continue
        simple: Any = shape.simplify(_SIMPLE)  # a polygon again, whatever the signature says
        shape = orient(simple)
        if shape.area < _LEAST:
            faults.append(f"feature {where} is smaller than {_LEAST:g} m2")
            continue
        height, fault = _height(properties)
        if fault:
            faults.append(f"feature {where}: {fault}")
        points = tuple((round(x, 3), round(y, 3)) for x, y in list(shape.exterior.coords)[:-1])
        footprints.append(Footprint(points, height, str(properties.get("name") or "")))
    if not footprints:
        raise EnvError(f"{path} holds no building that can be used: {_listed(faults)}")
    if faults:
        warnings.warn(f"{path}: {_listed(faults)}", UserWarning, stacklevel=2)
    return tuple(footprints)


def _loaded(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise EnvError(f"cannot read footprints from {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise EnvError(f"{path} is not GeoJSON: it is not UTF-8 text") from None
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise EnvError(f"{path} is not GeoJSON: line {error.lineno}: {error.msg}") from None
    except RecursionError:
        raise EnvError(f"{path} is not GeoJSON: it is nested too deep") from None
    if not isinstance(data, Mapping) or "type" not in data:
        raise EnvError(f"{path} is not GeoJSON: it needs an object with a type, such as FeatureCollection")
    system = json.dumps(data.get("crs")) if data.get("crs") else ""
    if system and not re.search(r"CRS84|EPSG:+4326", system):
        raise EnvError(f"{path} is not in longitude and latitude: its crs is {system}; convert it to EPSG:4326 first")
    return data


def _features(data: Mapping[str, Any], path: Path) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Yield geometry and properties of every feature that has a geometry."""
    kind = data["type"]
    if kind == "FeatureCollection":
        features = data.get("features")
        if not isinstance(features, list):
            raise EnvError(f"{path} is not GeoJSON: its features must be a list; got {type(features).__name__}")
    elif kind == "Feature":
        features = [data]
    elif "coordinates" in data:
        features = [{"geometry": data}]
    else:
        raise EnvError(
            f"{path}: its type must be FeatureCollection, Feature or a geometry with coordinates; got {kind!r}"
        )
    for where, feature in enumerate(features):
        if not isinstance(feature, Mapping):
            raise EnvError(f"{path}, feature {where}: must be an object; got {type(feature).__name__}")
        geometry, properties = feature.get("geometry") or {}, feature.get("properties") or {}
        for name, value in (("geometry", geometry), ("properties", properties)):
            if not isinstance(value, Mapping):
                raise EnvError(f"{path}, feature {where}: its {name} must be an object; got {value!r:.60}")
        yield geometry, properties


def _rings(geometry: Mapping[str, Any], where: str) -> Iterator[np.ndarray]:
    """Yield the outer ring of every polygon as (K, 2) degrees."""
    kind, coordinates = geometry.get("type"), geometry.get("coordinates")
    if kind not in ("Polygon", "MultiPolygon"):
        return
    polygons: Any = [coordinates] if kind == "Polygon" else coordinates or []
    if not isinstance(polygons, list):
        raise EnvError(f"{where}: the coordinates of a MultiPolygon must be a list; got {polygons!r:.60}")
    for polygon in polygons:
        try:
            ring = np.array([position[:2] for position in polygon[0]], dtype=float)
        except (TypeError, ValueError, IndexError, KeyError, OverflowError):
            raise EnvError(f"{where}: a polygon needs rings of [longitude, latitude] positions") from None
        if ring.ndim != 2 or ring.shape[1] != 2 or len(ring) < 4:
            raise EnvError(f"{where}: a ring needs at least four positions, the last equal to the first")
        if not np.isfinite(ring).all() or (np.abs(ring) > (180, 90)).any():
            raise EnvError(
                f"{where}: positions must be longitude -180 to 180 and latitude -90 to 90 in degrees; "
                f"got {ring[0].tolist()}"
            )
        yield ring


def _in_metres(rings: list[np.ndarray], path: Path) -> list[np.ndarray]:
    low = np.min([ring.min(axis=0) for ring in rings], axis=0)
    high = np.max([ring.max(axis=0) for ring in rings], axis=0)
    centre = (low + high) / 2  # degrees
    scale = math.radians(1) * _RADIUS * np.array([math.cos(math.radians(centre[1])), 1.0])  # m per degree
    width, depth = (high - low) * scale
    if max(width, depth) > _WIDEST:
        raise EnvError(
            f"{path} spans {width / 1000:.0f} by {depth / 1000:.0f} km; "
            f"cut it to at most {_WIDEST / 1000:.0f} km a side"
        )
    return [(ring - centre) * scale for ring in rings]


def _height(properties: Mapping[str, Any]) -> tuple[float, str]:
    """Return a height in metres, and what was wrong with what the file says of it."""
    faults = []
    for name, unit in (("height", 1.0), ("building:levels", _LEVEL)):
        said = properties.get(name)
        if said in (None, ""):
            continue
        number = float(said) if _is_number(said) and abs(said) < 1e9 else float("nan")
        if isinstance(said, str) and (match := _METRES.fullmatch(said)):
            number = float(match[1])
        if 0 < number * unit <= _HIGHEST:
            return number * unit, "; ".join(faults)
        faults.append(f"{name} {said!r} is no height in metres" if unit == 1.0 else f"{name} {said!r} is no number")
    return DEFAULT_HEIGHT, "; ".join(faults)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _listed(faults: Iterable[str]) -> str:
    found = list(faults)
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return "; ".join(found[:5]) + more
