"""Tiny runs to serve."""

from __future__ import annotations

import pytest

from tests.builders import train_runs


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    return train_runs(tmp_path_factory.mktemp("served"))
