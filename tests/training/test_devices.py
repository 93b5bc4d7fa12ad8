"""Setting up Fabric: nothing that Lightning prints reaches the user."""

from __future__ import annotations

import pytest

from pinxit.training.devices import set_up_fabric
from pinxit.training.settings import TrainingSettings


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_lightning_prints_nothing(precision, capfd, caplog, recwarn):
    fabric = set_up_fabric(TrainingSettings(precision=precision))
    with fabric.autocast():
        pass
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
    assert not recwarn.list
