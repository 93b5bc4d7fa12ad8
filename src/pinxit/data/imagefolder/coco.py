"""COCO: images and their annotations in two lists of one JSON file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

Id = str | int


def join_coco(content: Mapping[str, Any]) -> Iterator[Any]:
    """Yield a record for each annotation with what is known of its image, then all other images.

    The name of an annotation's category is the label, if all annotations of the image have one.
    """
    images, annotations = _as_list(content["images"]), _as_list(content["annotations"])
    by_id = {image["id"]: image for image in images if _has_id(image, "id")}
    categories = {
        category["id"]: category["name"]
        for category in _as_list(content.get("categories"))
        if _has_id(category, "id") and isinstance(category.get("name"), str)
    }
    single = _find_single_categories(annotations)
    for annotation in annotations:
        if not isinstance(annotation, dict):
            yield annotation
            continue
        image = by_id.get(annotation["image_id"]) if _has_id(annotation, "image_id") else None
        values = {k: v for k, v in annotation.items() if k not in ("id", "image_id")}
        category = annotation["category_id"] if _has_id(annotation, "category_id") else None
        is_label = image is not None and single.get(image["id"]) and "label" not in values
        if is_label and category in categories:
            values["label"] = categories[values.pop("category_id")]
        yield {"file_name": None, **_without_id(image or {}), **values}
    annotated = {a["image_id"] for a in annotations if _has_id(a, "image_id")}
    for image in images:
        if not isinstance(image, dict):
            yield image
        elif not _has_id(image, "id") or not (
            image["id"] in annotated and by_id[image["id"]] is image
        ):
            yield _without_id(image)


def _find_single_categories(annotations: list[Any]) -> dict[Id, bool]:
    """Return whether all annotations of an image that have a category have the same one."""
    found: dict[Id, set[Id]] = defaultdict(set)
    for annotation in annotations:
        if _has_id(annotation, "image_id") and _has_id(annotation, "category_id"):
            found[annotation["image_id"]].add(annotation["category_id"])
    return {image: len(categories) == 1 for image, categories in found.items()}


def _has_id(record: Any, key: str) -> bool:
    """Return whether a record has a number or a text under a key; lists are no ids."""
    value = record.get(key) if isinstance(record, dict) else None
    return isinstance(value, str | int) and not isinstance(value, bool)


def _without_id(image: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in image.items() if key != "id"}


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
