"""Captions for images that have only labels, from templates in several languages."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pinxit.data.captions import NoTexts
from pinxit.data.images import Images
from pinxit.data.unicode_forms import normalize_label, normalize_text
from pinxit.errors import UsageError, did_you_mean

BUILT_IN_TEMPLATES = Path(__file__).with_name("label_captions.toml")


def captions_from_labels(images: Images, file: str | Path | None = None) -> Images:
    """Return the images with a caption of each label, in every language of the templates.

    The built-in templates are for MNIST, Fashion-MNIST and CIFAR-10, selected by the names of the
    labels; a `file` in the same format has others. Images that have captions keep them, with a note
    on a file. The caption of an image without a label is empty. A note names the languages of the
    labels' texts that have no template.

    Raises NoTexts if the images have no labels, and if the templates lack one of them; UsageError
    for a file that is none of templates.
    """
    if images.captions:
        return images if file is None else _note_unused_file(images, file)
    if images.labels is None or not images.label_names:
        text = "these images have neither captions nor labels to make captions from."
        raise NoTexts(text, captions=None)
    name, templates = _select_templates(_read_toml(file), images.label_names, file)
    captions = {}
    for language, template in templates["template"].items():
        texts = [
            _fill_template(template, templates["labels"], label, language, name)
            for label in images.label_names
        ]
        captions[language] = [texts[k] if k >= 0 else "" for k in images.labels.tolist()]
    images = dataclasses.replace(images, captions=captions)
    unused = {k for label in images.label_names for k in templates["labels"][label]} - {*captions}
    if not unused:
        return images
    languages = " and ".join(sorted(unused))
    return _add_note(images, f"[{name}] has no template in {languages}: label texts not used")


def _note_unused_file(images: Images, file: str | Path) -> Images:
    _read_toml(file)  # an error if there is no such file, whatever the images have
    return _add_note(
        images, f"the caption templates in {file} are not used: the images have captions"
    )


def _add_note(images: Images, note: str) -> Images:
    return dataclasses.replace(images, notes=(*images.notes, note))


def _read_toml(file: str | Path | None) -> dict[str, Any]:
    path = BUILT_IN_TEMPLATES if file is None else Path(file)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        return {name: _normalize_labels(table) for name, table in tables.items()}
    except FileNotFoundError:
        raise UsageError(
            f"there is no file of caption templates {path}. For captions from the built-in "
            "templates: --captions labels"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"cannot read the caption templates in {path}: {_reason(error)}."
        ) from None


def _normalize_labels(table: Any) -> Any:
    if not isinstance(table, dict) or not isinstance(table.get("labels"), dict):
        return table
    labels = {normalize_label(label): texts for label, texts in table["labels"].items()}
    return {**table, "labels": labels}


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)


def _select_templates(
    tables: Mapping[str, Any], labels: tuple[str, ...], file: str | Path | None
) -> tuple[str, dict[str, Any]]:
    """Return name and content of the first table with a text for every label."""
    for name, table in tables.items():
        _check_table(name, table)
        if set(labels) <= set(table["labels"]):
            return name, table
    if file is None:
        raise NoTexts(
            f"there are no built-in captions for the labels {', '.join(labels[:5])}, ...; "
            "name a file of templates: --captions FILE",
            captions=None,
        )
    known = [label for table in tables.values() for label in table["labels"]]
    missing = next((label for label in labels if label not in known), None)
    if missing is None:
        names = " and ".join(f"[{name}]" for name in tables)
        raise UsageError(
            f"the labels of these images are spread over {names} in {file}: "
            "put them into one table."
        )
    text = f"{file} has no text for '{missing}'.{did_you_mean(missing, known)}"
    raise NoTexts(text, captions=None)


def _check_table(name: str, table: Any) -> None:
    """Raises UsageError for a table that has no texts by language and none by label."""
    if not isinstance(table, dict) or not {"template", "labels"} <= set(table):
        raise UsageError(f"[{name}] in the caption templates needs `template` and `labels`.")
    template = table["template"]
    if not isinstance(template, dict) or not template or not all(map(_is_text, template.values())):
        raise UsageError(
            f"`template` of [{name}] in the caption templates needs a text for each language, "
            'such as { en = "a photo of {}" }.'
        )
    if without := [language for language, text in template.items() if "{}" not in text]:
        raise UsageError(
            f"`template` of [{name}] in the caption templates has no {{}} in '{without[0]}': all "
            f"labels would have one caption.\nWrite {{}} where the text of a label goes, such as "
            f'{{ {without[0]} = "a photo of {{}}" }}.'
        )
    if not isinstance(table["labels"], dict):
        raise UsageError(
            f"`labels` of [{name}] in the caption templates needs texts for each label, "
            'such as cat = { en = "a cat" }.'
        )


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _fill_template(
    template: str, texts: dict[str, Any], label: str, language: str, name: str
) -> str:
    by_language = texts[label]
    if not isinstance(by_language, dict):
        raise UsageError(
            f"'{label}' in [{name}.labels] needs a text for each language, "
            f'such as {{ {language} = "a cat" }}.'
        )
    text = by_language.get(language)
    if not isinstance(text, str) or not text.strip():
        raise UsageError(f"[{name}.labels] has no text for '{label}' in '{language}'.")
    return normalize_text(template.replace("{}", text))
