"""Poses, intrinsics and depth mean what they say: in numbers, in pybullet's matrices, and in rendered pixels."""

import numpy as np
import pybullet
import pytest
from worldsim_envs import rig
from worldsim_envs.lab.paint import atlas, ball_mesh, box_mesh, floor_mesh
from worldsim_envs.lidar import NUM_BEAMS, scan
from worldsim_envs.rig import FAR, NEAR, Camera
from worldsim_envs.scene import Box, Scene, frame_intrinsics

FOV = 50.0


@pytest.fixture(params=[64, 128, 256])
def scene(request):
    made = Scene(atlas(), request.param, request.param, FOV)
    yield made
    made.close()


@pytest.fixture
def small():
    made = Scene(atlas(), 64, 64, FOV)
    yield made
    made.close()


def _cameras(count, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        place, target = rng.uniform(-6, 6, 3), rng.uniform(-1, 1, 3)
        yield Camera.toward(place, target)._replace(roll=float(rng.uniform(-3, 3)))


def _look(scene, camera):
    return scene.render(camera, (0.3, 0.2, 0.9), 0.6, 0.4)


# ---- poses


def test_a_pose_has_opencv_axes():
    east = Camera((1.0, 2.0, 3.0), 0.0, 0.0).c2w()
    assert np.allclose(east[:3, 0], (0, -1, 0))  # right is south
    assert np.allclose(east[:3, 1], (0, 0, -1))  # down
    assert np.allclose(east[:3, 2], (1, 0, 0))  # forward
    assert np.allclose(east[:3, 3], (1, 2, 3))
    for camera in _cameras(20):
        turn = camera.c2w()[:3, :3]
        assert np.allclose(turn @ turn.T, np.eye(3)) and np.linalg.det(turn) == pytest.approx(1)


def test_roll_turns_the_camera_clockwise_as_it_sees_it():
    c2w = Camera((0.0, 0.0, 0.0), 0.0, 0.0, roll=np.pi / 2).c2w()
    assert np.allclose(c2w[:3, 0], (0, 0, -1))  # what was down is now right


def test_any_pose_can_be_said_in_three_angles():
    straight_down, straight_up = Camera((0.0, 0.0, 5.0), 0.7, -np.pi / 2), Camera((0.0, 0.0, 0.0), -2.0, np.pi / 2)
    for camera in (*_cameras(50), straight_down, straight_up):
        again = Camera.posed(camera.c2w(), fov=30.0)
        assert np.allclose(again.c2w(), camera.c2w(), atol=1e-12)
        assert again.fov == 30.0


def test_a_camera_looks_at_its_target():
    for place, target in (((1, 2, 3), (-2, 0, 0.5)), ((0, 0, 4), (0, 0, 0))):
        camera = Camera.toward(place, target)
        u, v, depth = rig.project(np.array(target, float), rig.intrinsics(FOV, 64, 48), camera.c2w())
        assert (u, v) == (pytest.approx(24), pytest.approx(32))
        assert depth == pytest.approx(np.linalg.norm(np.subtract(place, target)))
    assert np.allclose(camera.c2w()[:3, 1], (0, -1, 0))  # straight down: +y is the image's top


# ---- converters


def test_opengl_and_opencv_poses_turn_into_each_other():
    for camera in _cameras(10):
        c2w = camera.c2w()
        opengl = rig.opengl_from_opencv(c2w)
        assert np.allclose(opengl[:3, 0], c2w[:3, 0])
        assert np.allclose(opengl[:3, 1], -c2w[:3, 1])
        assert np.allclose(opengl[:3, 2], -c2w[:3, 2])
        assert np.array_equal(rig.opencv_from_opengl(opengl), c2w)


def test_view_matrices_are_pybullets_own():
    for camera in _cameras(20):
        c2w = camera.c2w()
        ours = rig.view_matrix(c2w)
        theirs = pybullet.computeViewMatrix(c2w[:3, 3], c2w[:3, 3] + c2w[:3, 2], -c2w[:3, 1])
        assert np.allclose(ours, theirs, atol=2e-6)
        assert np.allclose(rig.c2w_of_view(theirs), c2w, atol=1e-5)


def test_projection_matrices_are_pybullets_own():
    for fov, height, width in ((40, 64, 64), (90, 48, 128), (60, 256, 32)):
        k = rig.intrinsics(fov, height, width)
        theirs = pybullet.computeProjectionMatrixFOV(fov, width / height, NEAR, FAR)
        assert np.allclose(rig.projection_matrix(k, height, width, NEAR, FAR), theirs, atol=1e-4)
        assert np.allclose(rig.intrinsics_of_projection(theirs, height, width), k, atol=1e-3)
    left, right, bottom, top = -0.03, 0.05, -0.02, 0.06  # a principal point off the middle
    theirs = pybullet.computeProjectionMatrix(left, right, bottom, top, NEAR, FAR)
    k = rig.intrinsics_of_projection(theirs, 80, 160)
    assert k[0, 2] == pytest.approx(60) and k[1, 2] == pytest.approx(60)
    assert np.allclose(rig.projection_matrix(k, 80, 160, NEAR, FAR), theirs, atol=1e-4)


def test_projecting_by_k_and_c2w_is_projecting_by_the_matrices():
    rng = np.random.default_rng(3)
    k = np.array([[70.0, 0, 31], [0, 65.0, 40], [0, 0, 1]])
    for camera in _cameras(5, seed=5):
        c2w = camera.c2w()
        points = c2w[:3, 3] + rng.uniform((-2, -2, 1), (2, 2, 9), (40, 3)) @ c2w[:3, :3].T
        view = np.reshape(rig.view_matrix(c2w), (4, 4)).T
        projection = np.reshape(rig.projection_matrix(k, 64, 96, NEAR, FAR), (4, 4)).T
        clip = np.c_[points, np.ones(40)] @ (projection @ view).T
        ndc = clip[:, :3] / clip[:, 3:]
        by_matrices = np.stack([(ndc[:, 0] + 1) / 2 * 96, (1 - ndc[:, 1]) / 2 * 64], axis=1)
        assert np.allclose(rig.project(points, k, c2w)[:, :2], by_matrices)


def test_unprojecting_undoes_projecting():
    camera, k = next(_cameras(1)), rig.intrinsics(70, 6, 8)
    depth = np.random.default_rng(0).uniform(1, 20, (6, 8))
    seen = rig.project(rig.unproject(depth, k, camera.c2w()), k, camera.c2w())
    assert np.allclose(seen[..., 2], depth)
    assert np.allclose(seen[2, 5, :2], (5.5, 2.5))


# ---- rendered pixels


def test_balls_are_seen_where_k_and_c2w_put_them(scene):
    size, radius = scene.width, 0.3
    k, errors, depth_errors = scene.intrinsics, [], []
    ball = scene.add(ball_mesh(radius, "red"))
    rng = np.random.default_rng(size)
    for camera in _cameras(12, seed=1):
        c2w = camera.c2w()
        x, y, z = c2w[:3, 3] + c2w[:3, :3] @ (*rng.uniform(-0.8, 0.8, 2), rng.uniform(3.5, 6.0))
        scene.place(ball, x, y, z, 0.0)
        u, v, depth = rig.project(np.array((x, y, z)), k, c2w)
        view = _look(scene, camera)
        rows, columns = np.nonzero(view.body == ball)
        errors.append((columns.mean() + 0.5 - u, rows.mean() + 0.5 - v))
        depth_errors.append(view.depth[view.body == ball].min() - (depth - radius))
    assert np.abs(np.mean(errors, axis=0)).max() < 0.1  # px; half a pixel if the sampling corner were forgotten
    assert np.abs(errors).max() < 0.2 + size / 400  # px; a ball off the axis is seen as an oval
    assert np.abs(depth_errors).max() < 0.03  # m; the ball has 320 faces


def test_depth_is_metres_along_the_axis(scene):
    floor = scene.add(floor_mesh())
    wall = scene.add(box_mesh((0.05, 3.0, 2.0), "border"))
    scene.place(wall, 4.0, 0.0, 2.0, 0.0)
    camera = Camera((-3.0, 0.5, 1.2), 0.1, -0.15)
    view, c2w = _look(scene, camera), camera.c2w()
    points = rig.unproject(view.depth, scene.intrinsics, c2w)
    assert view.depth.dtype == np.float32
    assert np.abs(points[view.body == floor][:, 2]).max() < 2e-3  # the floor is z = 0
    assert np.abs(points[view.body == wall][:, 0] - 3.95).max() < 2e-3  # its face is x = 3.95
    assert (view.body == wall).sum() > 100 and (view.body == floor).sum() > 100
    assert np.allclose(view.depth[view.body < 0], FAR, atol=0.05)


def test_cameras_of_any_attitude_see_one_world(small):
    floor = small.add(floor_mesh())
    poses = [Camera.toward((0, 0, 5), (0, 0, 0)), Camera((1.0, 0.0, 3.0), 0.4, -1.2, roll=2.0, fov=70.0)]
    for camera in (*poses, Camera.posed(poses[1].c2w(), 30.0)):
        view = _look(small, camera)
        k = frame_intrinsics(camera.fov or FOV, 64, 64)
        points = rig.unproject(view.depth, k, camera.c2w())
        assert (view.body == floor).mean() > 0.5
        assert np.abs(points[view.body == floor][:, 2]).max() < 2e-3


def test_a_level_camera_renders_as_it_would_with_a_roll_of_nothing(small):
    small.add(floor_mesh())
    small.add(ball_mesh(0.4, "blue"))
    camera = Camera((-4.0, 0.0, 1.0), 0.0, -0.1)
    tilted = _look(small, camera._replace(roll=1e-9))
    assert np.mean(_look(small, camera).rgb != tilted.rgb) < 0.01


def test_labels_are_the_classes_of_the_texels():
    classes = (np.arange(256 * 256).reshape(256, 256) // 97 % 251 + 1).astype(np.uint8)
    colors = np.stack([classes, classes, classes], axis=-1)
    scene = Scene(colors, 96, 96, FOV, labels=classes)
    try:
        floor, ball = scene.add(floor_mesh()), scene.add(ball_mesh(0.5, "red"))
        scene.place(ball, 1.0, 0.2, 0.5, 0.3)
        camera = Camera((-3.0, 0.0, 1.5), 0.0, -0.3)
        labels, shown = scene.labels(camera), scene.render(camera, (0, 0, 1), 1.0, 0.0)
        assert np.array_equal(labels > 0, shown.body >= 0)
        assert np.array_equal(labels[labels > 0], shown.rgb[labels > 0][:, 0])
        assert len(np.unique(labels)) > 20
        scene.remove(floor)
        assert set(np.unique(scene.labels(camera)[shown.body == floor])) == {0}
        scene.clear()
        assert not scene.labels(camera).any()
    finally:
        scene.close()


# ---- lidar


def test_beams_measure_a_wall_in_the_documented_order(small):
    wall = small.add(None, [Box((0, 0, 1), (0.5, 40, 1))])
    small.place(wall, 10.5, 0.0, 0.0, 0.0)  # its face is x = 10
    ranges = scan(small, (2.0, 1.0, 0.8), 0.0)
    assert ranges.shape == (NUM_BEAMS,) and ranges.dtype == np.float32
    angles = 2 * np.pi * np.arange(NUM_BEAMS) / NUM_BEAMS
    meets = np.cos(angles) > 0.3
    assert np.allclose(ranges[meets], 8.0 / np.cos(angles[meets]), atol=1e-3)
    assert np.all(ranges[np.cos(angles) <= 0] == 60.0)
    left = scan(small, (2.0, 1.0, 0.8), -np.pi / 2)  # turned right: the wall is on the left, beam 64
    assert left[64] == pytest.approx(8.0, abs=1e-3) and left[0] == 60.0


def test_beams_pass_through_what_carries_them_and_over_what_is_low(small):
    carrier = small.add(None, [Box((0, 0, 0.75), (2, 1, 0.75))])
    low, high = small.add(None, [Box((0, 0, 0.2), (1, 1, 0.2))]), small.add(None, [Box((0, 0, 1), (1, 1, 1))])
    small.place(low, 5.0, 0.0, 0.0, 0.0)
    small.place(high, 20.0, 0.0, 0.0, 0.0)
    assert scan(small, (0, 0, 0.8), 0.0)[0] < 1.0  # from within a solid
    assert scan(small, (0, 0, 0.8), 0.0, ignore=(carrier,))[0] == pytest.approx(19.0, abs=1e-3)
    assert scan(small, (0, 0, 0.3), 0.0, reach=3.5, ignore=(carrier,))[0] == 3.5
    assert scan(small, (0, 0, 0.3), 0.0, ignore=(carrier,))[0] == pytest.approx(4.0, abs=1e-3)
    small.place(carrier, 4.0, 0.0, 0.0, 0.0)
    assert small.touching(carrier, [low]) and not small.touching(carrier, [high])  # contacts are as before
