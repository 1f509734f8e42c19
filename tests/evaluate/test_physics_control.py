"""Control and text: true branches as the ruler, read by pixels and by state, on the real bench."""

import gymnasium as gym
import numpy as np
import pytest

from worldsim.errors import EnvError
from worldsim.evaluate.physics import text_facts
from worldsim.evaluate.physics.control import (
    Probe,
    decoded_doses,
    mirror_signs,
    probe_requests,
    record_sweep,
    score_probe,
    sweep_errors,
)

DOSES = (-1.0, 0.0, 1.0)
CAMERA = Probe(scenario="camera", dimension="camera", doses=DOSES, hold=8, horizon=8, lateral=("camera",), loops=True)
PUSH = Probe(
    scenario="rolling",
    dimension="impulse",
    variation={"speed": 0.6, "change": "none"},
    doses=DOSES,
    hold=4,
    horizon=10,
    lateral=("impulse",),
)


@pytest.fixture(scope="module")
def env():
    env = gym.make("worldsim/Lab-v0", disable_env_checker=True)
    yield env
    env.close()


@pytest.fixture(scope="module")
def names(env):
    return [dim.name for dim in env.unwrapped.action_spec]


@pytest.fixture(scope="module")
def camera(env):
    return record_sweep(env, CAMERA, 0, seed=208_000, num_context=4)


@pytest.fixture(scope="module")
def push(env):
    return record_sweep(env, PUSH, 0, seed=208_001, num_context=4)


def perfect(sweep, names):
    """What a model that is the truth would answer."""
    answers = {sweep.key(f"dose{k}"): clip.future for k, clip in enumerate(sweep.branches)}
    answers |= {sweep.key(f"mirror{k}"): sweep.branches[k].future[:, :, ::-1] for k in (0, 2)}
    answers[sweep.key("late")] = sweep.branches[1].future
    if sweep.loop is not None:
        answers[sweep.key("loop")] = sweep.loop.future
    return answers


def frozen(sweep):
    still = {r.key: np.repeat(r.frames[-1:], len(r.actions), axis=0) for r in probe_requests(sweep)}
    return {key: frames for key, frames in still.items() if "late" not in key}


def test_branches_of_one_start_share_their_context_and_differ_after_it(camera):
    contexts = np.stack([clip.context for clip in camera.branches])
    assert (contexts == contexts[0]).all()
    assert np.abs(camera.branches[0].future.astype(int) - camera.branches[2].future).max() > 50


def test_the_truth_follows_itself(camera, push, names):
    for sweep in (camera, push):
        found = score_probe([sweep], perfect(sweep, names))
        assert found["identified"] == found["sign"] == 1
        assert found["gain"] == pytest.approx(1) and found["spearman"] == pytest.approx(1)
        assert found["delta_error"] == 0 and found["causality_levels"] == 0
        assert found["permutation_p"] == pytest.approx(1 / 6)  # three branches of one start can say no more


def test_a_frozen_video_follows_nothing(camera, push):
    for sweep in (camera, push):
        found = score_probe([sweep], frozen(sweep))
        assert found["gain"] == 0 and found["spearman"] == 0
        assert found["permutation_p"] > 0.5
        assert found["delta_error"] == pytest.approx(1) and found["shuffled_ratio"] == pytest.approx(1)


def test_a_flipped_sign_is_seen_as_one(camera, names):
    answers = perfect(camera, names)
    first, last = camera.key("dose0"), camera.key("dose2")
    answers[first], answers[last] = answers[last], answers[first]
    found = score_probe([camera], answers)
    assert found["gain"] == pytest.approx(-1) and found["sign"] == 0
    assert found["yaw_error_deg"] > 5


def test_half_the_motion_is_half_the_gain():
    truth = np.zeros((3, 6, 8, 8, 3), np.uint8)
    for k, level in enumerate((0, 100, 200)):
        truth[k] = level
    half = np.stack([np.full((6, 8, 8, 3), level, np.uint8) for level in (50, 100, 150)])
    decoded = decoded_doses(sweep_errors(half, truth), sweep_errors(truth, truth), DOSES)
    assert decoded == pytest.approx([-0.5, 0, 0.5])


