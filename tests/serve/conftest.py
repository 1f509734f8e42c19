"""One server for all tests of a module."""

import pytest
from servers import Server


@pytest.fixture(scope="module")
def server(checkpoint, tmp_path_factory):
    server = Server(checkpoint, tmp_path_factory.mktemp("server"))
    yield server
    server.stop()
