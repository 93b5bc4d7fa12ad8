"""README.md of a run: a model card written from the facts."""

from __future__ import annotations

from typing import Any

from pinxit.runs import Run


def write_card(run: Run) -> None:
    """Write README.md from config.json and the metrics."""
    config, info = run.config, run.info
    trained: dict[str, Any] = config.get("trained", {})
    color = "grey" if info.channels == 1 else "colour"
    best = trained.get("best_validation_loss")
    unit = trained.get("unit") or ""
    lines = [
        f"# {run.name}",
        "",
        f"A `{config['family']}` model made with pinxit {config['versions']['pinxit']} from "
        f"`{config['data']['source'] or 'images given in Python'}`: {info.num_images:,} training "
        f"images of {info.width} x {info.height}, {color}.",
        "",
        f"Trained {trained.get('seconds', 0) / 60:.1f} minutes: {trained.get('steps', 0):,} steps, "
        f"{trained.get('images', 0):,} images seen, "
        f"{trained.get('skipped', 0)} updates skipped."
        + (f" Best validation loss: {best:.5g} {unit}." if best is not None else ""),
        "",
        "## Use",
        "",
        "```",
        f"pinxit sample {run.path} -n 64",
        f"pinxit evaluate {run.path}",
        "```",
        "",
        "```python",
        "import pinxit",
        f'model = pinxit.load("{run.path}")',
        "model.sample(16, seed=0)",
        "```",
        "",
        "## Settings",
        "",
        "| setting | |",
        "| --- | --- |",
        *(
            f"| {k} | {v} |"
            for k, v in {**config["model"], **config["training"]}.items()
            if not isinstance(v, dict)
        ),
        "",
        "## Limits",
        "",
        "It knows its training images and nothing else: what they lack or lean towards, it",
        "lacks and leans towards. Figures, where measured: `evaluation.json`, `report.html`.",
        "",
    ]
    run.write("README.md", "\n".join(lines))
