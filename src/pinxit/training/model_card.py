"""The model card of a run: README.md, written from config.json.

It holds no path of this machine: a run folder is moved, and given to others.
"""

from __future__ import annotations

import shlex
from pathlib import PurePath
from typing import Any

from pinxit.console import format_number
from pinxit.runs import Run


def write_model_card(run: Run, config: dict[str, Any]) -> None:
    """Write README.md from the content of config.json."""
    info = run.info
    trained: dict[str, Any] = config.get("trained", {})
    color = "grey" if info.channels == 1 else "color"
    best = trained.get("best_validation_loss")
    unit = trained.get("unit") or ""
    version = config.get("versions", {}).get("pinxit", "of an unknown version")
    source = run.data_name if config.get("data", {}).get("source") else "images given in Python"
    name = shlex.quote(run.name)
    lines = [
        f"# {run.name}",
        "",
        f"A `{config['family']}` model trained with pinxit {version} on "
        f"`{source}`: {info.num_images:,} training "
        f"images of {info.width} x {info.height}, {color}.",
        "",
        f"Trained for {trained.get('seconds', 0) / 60:.1f} minutes: "
        f"{trained.get('steps', 0):,} steps, {trained.get('images_seen', 0):,} images seen, "
        f"{trained.get('skipped', 0)} updates skipped."
        + (f" Best validation loss: {format_number(best)} {unit}." if best is not None else ""),
        "",
        "## Use",
        "",
        "In the folder that holds this one:",
        "",
        "```",
        f"pinxit sample {name} -n 64",
        f"pinxit evaluate {name}",
        "```",
        "",
        "```python",
        "import pinxit",
        f"model = pinxit.load({run.name!r})",
        "model.sample(16, seed=0)",
        "```",
        "",
        "## Settings",
        "",
        "| setting | value |",
        "| --- | --- |",
        *(
            f"| {k} | {shorten_path(v)} |"
            for k, v in {**config["model"], **config["training"]}.items()
            if v is not None and not isinstance(v, dict)
        ),
        "",
        "## Limits",
        "",
        "The model has seen its training images only, and reproduces their gaps and biases.",
        "Measured quality, if evaluated: `evaluation.json` and `report.html`.",
        "",
    ]
    run.write("README.md", "\n".join(lines))


def shorten_path(value: Any) -> Any:
    """Return the last part of a path; any other value as it is."""
    is_path = isinstance(value, str) and ("/" in value or "\\" in value)
    return PurePath(value.replace("\\", "/")).name if is_path else value
