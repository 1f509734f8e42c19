"""The true city keeps the promises of the truth protocol."""

import pickle
import warnings
from itertools import pairwise
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import trimesh
from gymnasium.utils.env_checker import check_env
from worldsim_envs import scene
from worldsim_envs.city import CityEnv
from worldsim_envs.look import Lens, compose, look_of

import worldsim  # noqa: F401 - registers the ids
from worldsim.errors import ActionError, EnvError, PromptError
from worldsim.rollout import Truth

PLAIN = {
    "change": "none", "time_of_day": "day", "weather": "clear", "traffic": "light", "pedestrians": "none", "bend": 0.0
}  # fmt: skip


@pytest.fixture
def env():
    city = CityEnv()
    yield city
    city.close()


def _drive(env, seed, steps, policy="mixture", options=None):
    obs, info = env.reset(seed=seed, options=options)
    act = env.unwrapped.policies[policy](seed)
    frames, actions, infos = [obs], [], [info]
    for _ in range(steps):
        actions.append(act(obs, info))
        obs, _, terminated, _, info = env.step(actions[-1])
        frames.append(obs)
        infos.append(info)
        if terminated:
            break
    return np.array(frames), actions, infos


def test_it_passes_gymnasiums_checks():
    made = gym.make("worldsim/City-v0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(made.unwrapped)
    assert made.spec.max_episode_steps == 1000
    assert isinstance(made.unwrapped, Truth)
    made.close()
    made.close()


def test_it_passes_the_checks_of_stable_baselines3(env):
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        checker.check_env(env)


def test_one_seed_is_one_episode_bit_for_bit(env):
    other = CityEnv()
    frames, _, infos = _drive(env, 7, 25)
    again, _, infos_again = _drive(other, 7, 25)
    assert np.array_equal(frames, again)
    assert infos[-1]["caption"] == infos_again[-1]["caption"]
    assert not np.array_equal(frames[0], other.reset(seed=8)[0])
    other.close()


def test_a_restored_snapshot_continues_bit_for_bit_in_another_env(env):
    other = CityEnv()
    options = {"variation": {"weather": "rain", "traffic": "heavy", "change": "time_of_day=night", "change_step": 12}}
    frames, actions, _ = _drive(env, 3, 10, "lane_follower", options)
    snapshot = pickle.loads(pickle.dumps(env.snapshot()))
    true = [env.step(action)[0] for action in actions]
    other.restore(snapshot)
    assert np.array_equal(other._obs, frames[-1])
    assert np.array_equal([other.step(action)[0] for action in actions], true)
    obs, _ = other.reset(options={"snapshot": snapshot})
    assert np.array_equal(obs, frames[-1])
    other.close()


def test_branches_agree_until_their_actions_differ(env):
    _drive(env, 4, 5)
    left, right, same = env.branch(3)
    turn = np.array([1.0, 0.2], np.float32)
    frames = [city.step(action)[0] for city, action in ((left, turn), (right, -turn), (same, turn))]
    assert np.array_equal(frames[0], frames[2])
    assert not np.array_equal(frames[0], frames[1])
    for city in (left, right, same):
        city.close()


def test_an_action_shows_in_the_next_frame_and_not_before(env):
    obs, _ = env.reset(seed=1, options={"variation": PLAIN})
    steady, hard = env.branch(2)
    a = steady.step(np.zeros(2, np.float32))[0]
    b = hard.step(np.array([1, -1], np.float32))[0]
    assert np.array_equal(obs, env._obs)
    assert not np.array_equal(a, b)


def test_the_ego_follows_the_bicycle_equations(env):
    env.reset(seed=2, options={"variation": {**PLAIN, "start_speed": 6.0}})
    for _ in range(4):
        before = env.snapshot().state
        env.step(np.array([0.4, 0.5], np.float32))
    after = env.snapshot().state
    assert after.steer == pytest.approx(0.2, abs=1e-6)
    assert after.yaw_rate == pytest.approx(after.speed * np.tan(0.2) / 2.7, rel=1e-6)
    assert after.speed - before.speed == pytest.approx((1.5 - 0.03 * before.speed) * 0.1, rel=2e-3)
    travelled = np.hypot(after.x - before.x, after.y - before.y)
    assert travelled == pytest.approx((before.speed + after.speed) / 2 * 0.1, rel=5e-3)


def test_a_wet_road_holds_less(env):
    rates = []
    for wetness in (0.0, 1.0, 0.5):
        env.reset(seed=5, options={"variation": {**PLAIN, "wetness": wetness, "start_speed": 10.0}})
        for _ in range(3):
            env.step(np.array([1.0, 0.5], np.float32))
        state = env.snapshot().state
        rates.append(state.yaw_rate * state.speed)
    assert rates == pytest.approx([7.0, 5.0, 6.0], rel=1e-3)


def test_it_never_reverses_and_never_exceeds_its_speed(env):
    env.reset(seed=6, options={"variation": PLAIN})
    for _ in range(30):
        *_, info = env.step(np.array([0, -1], np.float32))
    assert info["route"]["speed"] == 0.0
    assert np.array_equal(info["state"]["ego"]["vel"], np.zeros(3))


def test_hitting_something_ends_the_episode_and_costs_five(env):
    env.reset(seed=0, options={"variation": {**PLAIN, "traffic": "heavy"}})
    for _ in range(120):
        _, reward, terminated, truncated, info = env.step(np.array([0.35, 0.6], np.float32))
        if terminated:
            break
    assert terminated is True and truncated is False
    assert reward == pytest.approx(sum(info["reward_terms"].values()))
    names = {event["name"] for event in info["events"]}
    assert names & {"collision", "off_road"}
    assert (info["reward_terms"]["collision"] == -5.0) == ("collision" in names)
    assert info["cost"] == sum(info["cost_terms"].values()) >= 1.0
    with pytest.raises(EnvError, match="reset"):
        env.step(np.zeros(2, np.float32))


def test_keeping_the_lane_earns_a_tenth_per_metre(env):
    env.reset(seed=11, options={"variation": {**PLAIN, "start_speed": 8.0}})
    _, reward, *_ = env.step(np.zeros(2, np.float32))
    assert reward == pytest.approx(0.1 * 0.8, rel=0.02)


@pytest.mark.parametrize(
    "action", [[np.nan, 0.0], [1.01, 0.0], [0.0], [0.0, 0.0, 0.0], "left"], ids=["nan", "far", "short", "long", "text"]
)
def test_a_bad_action_is_named_and_changes_nothing(env, action):
    env.reset(seed=0)
    before = env.snapshot()
    with pytest.raises(ActionError, match="steer, throttle"):
        env.step(action)
    assert env.snapshot() == before


def test_what_it_was_not_told_it_says(env):
    with pytest.raises(EnvError, match="reset"):
        env.step(np.zeros(2, np.float32))
    with pytest.raises(EnvError, match="factors are"):
        env.reset(options={"variation": {"snow": 1}})
    with pytest.raises(EnvError, match="clear, rain, fog"):
        env.reset(options={"variation": {"weather": "hail"}})
    with pytest.raises(EnvError, match=r"2\.0 to 13\.0"):
        env.reset(options={"variation": {"start_speed": 20}})
    with pytest.raises(EnvError, match="prompt, variation, snapshot"):
        env.reset(options={"weather": "rain"})
    with pytest.raises(PromptError, match="understood"):
        env.reset(options={"prompt": "purple elephants"})
    with pytest.raises(EnvError, match="32 to 256"):
        CityEnv(height=8)


def test_a_prompt_sets_the_scene_and_names_what_it_cannot(env):
    with pytest.warns(UserWarning, match="unicorns") as caught:
        _, info = env.reset(seed=1, options={"prompt": "雨天黄昏, heavy traffic with unicorns"})
    assert len(caught) == 1
    chosen = info["variation"]
    assert (chosen["time_of_day"], chosen["weather"], chosen["traffic"]) == ("dusk", "rain", "heavy")
    assert info["prompt_unknown"] == ["unicorns"]
    assert "unicorns" not in info["caption"]["en"]


def test_a_prompt_in_mid_episode_turns_the_day_into_a_foggy_night_within_a_second(env):
    _, info = env.reset(seed=1, options={"variation": PLAIN})
    day = env.branch(1)[0]
    assert env.set_prompt("大雾的夜晚") == []
    gone = []
    for _ in range(12):
        night, *_, info = env.step(np.zeros(2, np.float32))
        clear, *_ = day.step(np.zeros(2, np.float32))
        gone.append(clear.mean() - night.mean())
    assert gone[0] != 0 and gone[9] > 60
    assert all(later >= earlier - 3 for earlier, later in pairwise(gone))
    assert any(word in info["caption"]["en"] for word in ("fog", "mist", "haz"))


def test_the_caption_changes_with_the_weather_at_the_step_it_changes(env):
    options = {"variation": {**PLAIN, "change": "weather=fog", "change_step": 5, "change_length": 6}}
    _, _, infos = _drive(env, 9, 8, "lane_follower", options)
    captions = [info["caption"]["en"] for info in infos]
    assert len(set(captions[:5])) == 1 and len(set(captions[5:])) == 1 and captions[4] != captions[5]
    (event,) = [event for event in infos[5]["events"] if event["name"] == "change"]
    assert (event["factor"], event["value"]) == ("weather", "fog")
    assert event["en"] and event["zh"]


def test_every_time_and_weather_looks_different(env):
    looks = {}
    for time in ("day", "dusk", "night"):
        for weather in ("clear", "rain", "fog"):
            variation = {**PLAIN, "time_of_day": time, "weather": weather, "map_seed": 5, "sun_azimuth": 30.0}
            looks[time, weather] = env.reset(seed=3, options={"variation": variation})[0].astype(float)
    names = list(looks)
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            assert np.abs(looks[a] - looks[b]).mean() > 4, (a, b)


def test_heavy_traffic_means_more_cars(env):
    counts = []
    for traffic in ("light", "heavy"):
        _, _, infos = _drive(env, 12, 20, "lane_follower", {"variation": {**PLAIN, "traffic": traffic}})
        counts.append(max(sum(name.startswith("car") for name in info["state"]) for info in infos))
    assert counts[0] <= 3 and counts[1] >= 5


def test_at_most_sixty_bodies_are_in_the_scene(env):
    most = 0
    obs, info = env.reset(seed=13, options={"variation": {**PLAIN, "traffic": "heavy"}})
    act = env.policies["lane_follower"](13)
    for _ in range(60):
        obs, _, terminated, _, info = env.step(act(obs, info))
        most = max(most, scene.pybullet.getNumBodies(physicsClientId=env._stage.scene._client))
        if terminated:
            break
    assert 10 < most <= 60


def test_driving_on_does_not_fill_the_memory(env):
    status = Path("/proc/self/statm")

    def episodes(seeds):
        for seed in seeds:
            _drive(env, seed, 30, "lane_follower")
        return int(status.read_text().split()[1]) * 4 / 1024  # MB

    begun = episodes(range(6))
    assert episodes(range(6, 14)) - begun < 16  # 60 with fresh lists for every mesh


def test_the_camera_sees_bodies_where_the_state_says(env):
    found = 0
    for seed in range(20):
        _, info = env.reset(seed=seed, options={"variation": {**PLAIN, "traffic": "heavy"}})
        camera, view = info["camera"], env._stage.view(env._state, look_of("day", "clear"), 0.5)
        for name, body in info["state"].items():
            if name == "ego":
                continue
            point = np.linalg.inv(camera["c2w"]) @ [*body["pos"], 1]
            if not 4 < point[2] < 25:
                continue
            u, v, _ = camera["K"] @ (point[:3] / point[2])
            around = view.body[int(v) - 1 : int(v) + 2, int(u) - 1 : int(u) + 2]
            if 1 <= u < 63 and 1 <= v < 63 and env._stage.cars[int(name[3:])] in around:  # not hidden
                found += 1
                assert view.body[int(v), int(u)] == env._stage.cars[int(name[3:])]
                assert view.depth[int(v), int(u)] == pytest.approx(point[2], abs=2.6)
    assert found >= 2


def test_the_scene_can_be_taken_into_other_programs(env, tmp_path):
    env.reset(seed=0)
    path = tmp_path / "city.glb"
    env.export_scene(str(path))
    loaded = trimesh.load(path)
    assert {"ground", "car0"} <= set(loaded.geometry)
    assert loaded.extents[1] > 5  # glTF's y is up: buildings are tall


def test_it_works_in_processes_of_its_own():
    envs = gym.make_vec("worldsim/City-v0", num_envs=2, vectorization_mode="async", vector_kwargs={"context": "spawn"})
    obs, _ = envs.reset(seed=[4, 5])
    alone = gym.make("worldsim/City-v0")
    assert np.array_equal(obs[1], alone.reset(seed=5)[0])
    envs.step(np.zeros((2, 2), np.float32))
    envs.close()
    alone.close()


def test_larger_frames_show_the_same_place():
    small, large = CityEnv(), CityEnv(height=128, width=128)
    a = small.reset(seed=3, options={"variation": PLAIN})[0].astype(float)
    b = large.reset(seed=3, options={"variation": PLAIN})[0].astype(float)
    assert b.shape == (128, 128, 3)
    assert np.abs(b.reshape(64, 2, 64, 2, 3).mean((1, 3)) - a).mean() < 8


@pytest.mark.parametrize("time_of_day", ["day", "night"])
def test_a_black_pixel_is_drawn_without_a_number_that_is_none(time_of_day):
    rgb = np.full((32, 32, 3), 90, np.uint8)
    rgb[8:16] = 0
    view = scene.View(rgb, np.full((32, 32), 20.0, np.float32), np.ones((32, 32), np.int32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame = compose(view, look_of(time_of_day, "clear"), Lens(32, 32, 30.0, 0.0), 0.0, 5, (0, 0, 0))
    assert frame[10:14].mean() < frame[20:28].mean()
