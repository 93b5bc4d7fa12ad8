"""Setting up Fabric: nothing that Lightning prints reaches the user."""

from __future__ import annotations

import pytest
import torch

from pinxit.errors import UsageError
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


def test_the_device_of_the_settings_is_used(monkeypatch):
    assert set_up_fabric(TrainingSettings(device="cpu")).device.type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="device cuda: PyTorch finds no such device"):
        set_up_fabric(TrainingSettings(device="cuda"))


def test_an_unknown_device_is_refused():
    with pytest.raises(UsageError, match="device is auto, cpu, cuda or mps, not 'gpu'"):
        TrainingSettings(device="gpu")
