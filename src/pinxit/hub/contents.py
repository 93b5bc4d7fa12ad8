"""The files of a run that are published, and why the others are not.

Sent are the weights and what is measured and chosen, without paths and names of this machine. Files
that show or describe images of the data are sent only with `with_images`. The rest is for the
machine that trains.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pinxit.console import pluralize
from pinxit.errors import PinxitError
from pinxit.hub.privacy import Redactor, public_name, public_source
from pinxit.run_records import EvaluationRecord, RunConfig
from pinxit.runs import EXAMPLES_FILE, FITTED_FILE, Run, evaluation_file
from pinxit.training.previews import GENERATED, KINDS, read_titles

WEIGHTS = "model.safetensors"
PRIORS = ("prior-mixture.safetensors", "prior-realnvp.safetensors")
CARD = "README.md"
SPLITS = ("test", "validation", "train", "all")
# keys of config.json and evaluation.json that are published; others may hold anything
CONFIG_KEYS = (
    *("format", "family", "model", "dataset_info", "training", "finished", "loss_unit", "trained"),
    *("component", "versions", "created"),
)
EVALUATION_KEYS = ("metrics", "facts", "curves", "protocol", "warnings", "verdict")
SHOWS_IMAGES = "shows images of your data (--with-images)"
# what else a run folder holds -> why it is not sent
KEPT = {
    "checkpoint": "the state of the optimizer, to resume",
    "latents": "latents of images of your data",
    "tensorboard": "curves with images of your data",
    "wandb": "records of Weights & Biases",
    "wandb.json": "records of Weights & Biases",
    "explain": "short trainings of pinxit explain",
    "explain.html": "shows images of your data",
    "explain.json": "numbers of pinxit explain",
}
GRID = re.compile(rf"samples/({'|'.join(KINDS)})-[0-9]{{7,}}\.png")
IMAGE_TABLE = "values of single images, with the names of their files"
UNKNOWN = "not part of a published run"


@dataclass(frozen=True)
class Entry:
    """A file that is published: its content, or the file itself if it is sent as it is."""

    content: bytes | Path
    note: str = ""

    @property
    def size(self) -> int:
        is_file = isinstance(self.content, Path)
        return self.content.stat().st_size if is_file else len(self.content)  # type: ignore[union-attr, arg-type]

    def read(self) -> bytes:
        return self.content.read_bytes() if isinstance(self.content, Path) else self.content


@dataclass(frozen=True)
class Contents:
    """What is published of a run, by the name in the repository, and what is not, and why."""

    files: dict[str, Entry]
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.files.values())


def is_published_name(name: str) -> bool:
    """Return whether `collect_contents`, or the card, can give a file this name."""
    names = {CARD, "config.json", WEIGHTS, FITTED_FILE, *PRIORS, "metrics.csv", EXAMPLES_FILE}
    names |= {"report.html", "samples/captions.txt", "samples/titles.json"}
    names |= {evaluation_file(split) for split in SPLITS}
    return name in names or bool(GRID.fullmatch(name))


def collect_contents(run: Run, with_images: bool = False) -> Contents:
    """Return what is published of a run, but for the model card.

    Raises PinxitError if a file is damaged, or if one that a model needs holds a path of this
    machine.
    """
    redactor = Redactor(run)
    files = dict(_list_needed(run, redactor))
    for name, entry in files.items():
        secret = redactor.find_secret(entry.read(), name.endswith(".safetensors"))
        if secret is not None:
            raise PinxitError(
                f"not published: {name} holds a path of this machine, {secret}.\n"
                "Rename the labels or the option that it stands in, and train again."
            )
    left_out: dict[str, str] = {}
    if with_images:
        for name, entry in _with_images(run):
            if redactor.find_secret(entry.read()) is None:
                files[name] = entry
            else:
                left_out[name] = "holds paths of this machine"
    left_out |= _list_left_out(run, files, left_out)
    return Contents(files, left_out)


def _list_needed(run: Run, redactor: Redactor) -> Iterator[tuple[str, Entry]]:
    """Yield what a model and its page need."""
    yield "config.json", Entry(_to_json(public_config(run, redactor)), _describe_config(run))
    note = "the weights"
    yield WEIGHTS, Entry(run.weights_path, note)
    if (run.path / FITTED_FILE).is_file():
        text = "; the words of your captions are in it" if run.info.languages else ""
        yield FITTED_FILE, Entry(run.path / FITTED_FILE, f"fitted to the data{text}")
    for name in PRIORS:
        if (run.path / name).is_file():
            yield name, Entry(run.path / name, "a prior fitted to the latents")
    if run.metrics():
        yield "metrics.csv", Entry((run.path / "metrics.csv").read_bytes(), "the training curves")
    for split in SPLITS:
        if record := run.evaluation(split):
            content = _to_json(public_evaluation(run, record, redactor))
            yield evaluation_file(split), Entry(content, "what was measured")
    yield from _sample_grid(run)


def public_config(run: Run, redactor: Redactor) -> dict[str, Any]:
    """Return config.json without paths, names of files and the command line."""
    config: RunConfig = run.config
    record: dict[str, Any] = {name: config[name] for name in CONFIG_KEYS if name in config}
    for name in ("model", "training", "component", "versions"):
        if record.get(name) is not None:
            record[name] = redactor.option(record[name])
    data = config.get("data") or {}
    record["data"] = {
        "source": public_source(run),
        "files": [],
        "fingerprint": data.get("fingerprint"),
        "options": redactor.option(data.get("options") or {}),
    }
    return record


def public_evaluation(run: Run, record: EvaluationRecord, redactor: Redactor) -> dict[str, Any]:
    """Return evaluation.json without paths and commands."""
    public: dict[str, Any] = {
        name: value for name, value in record.items() if name in EVALUATION_KEYS
    }
    for name in ("protocol", "warnings", "verdict"):
        if name in public:
            public[name] = redactor.value(public[name])
    if "protocol" in public:
        data = (record.get("protocol") or {}).get("data")
        public["protocol"]["data"] = public_source(run) if data is None else public_name(str(data))
    if public.get("verdict"):
        public["verdict"]["command"] = ""
    return public


def _describe_config(run: Run) -> str:
    labels = run.info.label_names
    return "options and sizes" + (
        f"; the names of {pluralize(len(labels), 'label')}" if labels else ""
    )


def _sample_grid(run: Run) -> Iterator[tuple[str, Entry]]:
    """Yield the last grid of generated images, without what the file says beside them."""
    folder = run.path / "samples"
    kinds = [kind for kind, title in read_titles(folder).items() if title == GENERATED]
    for kind in kinds:
        grids = sorted(folder.glob(f"{kind}-*.png"))
        if grids:
            yield f"samples/{grids[-1].name}", Entry(_pixels_only(grids[-1]), "generated images")
            titles = {kind: GENERATED}
            yield "samples/titles.json", Entry(_to_json(titles), "what the grids show")
            return


def _with_images(run: Run) -> Iterator[tuple[str, Entry]]:
    """Yield what shows images of the data."""
    for name in (EXAMPLES_FILE, "report.html"):
        if (run.path / name).is_file():
            yield name, Entry((run.path / name).read_bytes(), "images of your data")
    folder = run.path / "samples"
    for kind in KINDS:
        grids = sorted(folder.glob(f"{kind}-*.png"))
        if grids:
            yield f"samples/{grids[-1].name}", Entry(_pixels_only(grids[-1]), "images of your data")
    if (folder / "captions.txt").is_file():
        yield "samples/captions.txt", Entry((folder / "captions.txt").read_bytes(), "captions")
    if titles := read_titles(folder):
        yield "samples/titles.json", Entry(_to_json(titles), "what the grids show")


def _pixels_only(file: Path) -> bytes:
    """Return an image file as a PNG of its pixels. Raises PinxitError if it cannot be read."""
    from PIL import Image

    try:
        with Image.open(file) as opened:
            image = opened.convert("L" if opened.mode == "L" else "RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise PinxitError(f"{file} is damaged: {error}") from None
    plain = Image.frombytes(image.mode, image.size, image.tobytes())
    content = io.BytesIO()
    plain.save(content, "PNG")
    return content.getvalue()


def _list_left_out(
    run: Run, files: Mapping[str, Entry], known: Mapping[str, str]
) -> dict[str, str]:
    """Return what a run folder holds beside these files, and why it is not sent."""
    left_out = {}
    for path in sorted(run.path.iterdir()):
        name = path.name
        if name in files or name in known or name == CARD or name.startswith("."):
            continue
        if name == "samples":
            others = [file for file in path.iterdir() if f"samples/{file.name}" not in files]
            if others:
                what = "earlier grids, and grids that show images of your data (--with-images)"
                left_out[f"{name}/ ({len(others)} more)"] = what
            continue
        left_out[f"{name}/" if path.is_dir() else name] = _reason(run, name)
    return left_out


def _reason(run: Run, name: str) -> str:
    if name in (EXAMPLES_FILE, "report.html"):
        return SHOWS_IMAGES
    if name.startswith("evaluation") and name.endswith(".csv"):
        return IMAGE_TABLE
    if name == ((run.config.get("component") or {}).get("folder")):
        return "the run of a model that is in the weights already"
    if name not in KEPT and name.startswith(("evaluation-", "explain-")):
        return "measured in another way, or on other images"
    return KEPT.get(name, UNKNOWN)


def _to_json(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode(
        "utf-8", "backslashreplace"
    )
