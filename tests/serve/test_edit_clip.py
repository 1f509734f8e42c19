"""A clip or a picture, seen and edited: every source and every kind of file, and what is not possible."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from worldsim.errors import EnvError, PromptError, StoreError
from worldsim.rollout import Caption, Rollout
from worldsim.serve.edit import edit
from worldsim.store import RolloutStore


@pytest.fixture(scope="module")
def episode(painter):
    spec = painter.spec
    rng = np.random.default_rng(0)
    return Rollout(
        obs=rng.integers(0, 256, (20, spec.height, spec.width, 3), dtype=np.uint8),
        action=rng.uniform(-1, 1, (19, *spec.action_shape)).astype(np.float32),
        reward=np.zeros(19, np.float32),
        terminated=np.zeros(19, bool),
        truncated=np.arange(19) == 18,
        env_id=spec.env_id,
        caption=[Caption(0, "a foggy night", "雾夜"), Caption(12, "heavy rain", "大雨")],
    )


@pytest.fixture(scope="module")
def store(painter, episode, tmp_path_factory):
    path = tmp_path_factory.mktemp("edit") / "store"
    RolloutStore.create(path).append([episode])
    return path


def test_a_picture_and_an_animation_are_edited_frame_by_frame(painter, tmp_path):
    rng = np.random.default_rng(1)
    frames = [Image.fromarray(rng.integers(0, 256, (50, 90, 3), dtype=np.uint8)) for _ in range(3)]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:], duration=200)
    frames[0].save(tmp_path / "x.png")
    with Image.open(edit(tmp_path / "x.gif", "heavy rain", tmp_path / "new" / "y.gif", model=painter)) as film:
        assert (film.n_frames, film.info["duration"]) == (3, 200)
    with Image.open(edit(tmp_path / "x.png", "heavy rain", tmp_path / "y.png", model=painter)) as picture:
        seen, edited = np.split(np.asarray(picture), 2)
    assert (seen != edited).any()


def test_a_store_tells_what_its_frames_show_and_words_of_ones_own_do_so_instead(painter, episode, store, tmp_path):
    asked = []
    original = painter.edit

    def spied(clips, prompts, **settings):
        asked.extend(settings["told"])
        return original(clips, prompts, **settings)

    painter.edit = spied
    try:
        told = []
        edit(store, "rain", tmp_path / "y.html", model=painter, progress=lambda done, total: told.append((done, total)))
        assert asked == ["a foggy night"] * 12 + ["heavy rain"] * 8
        assert told == [(16, 20), (20, 20)]
        asked.clear()
        edit(store, "rain", tmp_path / "y.png", model=painter, told="a clear day", strength=0.5)
        assert set(asked) == {"a clear day"}
    finally:
        del painter.edit
    assert "imagined: rain" in (tmp_path / "y.html").read_text()


def test_what_cannot_be_edited_is_one_clear_error_and_leaves_nothing(painter, store, tmp_path, checkpoint):
    (tmp_path / "x.png").write_text("no picture")
    pictures = [Image.new("RGB", (9, 9), (i, i, i)) for i in range(70)]
    pictures[0].save(tmp_path / "long.gif", save_all=True, append_images=pictures[1:], duration=1000)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:2000])
    cases = [
        (EnvError, "is one of .png, .gif, .mp4, .html; got 'y.glb'", store, "rain", "y.glb", {}),
        (EnvError, "cannot be read as a picture", tmp_path / "x.png", "rain", "y.gif", {}),
        (EnvError, "cannot be read as a picture", tmp_path / "none.png", "rain", "y.gif", {}),
        (EnvError, "cut.png cannot be read", tmp_path / "cut.png", "rain", "y.gif", {}),
        (EnvError, "a clip of up to 60 seconds can be edited; got 70", tmp_path / "long.gif", "rain", "y.gif", {}),
        (StoreError, "has 1 episode", store, "rain", "y.gif", {"episode": 7}),
        (EnvError, "strength is in 0 to 1", store, "rain", "y.gif", {"strength": 2.0}),
        (PromptError, "was understood", store, "zzz", "y.gif", {}),
        (EnvError, "cannot edit what it sees", store, "rain", "y.gif", {"model": str(checkpoint)}),
    ]
    for error, words, source, prompt, name, settings in cases:
        with pytest.raises(error, match=words):
            edit(source, prompt, tmp_path / name, **{"model": painter, **settings})
        assert not (tmp_path / name).exists()


def test_another_world_and_another_size_are_refused(painter, episode, tmp_path):
    for name, changed, words in (
        ("world", replace(episode, env_id="tests/Other-v0"), "has learned"),
        ("size", replace(episode, obs=episode.obs[:, :16, :16].copy()), "edits frames of"),
    ):
        RolloutStore.create(tmp_path / name).append([changed])
        with pytest.raises(EnvError, match=words):
            edit(tmp_path / name, "rain", tmp_path / "y.gif", model=painter)
