import pickle

import gymnasium as gym
import numpy as np
import pytest
import torch

from tests.model.helpers import box_spec, shaken_model, some_context
from worldsim.errors import ActionError, CheckpointError, EnvError
from worldsim.model import ModelSpec, WorldState, encode_actions, spec_of
from worldsim.model.noise import keyed_noise
from worldsim.model.presets import tiny


@pytest.fixture(scope="module")
def model():
    return shaken_model()


def _begin(model, batch=1, num_frames=4, seeds=None):
    frames, actions = some_context(model.spec, batch, num_frames)
    seeds = range(batch) if seeds is None else seeds
    return model.encode(frames, actions, prompts=[None] * batch, seeds=list(seeds))


def _roll(model, state, actions, **options):
    frames = []
    for action in actions:
        state, prediction = model.step(state, action, **options)
        frames.append(prediction.frames)
    return state, np.stack(frames)


def _actions(model, steps, batch, seed=1):
    return np.random.default_rng(seed).uniform(-1, 1, (steps, batch, 2)).astype(np.float32)


@pytest.mark.parametrize("sampler_steps", [1, 2])
def test_a_saved_state_steps_to_the_same_bits(model, sampler_steps):
    actions = _actions(model, 6, 1)
    state, _ = _roll(model, _begin(model), actions[:2], sampler_steps=sampler_steps)
    copies = [state, pickle.loads(pickle.dumps(state)), WorldState.from_bytes(state.to_bytes())]
    results = [_roll(model, copy, actions[2:], sampler_steps=sampler_steps)[1] for copy in copies]
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


def test_branches_agree_until_their_actions_differ(model):
    state = _begin(model).take([0, 0])
    actions = _actions(model, 4, 1).repeat(2, axis=1)
    actions[2, 1] *= -1
    _, frames = _roll(model, state, actions)
    assert np.array_equal(frames[:2, 0], frames[:2, 1])
    assert not np.array_equal(frames[2, 0], frames[2, 1])


def test_a_stream_in_a_batch_is_the_stream_alone(model):
    batch = 6
    actions = _actions(model, 16, batch)
    state = _begin(model, batch, seeds=[10, 11, 12, 13, 14, 15])
    _, together = _roll(model, state, actions, sampler_steps=2)
    for i in (0, 4):
        _, alone = _roll(model, state.take([i]), actions[:, i : i + 1], sampler_steps=2)
        assert np.abs(alone[:, 0].astype(int) - together[:, i].astype(int)).mean() <= 1


def test_the_noise_seed_matters_only_when_noise_is_drawn(model):
    actions = _actions(model, 2, 1)
    one, other = _begin(model, seeds=[1]), _begin(model, seeds=[2])
    one_step = [_roll(model, state, actions, sampler_steps=1)[1] for state in (one, other)]
    assert np.array_equal(*one_step)
    drawn = [_roll(model, state, actions, sampler_steps=2)[1] for state in (one, other)]
    assert not np.array_equal(*drawn)


def test_noise_is_a_function_of_seed_step_and_sampler_step():
    batch = keyed_noise(np.array([5, 6, 7]), np.array([0, 3, 9]), 0, (4,))
    assert torch.equal(batch[1], keyed_noise(np.array([6]), np.array([3]), 0, (4,))[0])
    assert not torch.equal(batch[1], keyed_noise(np.array([6]), np.array([4]), 0, (4,))[0])
    assert not torch.equal(batch[1], keyed_noise(np.array([6]), np.array([3]), 1, (4,))[0])


def test_a_short_context_is_padded_with_its_first_frame_and_a_long_one_cut(model):
    frames, actions = some_context(model.spec, 1, 7)
    window = model.config.num_context
    whole = model.encode(frames, actions, prompts=[None], seeds=[0])
    cut = model.encode(frames[:, -window:], actions[:, -(window - 1) :], prompts=[None], seeds=[0])
    assert torch.equal(whole.cache, cut.cache)
    one = model.encode(frames[:, -1:], actions[:, :0], prompts=[None], seeds=[0])
    assert torch.equal(one.frames[:, 0], one.frames[:, 1])
    garbage = frames.copy()
    garbage[:, :-1] = 7
    garbage.setflags(write=False)  # what is given is the caller's
    marked = model.encode(garbage, actions, prompts=[None], seeds=[0], num_frames=[1])
    assert torch.equal(one.cache, marked.cache)


@pytest.mark.parametrize(
    "counts", [{"prompts": [None]}, {"seeds": [0]}, {"seeds": [0, 1, 2]}, {"factors": [None]}], ids=str
)
def test_a_prompt_and_a_seed_are_needed_for_every_stream(model, counts):
    frames, actions = some_context(model.spec, 2, 4)
    with pytest.raises(EnvError, match="2 streams need as many"):
        model.encode(frames, actions, **{"prompts": [None, None], "seeds": [0, 1], **counts})


def test_a_state_is_not_changed_by_a_step_nor_by_who_writes_into_its_frames(model):
    state = _begin(model)
    before = state.to_bytes()
    following, prediction = model.step(state, _actions(model, 1, 1)[0])
    assert state.to_bytes() == before
    after = following.to_bytes()
    prediction.frames[:] = 0
    assert following.to_bytes() == after


