"""Checkpoints that several rooms test with."""

import pytest
from tiny_models import make_spec, write_checkpoint

from tests.model.helpers import shaken_first_frames
from worldsim.model import load


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    return str(write_checkpoint(tmp_path_factory.mktemp("models") / "tiny", make_spec()))


@pytest.fixture(scope="session")
def model(checkpoint):
    return load(checkpoint)


@pytest.fixture(scope="module")
def painter(checkpoint):
    """Return a model that has what draws first frames, untrained."""
    model = load(checkpoint)
    model.first_frame_net = shaken_first_frames(model)
    return model


@pytest.fixture(scope="session")
def mortal_checkpoint(tmp_path_factory):
    """Its termination head always says the end."""
    return str(write_checkpoint(tmp_path_factory.mktemp("models") / "mortal", make_spec(), end_logit=20.0))
