"""A server of tiny runs, and the official client, for all tests of this folder."""

from __future__ import annotations

import pytest

from tests.builders import train_runs
from tests.serve.server import make_client, serving


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    return train_runs(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="session")
def base_url(runs, tmp_path_factory):
    """The URL of a server of all the runs."""
    with serving(runs.values(), tmp_path_factory.mktemp("store") / "serve.sqlite") as url:
        yield url


@pytest.fixture(scope="session")
def client(base_url):
    return make_client(base_url)
