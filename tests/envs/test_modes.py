"""What an env shows in depth, classes, instances and states is one world at one instant, from every camera."""

import gymnasium as gym
import numpy as np
import pytest
from worldsim_envs import rig
from worldsim_envs.lab import LabEnv
from worldsim_envs.modes import OBS_MODES, ClassRow, Modes, Shot, ids_of, things_at
from worldsim_envs.rig import FAR
from worldsim_envs.scene import frame_intrinsics

import worldsim  # noqa: F401 - registers the ids
from worldsim.errors import EnvError

IDS = ("worldsim/City-v0", "worldsim/Lab-v0", "worldsim/Tabletop-v0")


@pytest.fixture(scope="module", params=IDS)
def world(request):
    """A world that shows everything from all of its cameras, after some steps."""
    plain = gym.make(request.param)
    names = tuple(plain.unwrapped.scene_card["cameras"])
    plain.close()
    env = gym.make(request.param, obs_modes=OBS_MODES, cameras=names, render_mode="rgb_array").unwrapped
    obs, info = env.reset(seed=6)
    actions = np.random.default_rng(0).uniform(-0.3, 0.3, (5, *env.action_space.shape)).astype(np.float32)
    for action in actions:
        obs, *_, info = env.step(action)
    yield env, obs, info, actions
    env.close()


def _own(info):
    """Return the instance that carries cameras and may be hidden from them."""
    return info["instances"].get("ego", -1)


# ---- every world


def test_the_spaces_are_flat_and_documented(world):
    env, obs, _, _ = world
    cameras = env.scene_card["cameras"]
    assert set(obs) == {f"{mode}/{name}" for mode in OBS_MODES[:-1] for name in cameras} | {"state"}
    assert env.observation_space.contains(obs)
    assert [obs[f"{mode}/{next(iter(cameras))}"].dtype for mode in OBS_MODES[:-1]] == [
        np.uint8,
        np.float32,
        np.uint8,
        np.int32,
    ]


def test_a_camera_alone_gives_the_frame_that_it_gives_among_others(world):
    env, obs, _, actions = world
    for name in list(env.scene_card["cameras"]):
        alone = gym.make(env.spec.id, cameras=[name]).unwrapped
        assert alone.observation_space == gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)
        frame, info = alone.reset(seed=6)
        for action in actions:
            frame, *_, info = alone.step(action)
        assert np.array_equal(frame, obs[f"rgb/{name}"])
        assert set(info["camera"]) == {"K", "c2w"}
        alone.close()


def test_every_camera_has_its_pose(world):
    env, obs, info, _ = world
    card = env.scene_card["cameras"]
    assert list(info["camera"]) == list(card)
    for name, camera in info["camera"].items():
        assert camera["c2w"].shape == (4, 4)
        assert np.allclose(camera["K"], card[name]["K"])
        assert np.allclose(camera["K"], frame_intrinsics(card[name]["fov_deg"], 64, 64))
    assert np.array_equal(env.render(), obs[f"rgb/{next(iter(card))}"])


def test_no_camera_sees_through_what_another_one_sees(world):
    _, obs, info, _ = world
    compared = 0
    for one, from_one in info["camera"].items():
        depth = obs[f"depth/{one}"]
        is_seen = (depth < 30) & (obs[f"instance/{one}"] != _own(info))
        points = rig.unproject(depth, from_one["K"], from_one["c2w"])[is_seen]
        for two, from_two in info["camera"].items():
            u, v, far = rig.project(points, from_two["K"], from_two["c2w"]).T
            inside = (far > 0.3) & (u > 1) & (v > 1) & (u < 63) & (v < 63)
            u, v, far = u[inside].astype(int), v[inside].astype(int), far[inside]
            if not len(far):
                continue
            around = [obs[f"depth/{two}"][v + dv, u + du] for dv in (-1, 0, 1) for du in (-1, 0, 1)]
            assert np.mean(np.min(around, axis=0) < far * 1.03 + 0.1) > 0.98, (one, two)
            compared += len(far)
    assert compared > 2000


def test_what_holds_nothing_is_far_and_has_no_class(world):
    _, obs, info, _ = world
    for name in info["camera"]:
        nothing = obs[f"semantic/{name}"] == 0
        assert np.array_equal(nothing, obs[f"depth/{name}"] == FAR)
        assert not obs[f"instance/{name}"][nothing].any()
        assert obs[f"depth/{name}"].min() > 0.1


def test_the_palette_tells_the_classes_apart(world):
    env, obs, info, _ = world
    table = env.scene_card["semantic"]
    assert [row["id"] for row in table] == list(range(len(table)))
    assert len({row["name"] for row in table}) == len({tuple(row["rgb"]) for row in table}) == len(table)
    seen = np.unique([obs[f"semantic/{name}"] for name in info["camera"]])
    assert len(seen) >= 3 and seen.max() < len(table)


def test_instances_are_named_and_lie_where_their_bodies_are(world):
    _, obs, info, _ = world
    ids = info["instances"]
    assert len(set(ids.values())) == len(ids) and min(ids.values()) > 0
    found = 0
    for name, camera in info["camera"].items():
        mask = obs[f"instance/{name}"]
        assert set(np.unique(mask)) <= {0, *ids.values()}
        points = rig.unproject(obs[f"depth/{name}"], camera["K"], camera["c2w"])
        for body, parts in info["state"].items():
            seen = points[mask == ids.get(body, -1)]
            if len(seen) > 8:
                found += 1
                assert np.abs(np.median(seen, axis=0) - parts["pos"]).max() < 3.0, body
    assert found