def test_streams_that_are_not_there_are_one_clear_error(model):
    frames, actions = some_context(model.spec, 3, 4)
    with pytest.raises(EnvError, match="no stream that could be stepped"):
        model.step(_begin(model).branch(0), _actions(model, 1, 1)[:0, 0])
    with pytest.raises(EnvError, match=r"starts from \(N, C"):
        model.encode(frames[:0], actions[:0], prompts=[], seeds=[])
    with pytest.raises(EnvError, match="num_frames must be 3 numbers in 1 to 4"):
        model.encode(frames, actions, prompts=[None] * 3, seeds=range(3), num_frames=[2])


def test_a_prompt_changes_only_the_streams_it_is_for(model):
    state = _begin(model, 2)
    changed = model.set_prompt(state, ["a rainy night", "a rainy night"], [False, True])
    assert torch.equal(changed.text[0], state.text[0])
    assert not torch.equal(changed.text[1], state.text[1])


@pytest.mark.parametrize("action", [[[0.0, 2.0]], [[np.nan, 0.0]], [[0.0, 0.0, 0.0]], [["left", "right"]]])
def test_a_bad_action_is_one_clear_error(model, action):
    with pytest.raises(ActionError, match="action must be"):
        model.step(_begin(model), action)


@pytest.mark.parametrize(("height", "width"), [(50, 70), (256, 256)])
def test_a_world_of_any_size_is_imagined_by_the_same_code(height, width):
    model = shaken_model(box_spec(height=height, width=width))
    state, prediction = model.step(_begin(model), _actions(model, 1, 1)[0])
    assert prediction.frames.shape == (1, height, width, 3)
    assert state.frames.shape == (1, 2, height, width, 3)


def test_frames_of_another_size_are_refused(model):
    frames, actions = some_context(box_spec(height=48), 1, 4)
    with pytest.raises(EnvError, match=r"32, 40.*48"):
        model.encode(frames, actions, prompts=[None], seeds=[0])


def test_bytes_that_are_no_state_are_refused(model):
    with pytest.raises(CheckpointError, match="not a saved WorldState"):
        WorldState.from_bytes(_begin(model).to_bytes()[:100])


def test_choices_become_one_hot_numbers():
    spec = ModelSpec(height=32, width=32, action_kind="multidiscrete", action_shape=(2,), action_counts=(2, 3))
    assert encode_actions(spec, np.array([[1, 2]])).tolist() == [[0, 1, 0, 0, 1]]
    with pytest.raises(ActionError):
        encode_actions(spec, np.array([[1, 3]]))
    single = ModelSpec(height=32, width=32, action_kind="discrete", action_counts=(3,), action_start=1)
    assert encode_actions(single, np.array([1, 3])).tolist() == [[1, 0, 0], [0, 0, 1]]
    with pytest.raises(ActionError, match=r"must have shape \(2,\); got \(2, 2\)"):
        encode_actions(single, np.array([[1, 3], [1, 3]]))
    shaken = shaken_model(single, tiny())
    state = shaken.encode(np.zeros((1, 1, 32, 32, 3), np.uint8), np.zeros((1, 0), int), prompts=[None], seeds=[0])
    assert shaken.step(state, np.array([2]))[1].frames.shape == (1, 32, 32, 3)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (gym.spaces.MultiDiscrete([3, 2], start=[1, 0]), "counts from 0"),
        (gym.spaces.MultiDiscrete([[3, 2]]), "flat"),
        (gym.spaces.Box(np.float32([-1, 0]), np.float32([1, 0])), "room between its bounds"),
        (gym.spaces.Box(-np.inf, np.inf, (2,)), "finite"),
    ],
    ids=str,
)
def test_an_action_space_that_cannot_be_modelled_is_refused(space, message):
    env = gym.Env()
    env.action_space = space
    with pytest.raises(EnvError, match=message):
        spec_of(env, height=32, width=32, control_dt=0.1)


def test_guidance_strengthens_what_a_prompt_changes_and_nothing_else(model):
    plain = _begin(model)
    asked = model.set_prompt(plain, ["a rainy night with heavy traffic"])
    action = _actions(model, 1, 1)[0]

    def frame(state, guidance):
        return model.step(state, action, guidance=guidance)[1].frames.astype(int)

    without, with_text = frame(plain, 1.0), frame(asked, 1.0)
    assert np.array_equal(frame(plain, 3.0), without)
    assert np.abs(frame(asked, 0.0) - without).max() <= 1
    learned, stronger = with_text - without, frame(asked, 3.0) - without
    assert np.abs(learned).sum() > 0
    assert (stronger * learned).sum() > 1.5 * (learned**2).sum()
    with pytest.raises(EnvError, match="guidance must be 0 to 10"):
        frame(asked, 11.0)


@pytest.mark.parametrize("num_threads", [1, 2])
def test_many_streams_are_encoded_as_each_alone(model, num_threads):
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        _check_many_streams(model)
    finally:
        torch.set_num_threads(before)


def _check_many_streams(model):
    frames, actions = some_context(model.spec, 37, 4)  # three parts, of which the last two overlap
    whole = model.encode(frames, actions, prompts=[None] * 37, seeds=range(37))
    for i in (0, 12, 13, 24, 25, 36):
        alone = model.encode(frames[i : i + 1], actions[i : i + 1], prompts=[None], seeds=[i])
        one, other = whole.memory.cache[i].float(), alone.memory.cache[0].float()
        torch.testing.assert_close(one, other, atol=0.02, rtol=0.02)  # bfloat16
