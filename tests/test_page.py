"""Pages: lossless frames, data that cannot break out of its element, charts with gaps."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from worldsim.errors import EnvError
from worldsim.page import Scene, Series, Track, chart_html, page_html, player_html


def tracks(*lengths, size=16):
    rng = np.random.default_rng(0)
    return [
        Track(label=f"track {i}", frames=rng.integers(0, 256, (n, size, size, 3), dtype=np.uint8))
        for i, n in enumerate(lengths)
    ]


def data_of(html):
    return json.loads(re.search(r'<script type="application/json" class="data">(.*?)</script>', html, re.S)[1])


def test_tracks_of_one_scene_have_one_length():
    with pytest.raises(EnvError, match="one shape"):
        Scene(title="a", tracks=tracks(5, 6))


def test_a_caption_cannot_end_the_script_that_carries_it():
    hostile = "</script><script>alert(1)</script>"
    html = player_html([Scene(title=hostile, tracks=tracks(3, 3), captions=[(0, hostile)])], frame_dt=0.1)
    assert html.count("</script>") == 1 and "<script>" not in html
    assert data_of(html)["scenes"][0]["captions"] == [[0, hostile]]


def test_the_difference_is_one_more_view_and_may_be_left_out():
    scene = Scene(title="a", tracks=tracks(3, 3, 3))
    assert player_html([scene], frame_dt=0.1).count("<canvas>") == 4
    assert player_html([scene], frame_dt=0.1, difference=None).count("<canvas>") == 3


def test_actions_keep_two_digits_and_choices_stay_whole():
    moves = Scene(title="a", tracks=tracks(3, 3), actions=np.array([[0.123, -1], [1, 0.5]], np.float32))
    picks = Scene(title="b", tracks=tracks(3, 3), actions=np.array([2, 0]))
    scenes = data_of(player_html([moves, picks], frame_dt=0.1))["scenes"]
    assert scenes[0]["actions"] == [[0.12, -1.0], [1.0, 0.5]] and scenes[1]["actions"] == [2, 0]


@pytest.mark.parametrize(("num", "size"), [(5, 16), (1200, 128), (3000, 64)])
def test_a_sheet_stays_within_what_an_image_may_be(num, size):
    frames = np.zeros((num, size, size, 3), np.uint8)
    frames[:, 0, 0, 0] = np.arange(num) % 251
    scene = data_of(player_html([Scene(title="a", tracks=[Track(label="a", frames=frames)])], frame_dt=0.1))["scenes"][
        0
    ]
    sheet = np.array(Image.open(io.BytesIO(base64.b64decode(scene["sheets"][0].partition(",")[2]))))
    columns, last = scene["columns"], num - 1
    assert max(sheet.shape[:2]) <= 16_383
    assert sheet[last // columns * size, last % columns * size, 0] == last % 251


def test_a_sheet_of_too_many_frames_is_refused_in_words():
    frames = np.broadcast_to(np.zeros((1, 256, 256, 3), np.uint8), (4000, 256, 256, 3))
    with pytest.raises(EnvError, match="at most"):
        player_html([Scene(title="a", tracks=[Track(label="a", frames=frames)])], frame_dt=0.1)


def test_a_chart_of_one_value_draws_a_dot():
    points = re.findall(r'<polyline[^>]*points="([^"]*)"', chart_html("skill", [Series(label="model", values=[0.5])]))
    assert len(points) == 1 and len(points[0].split()) == 2


def test_a_chart_breaks_its_line_where_a_value_is_missing():
    html = chart_html("skill", [Series(label="model", values=[0.5, None, 0.25, 0.3])])
    assert html.count("<polyline") == 2 and 'data-values="[0.5, null, 0.25, 0.3]"' in html


@pytest.mark.parametrize("values", [[None], [3.0], [2.0, 2.0], [-1e-6, 1e6]])
def test_a_chart_of_any_values_has_finite_points(values):
    html = chart_html("any", [Series(label="model", values=values)])
    assert "nan" not in html and "inf" not in html


def test_a_page_is_whole_and_its_title_is_text():
    html = page_html("<b>", "<p>body</p>")
    assert html.startswith("<!doctype html>") and "<title>&lt;b&gt;</title>" in html and "<p>body</p>" in html
    assert "class Player" in html and ".player {" in html
