"""Footprints of a local GeoJSON file: metres, heights, clear errors, and houses of the city that stand on them."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import trimesh
from shapely.geometry import Polygon
from worldsim_envs.city import CityEnv
from worldsim_envs.city.houses import house_box, house_mesh, settled
from worldsim_envs.city.layout import Layout
from worldsim_envs.geojson import DEFAULT_HEIGHT, Footprint, read_footprints

from worldsim.errors import EnvError

QUARTER = Path(__file__).parent / "data" / "quarter.geojson"  # a made-up place
WHOLE = (0.0, 0.0, 1.0, 1.0)


def written(path, *geometries, **properties):
    features = [{"type": "Feature", "properties": properties, "geometry": geometry} for geometry in geometries]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def square(side=1e-4, at=(10.0, 50.0)):
    x, y = at
    ring = [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]
    return {"type": "Polygon", "coordinates": [ring]}


def test_a_quarter_becomes_outlines_in_metres_with_heights():
    houses = read_footprints(QUARTER)
    assert len(houses) == 18  # 17 buildings, one of two parts; neither the park nor what is tagged "no"
    by_name = {house.name: house for house in houses if house.name}
    assert by_name["Ash House"].height == 17.5 and by_name["Round Tower"].height == 44.0
    assert {house.height for house in houses} >= {12.0, 6.0, DEFAULT_HEIGHT}  # four levels, two levels, not said
    corners = np.array(by_name["Ash House"].points)
    sides = np.hypot(*(np.roll(corners, -1, axis=0) - corners).T)
    assert sorted(sides.round(1)) == [14.0, 14.0, 22.0, 22.0]
    everything = np.concatenate([house.points for house in houses])
    assert np.allclose(everything.min(axis=0) + everything.max(axis=0), 0, atol=0.2)  # about the middle


def test_every_outline_is_counterclockwise_and_closed_once():
    for house in read_footprints(QUARTER):
        ring = Polygon(house.points)
        assert ring.exterior.is_ccw and ring.is_valid and house.points[0] != house.points[-1]


def test_metres_agree_with_the_length_of_a_degree(tmp_path):
    (house,) = read_footprints(written(tmp_path / "a.json", square(1e-3, (10.0, 60.0)), building="yes"))
    points = np.array(house.points)
    width, depth = points.max(axis=0) - points.min(axis=0)
    assert depth == pytest.approx(111.195, abs=0.01)  # m per thousandth of a degree of latitude
    assert width == pytest.approx(111.195 * np.cos(np.radians(60.0005)), abs=0.01)


@pytest.mark.parametrize(
    ("properties", "height"),
    [
        ({"height": 12}, 12.0),
        ({"height": "12.5"}, 12.5),
        ({"height": "7 m", "building:levels": "9"}, 7.0),
        ({"building:levels": "3"}, 9.0),
        ({"building:levels": 2.5}, 7.5),
        ({}, DEFAULT_HEIGHT),
        ({"height": None}, DEFAULT_HEIGHT),
    ],
)
def test_a_height_is_metres_else_levels_else_nine(tmp_path, properties, height):
    (house,) = read_footprints(written(tmp_path / "a.json", square(), building="yes", **properties))
    assert house.height == height


def test_a_height_that_is_no_number_is_named_and_the_levels_are_taken(tmp_path):
    path = written(tmp_path / "a.json", square(), **{"building": "yes", "height": "40 ft", "building:levels": "4"})
    with pytest.warns(UserWarning, match="feature 0: height '40 ft' is no height in metres"):
        (house,) = read_footprints(path)
    assert house.height == 12.0


def test_without_the_tag_building_every_polygon_counts(tmp_path):
    assert len(read_footprints(written(tmp_path / "a.json", square(), square(at=(10.001, 50.0))))) == 2


def test_an_outline_that_crosses_itself_is_left_out_and_named(tmp_path):
    bow = {"type": "Polygon", "coordinates": [[[10, 50], [10.001, 50.001], [10.001, 50], [10, 50.001], [10, 50]]]}
    with pytest.warns(UserWarning, match="feature 1 crosses itself"):
        assert len(read_footprints(written(tmp_path / "a.json", square(), bow))) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "line 1"),
        ("[1, 2]", "needs an object with a type"),
        ('{"type": "Topology"}', "must be FeatureCollection"),
        ('{"type": "FeatureCollection", "features": 3}', "must be a list"),
        ('{"type": "FeatureCollection", "features": [3]}', "feature 0: must be an object"),
        ('{"type": "FeatureCollection", "features": []}', "0 features"),
        ('{"type": "Point", "coordinates": [1, 2]}', "1 features .Point."),
        ('{"type": "Polygon", "coordinates": [[[1, 2], [1, 3]]]}', "at least four positions"),
        ('{"type": "Polygon", "coordinates": [["a", "b", "c", "d"]]}', "longitude, latitude"),
        ('{"type": "Polygon", "coordinates": [[[500, 9], [501, 9], [501, 8], [500, 9]]]}', "-180 to 180"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [9, 0], [9, 9], [0, 0]]]}', "at most 20 km"),
        ('{"type": "Polygon", "crs": {"properties": {"name": "EPSG:3857"}}, "coordinates": []}', "EPSG:4326"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [1e-9, 0], [1e-9, 1e-9], [0, 0]]]}', "smaller than 4 m2"),
    ],
)
def test_a_bad_file_is_an_error_that_names_it_and_what_is_wrong(tmp_path, text, message):
    path = tmp_path / "bad.geojson"
    path.write_text(text)
    with pytest.raises(EnvError, match=message) as error:
        read_footprints(path)
    assert "bad.geojson" in str(error.value)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(EnvError, match=r"nowhere\.geojson: No such file"):
        read_footprints(tmp_path / "nowhere.geojson")


@pytest.mark.parametrize(
    "feature",
    [
        {"type": "Feature", "geometry": "x"},
        {"type": "Feature", "geometry": [1]},
        {"type": "Feature", "geometry": square(), "properties": [1]},
        {"type": "Feature", "geometry": square(), "properties": "building"},
        {"type": "Feature", "geometry": {"type": "MultiPolygon", "coordinates": 5}},
        {"type": "GeometryCollection", "geometries": [square()]},
    ],
)
def test_what_is_not_of_the_right_kind_is_an_error_in_words(tmp_path, feature):
    path = tmp_path / "odd.geojson"
    path.write_text(json.dumps(feature))
    with pytest.raises(EnvError, match=r"odd\.geojson"):
        read_footprints(path)


def test_a_file_nested_beyond_reading_is_an_error_and_a_height_beyond_floats_is_named(tmp_path):
    deep = tmp_path / "deep.geojson"
    deep.write_text("[" * 100_000)
    with pytest.raises(EnvError, match="nested"):
        read_footprints(deep)
    with pytest.warns(UserWarning, match="height"):
        (house,) = read_footprints(written(tmp_path / "high.geojson", square(), height=10**400))
    assert house.height == DEFAULT_HEIGHT


def test_a_city_is_not_restored_between_other_houses(tmp_path):
    with_houses = CityEnv(height=32, width=32, footprints=str(QUARTER))
    plain = CityEnv(height=32, width=32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with_houses.reset(seed=1)
    with pytest.raises(EnvError, match="footprints"):
        plain.restore(with_houses.snapshot())
    (branch,) = with_houses.branch(1)
    assert branch.snapshot() == with_houses.snapshot()
    for env in (with_houses, plain, branch):
        env.close()


def test_more_houses_than_ids_get_ids_of_their_own(tmp_path):
    size, pitch = 5e-5, 9e-5  # degrees: sheds of some 5 m
    sheds = [square(size, (10 + pitch * i, 50 + pitch * j)) for i in range(40) for j in range(40)]
    env = CityEnv(height=32, width=32, obs_modes=("instance",), footprints=str(written(tmp_path / "s.geojson", *sheds)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        *_, info = env.reset(seed=1)
    assert env._layout.most_houses > 40
    assert len(set(info["instances"].values())) == len(info["instances"])
    env.close()


def test_houses_keep_off_the_streets_and_apart_and_the_others_are_counted():
    areas = {"west": (-60.0, -30.0, -5.5, 30.0), "east": (5.5, -30.0, 60.0, 30.0)}
    wide = Footprint(((-40, -5), (40, -5), (40, 5), (-40, 5)), 9.0)  # longer than any block
    near = Footprint(((0, 0), (10, 0), (10, 10), (0, 10)), 9.0)  # half in the street
    same = Footprint(((12, 1), (18, 1), (18, 9), (12, 9)), 9.0)  # where the one before was moved to
    homes, left_out = settled([wide, near, same], areas)
    assert left_out == 2 and set(homes) == {"east"}
    (house,) = homes["east"]
    assert min(x for x, _ in house.points) == pytest.approx(5.5 + 3.6) and max(y for _, y in house.points) == 10


def test_a_house_is_as_high_and_as_large_as_its_footprint_and_its_roof_is_closed():
    shape = Footprint(((0, 0), (20, 0), (20, 6), (8, 6), (8, 15), (0, 15)), 12.0)
    mesh = house_mesh(shape, WHOLE, WHOLE, WHOLE)
    assert np.ptp(mesh.vertices, axis=0).tolist() == [20.0, 15.0, 12.0]
    triangles = mesh.vertices.reshape(-1, 3, 3)
    area = np.linalg.norm(np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]), axis=1) / 2
    is_roof = mesh.normals.reshape(-1, 3, 3)[:, 0, 2] > 0.5
    assert area[is_roof].sum() == pytest.approx(20 * 6 + 8 * 9)
    assert area[~is_roof].sum() == pytest.approx(70 * 12.0)  # the way around it times its height
    touched = house_box(shape)
    assert sorted(touched.half) == pytest.approx([6.0, 7.5, 10.0]) and touched.centre == pytest.approx((0, 0, 6))


def test_the_houses_of_a_quarter_stand_in_the_blocks_of_a_city():
    quarter = read_footprints(QUARTER)
    plain, built = Layout(3, 1, "light", 1.0, 0.0), Layout(3, 1, "light", 1.0, 0.0, quarter)
    changed = [
        key for key in built._areas if key[0] == 0 and len(built.block(key).boxes) != len(plain.block(key).boxes)
    ]
    assert changed and built.num_left_out + sum(map(len, built._houses.values())) == len(quarter)
    assert built.num_left_out <= 4
    for houses in built._houses.values():
        for house in houses:
            assert all(built.off_road(x, y) > 3.0 for x, y in house.points)


def test_walls_and_roof_look_outwards():
    mesh = house_mesh(Footprint(((0, 0), (10, 0), (10, 10), (0, 10)), 5.0), WHOLE, WHOLE, WHOLE)
    solid = trimesh.Trimesh(mesh.vertices, np.arange(len(mesh.vertices)).reshape(-1, 3), process=False)
    assert (np.einsum("ij,ij->i", solid.face_normals, mesh.normals[::3]) > 0.99).all()