def test_the_camera_pose_is_read_in_degrees(camera, names):
    exact, still = score_probe([camera], perfect(camera, names)), score_probe([camera], frozen(camera))
    assert exact["yaw_error_deg"] == pytest.approx(0, abs=1e-6)
    assert still["yaw_error_deg"] == pytest.approx(2 / 3 * np.degrees(0.4), abs=1)  # 1 rad/s for 0.4 s, and none at 0
    assert still["yaw_error_still_deg"] == pytest.approx(still["yaw_error_deg"], abs=1)


def test_a_push_is_read_in_metres_of_the_ball(push, names):
    exact, still = score_probe([push], perfect(push, names)), score_probe([push], frozen(push))
    assert exact["state_gain"] == pytest.approx(1, abs=0.03) and exact["state_sign"] == 1
    assert still["state_gain"] == pytest.approx(0, abs=0.01)
    assert exact["yaw_error_deg"] is None


def test_looking_away_and_back_ends_where_it_began(camera, names):
    assert np.abs(camera.loop.frames[-1].astype(int) - camera.loop.context[-1]).mean() < 1
    answers = perfect(camera, names)
    assert score_probe([camera], answers)["loop_return"] == 1
    answers[camera.key("loop")] = camera.loop.future[: len(camera.loop.future) // 2].repeat(2, axis=0)
    assert score_probe([camera], answers)["loop_return"] < 0.5  # never came back
    assert score_probe([camera], frozen(camera))["loop_return"] == pytest.approx(0, abs=0.1)  # never went away


def test_a_mirrored_request_turns_frames_and_lateral_actions_round(camera, names):
    signs = mirror_signs(camera, names)
    asked = {request.key: request for request in probe_requests(camera, signs)}
    mirrored, plain = asked[camera.key("mirror2")], asked[camera.key("dose2")]
    assert np.array_equal(mirrored.frames, plain.frames[:, :, ::-1])
    assert mirrored.actions[0, names.index("camera")] == -plain.actions[0, names.index("camera")] == -1


def test_a_model_that_is_right_only_to_one_side_fails_the_mirror_test(camera, names):
    answers = perfect(camera, names)
    for k, clip in enumerate(camera.branches):  # a little wrong, so that the ratio is defined
        answers[camera.key(f"dose{k}")] = clip.future // 16 * 16
    for k in (0, 2):
        answers[camera.key(f"mirror{k}")] = np.repeat(camera.branches[k].context[-1:, :, ::-1], 8, axis=0)
    assert score_probe([camera], answers)["mirror_ratio"] > 5


def test_an_action_that_shows_before_it_is_given_is_noticed(camera, names):
    answers = perfect(camera, names)
    answers[camera.key("late")] = camera.branches[2].future
    assert score_probe([camera], answers)["causality_levels"] > 50


def test_an_unknown_dimension_is_named(env):
    with pytest.raises(EnvError, match=r"impulse.*'warp'"):
        record_sweep(env, Probe(scenario="camera", dimension="warp"), 0, seed=0, num_context=4)


# ---- text


def test_moon_and_earth_are_told_apart_by_the_truth_and_not_by_a_frozen_video(env):
    pair = text_facts.record_gravity_pair(env, "projectile", 0, seed=209_400, num_context=8)
    assert pair.prompts[0] != pair.prompts[1]
    requests = text_facts.gravity_requests(pair)
    assert np.array_equal(requests[0].frames, requests[1].frames) and requests[0].prompt != requests[1].prompt
    true = text_facts.score_gravity([pair], {pair.key(w): pair.frames[w] for w in (0, 1)})
    assert true["both_right"] == 1 and true["sensitivity"] == pytest.approx(1, abs=0.05)
    still = {r.key: np.repeat(r.frames[-1:], len(r.actions), axis=0) for r in requests}
    found = text_facts.score_gravity([pair], still)
    assert found["both_right"] == 0 and found["sensitivity"] == pytest.approx(0, abs=0.01)
    swapped = {pair.key(w): pair.frames[1 - w] for w in (0, 1)}
    assert text_facts.score_gravity([pair], swapped)["right"] == 0


def test_an_object_that_is_lost_answers_no_question(env):
    pair = text_facts.record_gravity_pair(env, "projectile", 0, seed=209_400, num_context=8)
    nothing = np.full_like(pair.frames[1], 190)
    lost = text_facts.score_gravity([pair], {pair.key(0): pair.frames[0], pair.key(1): nothing})
    assert lost["right"] == 0.5 and lost["both_right"] == 0
    palette = env.unwrapped.scene_card["palette"]
    mass = next(pair for pair in text_facts.PAIRS if pair.fact == "mass")
    near, far = (np.full((6, 32, 32, 3), 190, np.uint8) for _ in range(2))
    for t in range(6):
        near[t, 8:16, 4:12], far[t, 8:16, 4 + 2 * t : 12 + 2 * t] = palette["red"], palette["red"]
    assert text_facts.score_facts(mass, [far, near], palette) == (True, True)
    assert text_facts.score_facts(mass, [far, np.full_like(far, 190)], palette) == (False, False)
    assert text_facts.score_facts(mass, [near, far], palette) == (False, False)


def test_facts_are_measured_in_the_truth(env):
    palette = env.unwrapped.scene_card["palette"]
    hue = list(palette).index("blue")
    variation = {"scenario": "rolling", "hue": hue, "side": "right", "change": "none", "speed": 1.5}
    obs, _ = env.reset(seed=1, options={"variation": variation})
    frames = [obs] + [env.step(np.zeros(8, np.float32))[0] for _ in range(12)]
    facts = text_facts.facts_of(np.stack(frames), palette)
    assert (facts["color"], facts["count"], facts["direction"]) == ("blue", 1, -1)


def test_a_scene_without_objects_has_no_colour(env):
    facts = text_facts.facts_of(np.full((4, 32, 32, 3), 190, np.uint8), env.unwrapped.scene_card["palette"])
    assert (facts["color"], facts["count"], facts["direction"]) == (None, 0, 0)


def test_a_pair_is_right_only_where_each_text_shows_its_own_fact(env):
    palette = env.unwrapped.scene_card["palette"]
    pair = text_facts.Pair(
        fact="color", scenario="rolling", texts=("a red ball", "a blue ball"), values=("red", "blue")
    )
    red, blue = (np.full((4, 32, 32, 3), 190, np.uint8) for _ in range(2))
    red[:, 8:20, 8:20], blue[:, 8:20, 8:20] = palette["red"], palette["blue"]
    assert text_facts.score_facts(pair, [red, blue], palette) == (True, True)
    assert text_facts.score_facts(pair, [red, red], palette) == (True, False)


def test_facts_are_asked_once_more_where_the_model_draws_the_first_frame(env):
    still = np.zeros((24, *env.action_space.shape), np.float32)
    meant = {text: (pair, which) for pair in text_facts.PAIRS for which, text in enumerate(pair.texts)}
    asked = []

    def drawn(text, seed):
        return text_facts.true_frames(env, *meant[text], 209_700 + seed, still)[:1], still[:0]

    def stays(requests):
        asked.extend(request.key for request in requests)
        return [np.repeat(request.frames, len(request.actions), axis=0) for request in requests]

    row = "model, first frame imagined"
    found = text_facts.imagined_facts(env, drawn, stays, 2, row)
    assert found["fact.color"][row] == {"both_right": 1.0, "right": 1.0, "n": 6}
    assert found["fact.direction"][row]["right"] == 0  # nothing moves
    assert len(set(asked)) == 24 and all(key.endswith(".drawn") for key in asked)
