"""A scene, seen: every kind of file, of the true and the imagined world, and what is not possible."""

import numpy as np
import pytest
import trimesh
from counting_world import SIZE
from PIL import Image

from tests.model.helpers import shaken_first_frames
from worldsim.errors import EnvError, PromptError
from worldsim.model import load
from worldsim.serve.preview import preview

SMALL = {"height": SIZE, "width": SIZE}


def test_the_true_city_is_filmed_as_the_prompt_says(tmp_path):
    night = preview("night", tmp_path / "deep" / "night.png", seconds=0.3, seed=5, env_kwargs=SMALL)
    day = preview("a sunny day, 晴天", tmp_path / "day.png", seconds=0.3, seed=5, env_kwargs=SMALL)
    assert np.asarray(Image.open(day)).mean() > np.asarray(Image.open(night)).mean() + 20


def test_an_imagined_world_continues_a_still_and_says_that_it_is_imagined(checkpoint, tmp_path):
    Image.new("RGB", (90, 50), (200, 30, 30)).save(tmp_path / "still.jpg")
    gif = preview("雨天", tmp_path / "x.gif", model=checkpoint, image=tmp_path / "still.jpg", seconds=0.5)
    with Image.open(gif) as film:
        assert (film.n_frames, film.info["duration"]) == (6, 100)
        first = np.asarray(film.convert("RGB"))[40:]
    assert first[..., 0].mean() > 150 and first[..., 1:].mean() < 60
    page = preview("", tmp_path / "x.html", model=checkpoint, seconds=0.5).read_text()
    assert "imagined" in page and "default-src 'none'" in page


def test_an_imagined_world_begins_from_the_prompt_alone(checkpoint, tmp_path):
    model = load(checkpoint)
    model.first_frame_net = shaken_first_frames(model)
    (first,) = model.first_frames(["雨天"], [7])
    with Image.open(preview("雨天", tmp_path / "x.gif", model=model, from_text=True, seconds=0.5, seed=7)) as film:
        assert film.n_frames == 6
        film.seek(0)
        shown = np.asarray(film.convert("RGB"))
    assert np.abs(shown[-first.shape[0] :].mean(axis=(0, 1)) - first.mean(axis=(0, 1))).max() < 20


def test_cameras_stand_side_by_side_at_one_moment_and_in_a_film(tmp_path):
    import av

    lab = {"env_id": "worldsim/Lab-v0", "cameras": ["front", "top"], "seconds": 0.3}
    with Image.open(preview("red", tmp_path / "x.png", **lab)) as picture:
        assert picture.width > 1.8 * picture.height
        left, right = (np.asarray(picture)[40:, part] for part in (slice(0, 256), slice(-256, None)))
    assert np.abs(left.astype(int) - right).mean() > 10
    with av.open(str(preview("", tmp_path / "x.mp4", **lab))) as film:
        assert (film.streams.video[0].frames, film.streams.video[0].average_rate) == (7, 20)
    page = preview("", tmp_path / "x.html", **lab).read_text()
    assert "truth, front" in page and "truth, top" in page


def test_the_scene_is_exported_as_geometry(tmp_path):
    scene = trimesh.load(preview("", tmp_path / "city.glb", env_kwargs=SMALL))
    assert len(scene.geometry) > 3


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"out": "x.mov"}, EnvError, ".gif"),
        ({"seconds": 61}, EnvError, "60 seconds"),
        ({"image": "x.png"}, EnvError, "--model"),
        ({"from_text": True}, EnvError, "takes a model and a prompt"),
        ({"from_text": True, "model": "checkpoint", "prompt": ""}, EnvError, "takes a model and a prompt"),
        ({"from_text": True, "model": "checkpoint"}, EnvError, "cannot begin from text alone"),
        ({"cameras": ["front"], "model": "checkpoint"}, EnvError, "leave out --camera"),
        ({"cameras": ["front", "moon"], "env_id": "worldsim/Lab-v0", "prompt": ""}, EnvError, "moon"),
        ({"out": "x.glb", "model": "checkpoint"}, EnvError, "no geometry"),
        ({"out": "x.glb", "prompt": "", "env_id": "counting_world:CountingWorld-v0"}, EnvError, "no geometry"),
        ({"prompt": "qwerty"}, PromptError, "qwerty"),
        ({"env_id": "counting_world:CountingWorld-v0"}, PromptError, "takes no prompts"),
        ({"image": "nowhere.png", "model": "checkpoint"}, EnvError, "cannot be read"),
    ],
    ids=str,
)
def test_what_is_not_possible_is_said_and_nothing_is_written(options, error, says, checkpoint, tmp_path):
    asked = {"prompt": "night", "out": "x.gif", **options}
    if asked.get("model"):
        asked["model"] = checkpoint
    prompt, out = asked.pop("prompt"), tmp_path / asked.pop("out")
    with pytest.raises(error, match=says):
        preview(prompt, out, **asked)
    assert not list(tmp_path.iterdir())