def test_instances_keep_their_ids(world):
    env, _, info, _ = world
    before = dict(info["instances"])
    snapshot = env.snapshot()
    for _ in range(3):
        *_, info = env.step(np.zeros(env.action_space.shape, np.float32))
        after = info["instances"]
        assert all(after[name] == before[name] for name in before if name in after)
    env.restore(snapshot)
    *_, info = env.step(np.zeros(env.action_space.shape, np.float32))
    assert all(info["instances"][name] == before[name] for name in before if name in info["instances"])


def test_the_state_vector_holds_the_states(world):
    env, obs, info, _ = world
    card = env.scene_card["state"]
    rows = obs["state"].reshape(len(card["bodies"]), card["row_length"])
    assert set(info["state"]) <= set(card["bodies"])
    for name, row in zip(card["bodies"], rows, strict=True):
        if name in info["state"]:
            expected = np.concatenate([info["state"][name][part] for part in card["row"]])
            assert np.allclose(row, expected, rtol=1e-6)
        else:
            assert not row.any()


def test_frames_come_in_three_sizes(world):
    env, *_ = world
    for size in (128, 256):
        large = gym.make(env.spec.id, height=size, width=size, obs_modes=("rgb", "depth")).unwrapped
        obs, info = large.reset(seed=6)
        assert [value.shape[:2] for value in obs.values()] == [(size, size)] * 2
        assert info["camera"]["K"][0, 2] == size / 2 + 0.5
        large.close()


def test_a_branch_shows_the_same_modes(world):
    env, *_ = world
    (twin,) = env.branch(1)
    assert twin.observation_space == env.observation_space
    zero = np.zeros(env.action_space.shape, np.float32)
    theirs, ours = twin.step(zero)[0], env.step(zero)[0]
    assert all(np.array_equal(theirs[key], ours[key]) for key in ours)
    twin.close()


def test_what_a_world_does_not_offer_is_said(world):
    env, *_ = world
    for wrong in (("rgb", "normals"), (), ("rgb", "rgb"), "rgb"):
        with pytest.raises(EnvError, match="rgb, depth, semantic, instance, state"):
            gym.make(env.spec.id, obs_modes=wrong)
    with pytest.raises(EnvError, match="cameras must be"):
        gym.make(env.spec.id, cameras=["moon"])


# ---- the bench


def test_masks_of_the_bench_are_its_bodies():
    env = LabEnv(obs_modes=OBS_MODES, cameras=("side", "front"))
    names = [row["name"] for row in env.scene_card["semantic"]]
    expected = {
        "pendulum": {"nothing", "floor", "border", "pendulum"},
        "occlusion": {"nothing", "floor", "border", "ball", "screen"},
        "pick_place": {"nothing", "floor", "border", "block", "goal", "hand"},
        "cart": {"floor", "border", "cart", "goal"},
    }
    for scenario, classes in expected.items():
        obs, info = env.reset(seed=3, options={"scenario": scenario})
        both = np.concatenate([obs["semantic/side"], obs["semantic/front"]])
        assert {names[k] for k in np.unique(both)} - {"nothing"} == classes - {"nothing"}
        for name, mask in env.masks().items():  # of the first camera
            assert np.array_equal(mask, obs["instance/side"] == info["instances"].get(name, 0)) or name in (
                "floor",
                "border",
            )
    env.close()


def test_a_ball_is_a_ball_in_metres():
    env = LabEnv(height=128, width=128, obs_modes=("depth", "instance"), cameras=("front", "side"))
    obs, info = env.reset(seed=1, options={"scenario": "free_fall"})
    size = info["variation"]["size"]
    for name, camera in info["camera"].items():
        points = rig.unproject(obs[f"depth/{name}"], camera["K"], camera["c2w"])
        seen = points[obs[f"instance/{name}"] == info["instances"]["a"]]
        radii = np.linalg.norm(seen - info["state"]["a"]["pos"], axis=1)
        assert len(seen) > 100
        assert np.abs(radii - size / 2).max() < 0.06 * size  # a ball of 320 faces
    env.close()


def test_only_the_front_camera_of_the_bench_orbits():
    env = LabEnv(cameras=("front", "side", "top"))
    _, info = env.reset(seed=0, options={"scenario": "camera"})
    turn = np.zeros(8, np.float32)
    turn[7] = 1.0
    *_, after = env.step(turn)
    moved = {n: not np.allclose(c["c2w"], after["camera"][n]["c2w"]) for n, c in info["camera"].items()}
    assert moved == {"front": True, "side": False, "top": False}
    env.close()


# ---- the parts


def test_lidar_makes_a_dict_with_ranges():
    modes = Modes(
        ("rgb",), ("a",), offered={"a": 60.0}, classes=(ClassRow("nothing", (0, 0, 0)),), bodies=(),
        height=4, width=4, lidar=True,
    )  # fmt: skip
    shot = Shot(np.zeros((4, 4, 3), np.uint8), np.ones((4, 4), np.float32))
    obs = modes.observe({"a": shot}, lidar=np.full(256, 3.0, np.float32))
    assert set(obs) == {"rgb/a", "lidar"} and modes.space.contains(obs)


def test_ids_are_looked_up_by_body_and_link():
    seen = np.array([[-1, 3], [3 + (2 << 24), 9]], np.int32)
    assert ids_of(seen, {3: 7, 3 + (2 << 24): 5}).tolist() == [[0, 7], [5, 0]]


def test_points_belong_to_the_box_that_they_touch():
    points = np.array([[[0.0, 0, 1.05], [5.2, 0, 1], [3, 0, 0]]])
    centres, halves = np.array([[0, 0, 0.5], [6, 0, 1], [4.9, 0, 1]]), np.array([[1, 1, 0.5], [1, 1, 1], [0.2, 1, 1]])
    assert things_at(points, centres, halves, (11, 12, 13)).tolist() == [[11, 12, 0]]
