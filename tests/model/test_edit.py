"""A model repaints what it sees: clips, and the frame that an imagined stream shows."""

from itertools import product

import numpy as np
import pytest
import torch

from tests.model.helpers import box_spec, shaken_first_frames, shaken_model, some_context
from worldsim.errors import CheckpointError, EnvError
from worldsim.model import Exclusions, Vocabulary, encode_starts, load, save, save_first_frames
from worldsim.model.world_model import MAX_GUIDANCE, Start
from worldsim.rollout import Caption

HOURS = {"night": "夜晚", "noon": "正午", "dusk": "黄昏"}
WEATHER = {"rain": "下雨", "fog": "大雾", "clear": "晴朗"}
TRAFFIC = {"busy": "拥挤", "quiet": "安静"}
CAPTIONS = [
    (f"{hour}, {weather} in a {traffic} street", f"{HOURS[hour]},{WEATHER[weather]},{TRAFFIC[traffic]}的街道")
    for hour, weather, traffic in product(HOURS, WEATHER, TRAFFIC)
] * 8


@pytest.fixture(scope="module")
def exclusions():
    return Exclusions.of_captions(Vocabulary.from_texts([text for pair in CAPTIONS for text in pair]), CAPTIONS)


@pytest.fixture(scope="module")
def model():
    model = shaken_model(box_spec(height=36, width=44))
    model.first_frame_net = shaken_first_frames(model)
    return model


@pytest.fixture(scope="module")
def clips(model):
    return some_context(model.spec, 2, 3)[0]


@pytest.mark.parametrize(
    ("told", "prompt", "words"),
    [
        ("night, rain in a busy street", "noon", "noon rain in a busy street"),
        ("night, rain in a busy street", "a quiet noon", "a quiet noon rain in street"),
        ("night, rain in a busy street", "大雾", "大雾 night in a busy street"),
        ("夜晚,下雨,安静的街道", "fog", "fog 夜晚 安静的街道"),
        ("night, rain in a busy street", "night", "night rain in a busy street"),
        ("night, rain and unicorns", "fog", "fog night"),
        (None, "fog", "fog"),
        ("", "fog", "fog"),
        ("night", "unicorns", "unicorns night"),
    ],
)
def test_a_prompt_takes_the_place_of_what_it_excludes_and_of_nothing_else(exclusions, told, prompt, words):
    retold = exclusions.retold(told, prompt)
    assert retold.replace(",", "").split() == words.split()
    assert exclusions.retold(retold, prompt).replace(",", "").split() == words.split()


def test_no_number_of_prompts_makes_a_text_longer_than_the_words_there_are(exclusions):
    told, rng = "", np.random.default_rng(0)
    for _ in range(300):
        told = exclusions.retold(told, " ".join(rng.choice(exclusions.vocabulary.tokens, 3)) + " zzz" * 5)
    assert len(told.split()) < len(exclusions.vocabulary) + 10


def test_what_is_rare_excludes_nothing():
    seldom = [("night", ""), ("rain", "")] * 2
    found = Exclusions.of_captions(Vocabulary.from_texts(["night", "rain"]), seldom)
    assert not found.table.any()
    assert found.retold("night", "rain") == "rain, night"


def test_exclusions_are_symmetric_and_the_same_from_their_file(exclusions):
    np.testing.assert_array_equal(exclusions.table, exclusions.table.T)
    assert not exclusions.table.diagonal().any()
    again = Exclusions.from_bytes(exclusions.vocabulary, exclusions.to_bytes())
    np.testing.assert_array_equal(again.table, exclusions.table)
    with pytest.raises(ValueError, match="exclusions of 1 words"):
        Exclusions.from_bytes(Vocabulary(["night"]), exclusions.to_bytes())


def test_nothing_changes_without_strength_or_if_the_prompt_was_told_already(model, clips):
    asked = {"seeds": [0, 1], "told": ["a rainy night", None]}
    np.testing.assert_array_equal(model.edit(clips, ["a clear day"] * 2, strength=0.0, **asked), clips)
    told = ["a rainy night", "a clear day"]
    np.testing.assert_array_equal(model.edit(clips, told, seeds=[0, 1], told=told), clips)


def test_more_strength_changes_more_and_every_setting_matters(model, clips):
    def change(prompt="a clear day", told="a rainy night", seed=0, **settings):
        edited = model.edit(clips[:1], [prompt], seeds=[seed], told=[told], **settings)
        return edited.astype(int) - clips[:1]

    far = [np.abs(change(strength=s)).mean() for s in (0.25, 0.5, 1.0)]
    assert 0 < far[0] < far[1] < far[2]
    base = change()
    others = [change(seed=1), change("heavy traffic"), change(told=None), change(guidance=9.0), change(sampler_steps=3)]
    assert all((other != base).any() for other in others)


