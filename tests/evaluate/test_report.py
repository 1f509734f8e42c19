"""The report, the contact sheet and the demo: whole, self-contained, and true to the frames."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from rolling_world import ENV_ID, SPEC, RollingModel

from worldsim.evaluate import compare, contact_sheet, demo
from worldsim.evaluate.sentences import limits, verdict
from worldsim.model import Start, encode_starts, new_model, save
from worldsim.model.presets import tiny
from worldsim.rollout import Caption, Rollout
from worldsim.store import RolloutStore


@pytest.fixture(autouse=True)
def few_timed_steps(monkeypatch):
    for name, steps in {"_WARM_STEPS": 1, "_STEPS": 5, "_BATCH_WARM_STEPS": 1, "_BATCH_STEPS": 1}.items():
        monkeypatch.setattr(f"worldsim.evaluate.speed.{name}", steps)


@pytest.fixture(scope="module")
def report():
    return compare(RollingModel(noise=6), ENV_ID, episodes=3, horizon=20, speed=False, env_kwargs={"life": (30, 90)})


def test_the_page_reaches_for_no_network(report, tmp_path):
    page = report.save(tmp_path / "deep" / "report.html").read_text()
    assert "default-src 'none'" in page
    assert not re.findall(r"https?://|@import|url\(|<link [^>]*stylesheet", page.replace("http://www.w3.org", ""))


def test_the_page_holds_the_figures_and_the_frames_of_every_clip(report, tmp_path):
    page = report.save(tmp_path / "report.html").read_text()
    assert report.verdict in page.replace("&#x27;", "'") and "What the model cannot do" in page
    data = json.loads(re.search(r'<script type="application/json" class="data">(.*?)</script>', page, re.S)[1])
    assert len(data["scenes"]) == 3 and data["actionNames"] == ["sideways", "down"]
    for scene, pair in zip(data["scenes"], report.rollouts, strict=True):
        for sheet, rollout in zip(scene["sheets"], (pair.truth, pair.imagined), strict=True):
            image = np.array(Image.open(io.BytesIO(base64.b64decode(sheet.split(",")[1]))))
            for t in (0, len(rollout)):
                row, column = divmod(t, scene["columns"])
                shown = image[32 * row : 32 * (row + 1), 32 * column : 32 * (column + 1)]
                assert (shown == rollout.obs[t]).all()
        assert scene["numFrames"] == len(pair.truth) + 1 == len(scene["actions"]) + 1


def test_the_player_takes_the_first_clips_and_says_so(report, tmp_path):
    page = report.save(tmp_path / "report.html", max_clips=2).read_text()
    assert "first 2 of 3 clips" in page


def test_the_table_shows_the_steps_of_the_design(report):
    table = report.table()
    assert [row["step"] for row in table] == [1, 4, 8, 16]
    assert table[2]["skill"] == report.json["skill"][7] and table[0]["n"] == 3


def test_the_contact_sheet_pairs_truth_and_imagined(report, tmp_path):
    image = np.array(Image.open(contact_sheet(report.rollouts, tmp_path / "sheet.png")))
    first = report.rollouts[0]
    top = image[40 : 40 + 192, 132 : 132 + 192]
    below = image[40 + 196 : 40 + 196 + 192, 132 : 132 + 192]
    assert (top[::6, ::6] == first.truth.obs[1]).all() and (below[::6, ::6] == first.imagined.obs[1]).all()


def test_words_follow_the_figures(report):
    good = dict(report.json)
    assert "closer to the truth" in verdict(good) and "The actions count" in verdict(good)
    low = {"skill": [-0.5] * 20, "skill_ci": [[-0.7, -0.3]] * 20, "sharpness": [0.3] * 20}
    bad = {**good, **low, "action_shuffle_ratio": 1.0}
    assert "further from the truth" in verdict(bad) and "hardly count" in verdict(bad) and "blurred" in verdict(bad)
    assert any("From step 1 on" in text for text in limits(bad))
    assert not any("From step" in text for text in limits(good))
    mixed = {**good, "skill_ci": [[-0.5, -0.1], [0.1, 0.3], *[[-0.7, -0.3]] * 18]}
    assert any("From step 3 on" in text for text in limits(mixed))
    late = {**good, "skill_ci": [[-0.5, -0.1], *[[0.1, 0.3]] * 19]}
    assert not any("From step" in text for text in limits(late))
    unsure = {**good, "skill": [0.1] * 20, "skill_ci": [[-0.1, 0.3]] * 20}
    assert "neither closer" in verdict(unsure)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny-rolling"
    model = new_model(tiny(), SPEC)
    frames = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    start = Start(frames=frames, actions=np.zeros((3, 2), np.float32), caption=Caption(0, "a", "b"))
    parts = {"starts": encode_starts([start]), "card": {}, "metrics": {}, "meta": {}}
    save(path, model.networks, config=model.config, spec=SPEC, **parts)
    return path


def test_the_demo_leaves_report_sheet_and_both_rollouts_and_can_be_repeated(checkpoint, tmp_path):
    stages = set()
    for _ in range(2):
        report = demo(
            tmp_path,
            model=str(checkpoint),
            episodes=2,
            horizon=4,
            progress=lambda stage, done, total: stages.add(stage),
        )
    assert {"report.html", "contact-sheet.png", "rollouts"} == {path.name for path in tmp_path.iterdir()}
    store = RolloutStore.open(tmp_path / "rollouts")
    assert [store.info(i).source for i in range(len(store))] == ["truth", "imagined"] * 2
    assert (store.episode(1).obs == report.rollouts[0].imagined.obs).all()
    assert {"true clips", "imagined clips"} <= stages


def test_the_demo_deletes_nothing_that_is_not_a_store(checkpoint, tmp_path):
    (tmp_path / "rollouts").mkdir()
    (tmp_path / "rollouts" / "precious").touch()
    with pytest.raises(ValueError, match="store"):
        demo(tmp_path, model=str(checkpoint), episodes=1, horizon=2)
    assert (tmp_path / "rollouts" / "precious").exists()


@pytest.mark.parametrize(("run_id", "model"), [("a-week-of-work", None), ("demo", "no-such-model")])
def test_the_demo_deletes_no_store_that_is_not_its_own_or_before_it_can_run(checkpoint, tmp_path, run_id, model):
    frames = np.zeros((2, 32, 32, 3), np.uint8)
    step = {"reward": np.zeros(1, np.float32), "terminated": np.zeros(1, bool), "truncated": np.ones(1, bool)}
    rollout = Rollout(obs=frames, action=np.zeros((1, 2), np.float32), **step)
    RolloutStore.create(tmp_path / "rollouts").append([rollout], run_id=run_id)
    with pytest.raises(ValueError, match="not of a demo" if model is None else "no-such-model"):
        demo(tmp_path, model=model or str(checkpoint), episodes=1, horizon=2)
    assert len(RolloutStore.open(tmp_path / "rollouts")) == 1


def test_speed_is_measured_through_the_gymnasium_env(checkpoint):
    figures = compare(str(checkpoint), ENV_ID, episodes=1, horizon=2).json
    assert figures["imagined_frames_per_second"] > 0 and figures["imagined_frames_per_second_batch64"] > 0
