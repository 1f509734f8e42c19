"""What a prompt denies is not heard, and is handed back."""

import pytest

import worldsim
from worldsim.errors import PromptError
from worldsim.model import Vocabulary
from worldsim.model.denial import split_denials


def knows_none(token):
    return False


@pytest.mark.parametrize(
    ("text", "heard", "denied"),
    [
        ("a rainy night", "a rainy night", []),
        ("no rain, night", ", night", ["no rain"]),
        ("night without rain", "night", ["without rain"]),
        ("no rain, snow or fog, at night", ", at night", ["no rain, snow or fog"]),
        ("no rain or fog but heavy traffic", "but heavy traffic", ["no rain or fog"]),
        ("the traffic is not very heavy in the rain", "the traffic is in the rain", ["not very heavy"]),
        ("not at night", "", ["not at night"]),
        ("no rain, no fog, dusk", ",, dusk", ["no rain", "no fog"]),
        ("It isn’t raining", "It", ["isn’t raining"]),
        ("not only rain but fog", "not only rain but fog", []),
        ("northern lights, a notice", "northern lights, a notice", []),
        ("no", "", ["no"]),
        ("没有雨的夜晚", "的夜晚", ["没有雨"]),
        ("夜晚,没有雨、雪和雾", "夜晚,", ["没有雨、雪和雾"]),
        ("不下雨,黄昏", ",黄昏", ["不下雨"]),
        ("没有雨,有雾", ",有雾", ["没有雨"]),
        ("非常黑的夜晚,特别大的雨,不断下雪", "非常黑的夜晚,特别大的雨,不断下雪", []),
        ("", "", []),
    ],
)
def test_a_denial_ends_where_its_words_do(text, heard, denied):
    found, what = split_denials(text, knows_none)
    assert (" ".join(found.split()).replace(" ,", ","), what) == (heard, denied)


def test_what_captions_deny_is_known():
    vocabulary = Vocabulary.from_texts(["nobody, no cars on the road", "路边没人,白天"])
    assert vocabulary.understand("no cars") == (["no", "cars"], [])
    assert vocabulary.understand("路边没人") == (["路边没人"], [])
    assert vocabulary.understand("白天,没车") == (["白天"], ["没车"])


def test_a_model_does_not_hear_what_is_denied():
    model = worldsim.load("city-64")
    assert model.understand("a clear night, no rain or fog") == (["a", "clear", "night"], ["no rain or fog"])
    one, other, rain = model.encode_text(["clear night", "clear night without rain", "clear night rain"])
    assert (one == other).all() and not (one == rain).all()
    start = model.starts[model.nearest_start("night, no rain")].caption.en
    assert "rain" not in start.split()
    with pytest.raises(PromptError, match=r"'no rain' was understood; say what is to be there"):
        model.understand("no rain")
