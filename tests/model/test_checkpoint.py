import io
import json
from importlib import metadata

import numpy as np
import pytest

import worldsim
from tests.model.helpers import CAPTIONS, box_spec, shaken_model, some_context
from worldsim.errors import CheckpointError, PromptError
from worldsim.model import Start, Vocabulary, encode_starts, save
from worldsim.model.checkpoint import STARTS_BYTES, versions_of, write_json
from worldsim.rollout import Caption


@pytest.fixture
def saved(tmp_path):
    model = shaken_model()
    frames, actions = some_context(model.spec, 3, 4)
    captions = [Caption(0, CAPTIONS[0], CAPTIONS[1]), Caption(0, CAPTIONS[2], CAPTIONS[3]), Caption(0, CAPTIONS[2], "")]
    starts = [Start(frames=f, actions=a, caption=c) for f, a, c in zip(frames, actions, captions, strict=True)]
    save(
        tmp_path / "m",
        model.networks,
        config=model.config,
        spec=model.spec,
        starts=encode_starts(starts),
        card={"frames": 1},
        metrics={},
        meta={"env_fingerprint": "x"},
    )
    return tmp_path / "m"


def test_a_loaded_model_imagines_the_same_bits(saved):
    one, other = worldsim.load(saved), worldsim.load(str(saved))
    frames, actions = some_context(box_spec(), 1, 4)
    predictions = []
    for model in (one, other):
        state = model.encode(frames, actions, prompts=["a rainy night"], seeds=[0])
        predictions.append(model.step(state, actions[:, 0])[1])
    assert np.array_equal(predictions[0].frames, predictions[1].frames)
    assert one.spec == box_spec()
    assert (one.name, one.card, one.meta["env_fingerprint"]) == ("m", {"frames": 1}, "x")
    assert len(one.starts) == 3


def test_a_model_is_called_after_its_directory_wherever_it_is_loaded_from(saved, monkeypatch):
    (saved.parent / "run").mkdir()
    saved.rename(saved.parent / "run" / "checkpoint")
    monkeypatch.chdir(saved.parent / "run")
    assert [worldsim.load(path).name for path in (".", "checkpoint", "../run")] == ["run"] * 3


def test_a_model_is_saved_by_a_worldsim_that_is_not_installed(monkeypatch):
    def version(name):
        if name == "worldsim-sdk":
            raise metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(metadata, "version", version)
    assert versions_of(["torch", "worldsim-sdk"]) == {"torch": "1", "worldsim-sdk": worldsim.__version__}


def test_a_prompt_finds_the_start_that_looks_like_it(saved):
    model = worldsim.load(saved)
    assert model.nearest_start("heavy traffic at night") == 0
    assert model.nearest_start("晴朗的白天") == 1


def test_what_is_missing_or_damaged_is_named(saved, tmp_path):
    with pytest.raises(CheckpointError, match="no model 'nowhere'"):
        worldsim.load("nowhere")
    (saved / "starts.npz").rename(tmp_path / "starts.npz")
    with pytest.raises(CheckpointError, match=r"starts\.npz missing"):
        worldsim.load(saved)
    (tmp_path / "starts.npz").rename(saved / "starts.npz")
    weights = (saved / "model.safetensors").read_bytes()
    (saved / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        worldsim.load(saved)
    (saved / "model.safetensors").write_bytes(weights)
    config = json.loads((saved / "config.json").read_text())
    for broken in ({"config": {**config["config"], "text_encoder": "runes"}}, {"card": None}):
        whole = {name: value for name, value in {**config, **broken}.items() if value is not None}
        (saved / "config.json").write_text(json.dumps(whole))
        with pytest.raises(CheckpointError, match=r"damaged \(KeyError: '(runes|card)'\)"):
            worldsim.load(saved)
    config["config"]["mlp_dim"] = 96
    (saved / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="do not fit"):
        worldsim.load(saved)


def test_metrics_that_have_no_value_are_null_in_the_file(tmp_path):
    write_json(tmp_path / "metrics.json", {"skill": [0.5, float("nan")], "last": np.float32("inf")})
    text = (tmp_path / "metrics.json").read_text()

    def refuse(name):
        raise AssertionError(name)

    assert json.loads(text, parse_constant=refuse) == {"skill": [0.5, None], "last": None}


def test_the_vocabulary_knows_what_it_does_not_know():
    vocabulary = Vocabulary.from_texts(CAPTIONS)
    known, unknown = vocabulary.understand("a Rainy night with purple dragons")
    assert {"rainy", "night"} <= set(known)
    assert unknown == ["purple", "dragons"]
    known, unknown = vocabulary.understand("雨夜 恐龙")
    assert known == ["雨夜"]
    assert unknown == ["恐龙"]
    assert vocabulary.understand("静夜 静龙") == (["静夜"], ["静龙"])  # no such pair; both characters, and one of two
    assert vocabulary.understand("a rainy night, снег 雨の夜") == (["a", "rainy", "night", "雨", "夜"], ["снег", "の"])
    with pytest.raises(PromptError, match="no word"):
        vocabulary.understand("xyzzy")
    with pytest.raises(PromptError, match="no word"):
        vocabulary.understand("")
    with pytest.raises(PromptError, match="2000 characters"):
        vocabulary.understand("rain " * 1000)
    assert Vocabulary(vocabulary.tokens).encode("rainy night") == vocabulary.encode("rainy night")
    *many, last = vocabulary.encode("night " * 300 + "rainy")  # every known word of a long prompt counts
    assert (set(many), [last]) == (set(vocabulary.encode("night")), vocabulary.encode("rainy"))


def test_starts_of_large_frames_keep_the_last_ones_that_fit():
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (12, 8, 128, 128, 3), dtype=np.uint8)  # noise: 4.7 MB
    actions = rng.random((12, 7, 2), np.float32)
    starts = [Start(frames=f, actions=a, caption=Caption(0, "a", "b")) for f, a in zip(frames, actions, strict=True)]
    few = encode_starts(starts)
    assert len(few) <= STARTS_BYTES
    with np.load(io.BytesIO(few), allow_pickle=False) as arrays:
        num_frames = arrays["frames"].shape[1]
        assert num_frames == STARTS_BYTES // (12 * 128 * 128 * 3)
        assert np.array_equal(arrays["frames"], frames[:, 8 - num_frames :])
        assert np.array_equal(arrays["actions"], actions[:, 8 - num_frames :])


def test_starts_that_fit_are_whole():
    frames, actions = some_context(shaken_model().spec, 2, 4)
    starts = [Start(frames=f, actions=a, caption=Caption(0, "a", "b")) for f, a in zip(frames, actions, strict=True)]
    with np.load(io.BytesIO(encode_starts(starts)), allow_pickle=False) as arrays:
        assert np.array_equal(arrays["frames"], frames)
        assert np.array_equal(arrays["actions"], actions)


def test_starts_that_deflate_does_not_make_small_enough_are_whole_in_lzma():
    row = np.random.default_rng(0).integers(0, 256, (40_000,), dtype=np.uint8)  # repeats farther apart than 32 kB
    frames = np.tile(row, 10 * 16 * 128 * 128 * 3 // len(row) + 1)[: 10 * 16 * 128 * 128 * 3].reshape(
        10, 16, 128, 128, 3
    )
    starts = [Start(frames=f, actions=np.zeros((15, 2)), caption=Caption(0, "a", "b")) for f in frames]
    packed = encode_starts(starts)
    assert len(packed) <= STARTS_BYTES
    with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
        assert np.array_equal(arrays["frames"], frames)