def test_frames_of_a_clip_are_edited_alike_and_whatever_their_company(model, clips):
    whole = model.edit(clips, ["a clear day", "雨夜"], seeds=[4, 5], told=["heavy traffic", None])
    still = np.repeat(clips[:1, :1], 3, axis=1)
    same = model.edit(still, ["a clear day"], seeds=[4], told=["heavy traffic"])
    for edited in same[0]:
        assert np.abs(edited.astype(int) - whole[0, 0]).max() <= 1
    alone = model.edit(clips[1:, 2:], ["雨夜"], seeds=[5])
    assert np.abs(alone[0, 0].astype(int) - whole[1, 2]).max() <= 1


def test_only_what_is_asked_is_repainted_and_the_memory_stays(model):
    frames, actions = some_context(model.spec, 3, model.config.num_context)
    told = ["a rainy night", None, "heavy traffic"]
    state = model.encode(frames, actions, prompts=told, seeds=[0, 1, 2])
    prompts = ["a clear day", "雨夜", ""]
    wanted = [model.retold(*pair) for pair in zip(told, prompts, strict=True)]
    after = model.repaint(state, wanted, told=told, mask=[True, True, False])
    changed = (after.frames != state.frames).flatten(1).any(dim=1)
    assert changed.tolist() == [True, True, False]
    assert torch.equal(after.cache, state.cache)
    assert torch.equal(after.text[:2], model.encode_text(wanted)[:2]) and torch.equal(after.text[2], state.text[2])
    (edited,) = model.edit(frames[:1, -1:], prompts[:1], seeds=[0], told=told[:1])
    np.testing.assert_array_equal(model.decode(after)[0], edited[0])
    both = after.frames[0].int() - state.frames[0].int()  # the frame before moves as the last one, within its range
    inside = (state.frames[0, 1].int() + both[0] >= 0) & (state.frames[0, 1].int() + both[0] <= 255)
    assert torch.equal(both[1][inside], both[0][inside])
    model.step(after, actions[:, 0])
    nobody = model.repaint(state, wanted, told=told, mask=[False] * 3)
    assert torch.equal(nobody.frames, state.frames) and torch.equal(nobody.text, state.text)


def test_what_cannot_be_edited_is_one_clear_error(model, clips):
    with pytest.raises(EnvError, match="cannot edit what it sees"):
        shaken_model(model.spec).edit(clips, ["night"] * 2, seeds=[0, 1])
    with pytest.raises(EnvError, match=r"clips of \(N, T, 36, 44, 3\) uint8"):
        model.edit(clips[0], ["night"], seeds=[0])
    with pytest.raises(EnvError, match=r"clips of \(N, T, 36, 44, 3\) uint8"):
        model.edit(clips.astype(np.float32), ["night"] * 2, seeds=[0, 1])
    with pytest.raises(EnvError, match="1 prompts, 2 seeds and 1 captions"):
        model.edit(clips, ["night"], seeds=[0, 1])
    for strength in (-0.1, 1.1, np.nan):
        with pytest.raises(EnvError, match="strength is in 0 to 1"):
            model.edit(clips, ["night"] * 2, seeds=[0, 1], strength=strength)
    with pytest.raises(EnvError, match="guidance must be 0 to 10"):
        model.edit(clips, ["night"] * 2, seeds=[0, 1], guidance=MAX_GUIDANCE + 1)
    with pytest.raises(EnvError, match="sampler_steps must be at least 1"):
        model.edit(clips, ["night"] * 2, seeds=[0, 1], sampler_steps=0)
    assert model.edit(clips[:, :0], ["night"] * 2, seeds=[0, 1]).shape == (2, 0, 36, 44, 3)


def test_a_checkpoint_keeps_its_exclusions_and_says_if_they_are_damaged(model, tmp_path):
    frames, actions = some_context(model.spec, 1, model.config.num_context)
    start = Start(frames=frames[0], actions=actions[0], caption=Caption(0, "a rainy night", "雨夜"))
    parts = {"config": model.config, "spec": model.spec, "starts": encode_starts([start])}
    save(tmp_path, model.networks, **parts, card={}, metrics={}, meta={})
    vocabulary = model.networks.text.vocabulary
    table = np.eye(len(vocabulary), dtype=bool)[::-1].copy()
    kept = Exclusions(vocabulary, table)
    save_first_frames(tmp_path, model.first_frame_net, exclusions=kept, metrics={}, meta={})
    found = load(tmp_path).exclusions
    assert found is not None
    np.testing.assert_array_equal(found.table, table)
    assert not load(tmp_path).repaints
    (tmp_path / "first-frames" / "exclusions.npz").write_bytes(kept.to_bytes()[:50])
    with pytest.raises(CheckpointError, match=r"exclusions.npz is damaged"):
        load(tmp_path)
