"""One server for all tests of a module, and a calibration by which every step is doubtful."""

import numpy as np
import pytest
from servers import Server

from worldsim.sim import Calibration


@pytest.fixture(scope="session")
def doubtful(model):
    return Calibration(
        model_sha=model.sha,
        action_mean=(0.0, 0.0),
        action_std=(0.5, 0.5),
        weights=(0.0, 1.0, 0.5, 0.5, 0.2, 0.1),
        quantiles=tuple(np.linspace(-40, -20, 101).tolist()),
    )


@pytest.fixture(scope="module")
def server(checkpoint, doubtful, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    doubtful.save(folder / "uncertainty.json")
    server = Server(checkpoint, folder, "--uncertainty", str(folder / "uncertainty.json"))
    yield server
    server.stop()
