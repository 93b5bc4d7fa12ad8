"""What all processes of a training have to agree on before it begins."""

from __future__ import annotations

import dataclasses
import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pinxit
from pinxit.training.prepare import TrainingData
from pinxit.training.settings import TrainingSettings


def describe_training(
    data: TrainingData, settings: TrainingSettings, config: Any
) -> dict[str, Any]:
    """Return code, data and settings by the names that an error gives them."""
    options = config if isinstance(config, dict) else dataclasses.asdict(config)
    return {
        "version of pinxit": version("pinxit"),
        "version of torch": version("torch"),
        "code of pinxit": hash_code(),
        "set of images": data.images.fingerprint,
        **{f"model option {name}": value for name, value in options.items()},
        **{f"setting {name}": value for name, value in dataclasses.asdict(settings).items()},
    }


def hash_code() -> str:
    """Return a hash of the source files of the package."""
    digest = hashlib.sha256()
    folder = Path(pinxit.__file__).parent
    for file in sorted(folder.rglob("*.py")):
        digest.update(f"{file.relative_to(folder)}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
