"""Captions for images that have labels only, by a template for each language."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pinxit.data.images import Images
from pinxit.errors import UsageError, did_you_mean

SHIPPED = Path(__file__).with_name("label_captions.toml")


def captions_from_labels(images: Images, file: str | Path | None = None) -> Images:
    """The same images, each with a caption of its label in every language of the templates.

    Those of MNIST, Fashion-MNIST and CIFAR-10 are shipped and found by the labels' names; others
    stand in a `file` of the same form. Images that have captions keep them. An image without a
    label has empty ones.

    Raises UsageError where the images have no labels, or a label has no words.
    """
    if images.captions:
        return images
    if images.labels is None or not images.label_names:
        raise UsageError("these images have neither captions nor labels to make them from.")
    templates = _read(SHIPPED if file is None else Path(file))
    name, found = _fitting(templates, images.label_names, file)
    captions = {}
    for language, template in found["template"].items():
        each = [_said(found, label, language, template, name) for label in images.label_names]
        captions[language] = [each[k] if k >= 0 else "" for k in images.labels.tolist()]
    return dataclasses.replace(images, captions=captions)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"the captions of labels in {file} cannot be read: {error}.") from None


def _fitting(
    templates: Mapping[str, Any], labels: tuple[str, ...], file: str | Path | None
) -> tuple[str, dict[str, Any]]:
    """The first set of templates that has words for every label."""
    for name, found in templates.items():
        if not isinstance(found, dict) or not {"template", "labels"} <= set(found):
            raise UsageError(f"[{name}] in the captions of labels needs `template` and `labels`.")
        if set(labels) <= set(found["labels"]):
            return name, found
    if file is None:
        raise UsageError(
            f"no captions are shipped for the labels {', '.join(labels[:5])}, ...; "
            "give a file of templates."
        )
    known = [label for found in templates.values() for label in found["labels"]]
    missing = next(label for label in labels if label not in known)
    raise UsageError(f"{file} has no words for '{missing}'.{did_you_mean(missing, known)}")


def _said(found: dict[str, Any], label: str, language: str, template: str, name: str) -> str:
    words = found["labels"][label].get(language)
    if not isinstance(words, str):
        raise UsageError(f"[{name}.labels] has no words for '{label}' in '{language}'.")
    return template.replace("{}", words)
