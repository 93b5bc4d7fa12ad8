"""What the methods of a run take as images: every form, and a Path is never a name."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pinxit
from pinxit.api.run import METHODS
from pinxit.data.images import Images
from pinxit.data.sources import list_source_names, name_source, open_source
from pinxit.errors import PinxitError, UsageError
from tests.builders import blobs, train_runs

RUNS = {"caption": "caption", "complete": "igpt"}
IMAGES = blobs(6, channels=1)


def list_methods() -> list[str]:
    """The methods with a parameter of the type AnyImages."""
    return [
        name
        for name in METHODS
        if any(
            "AnyImages" in str(parameter.annotation)
            for parameter in inspect.signature(getattr(pinxit.Run, name)).parameters.values()
        )
    ]


METHODS_OF_IMAGES = list_methods()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    train_runs(folder)
    return folder


def call(folder: Path, method: str, images: Any, out: Path) -> Any:
    """What a method of a run returns for images, in a form that can be compared."""
    run = pinxit.Run(folder / f"blobs-{RUNS.get(method, 'vae')}")
    arguments: dict[str, tuple[tuple, dict]] = {
        "map": (("embed", images), {"out": out / "map", "quiet": True}),
        "export": ((out / "x.onnx", images), {"overwrite": True}),
        "complete": ((images,), {"half": "lower"}),
        "evaluate": (
            (images,),
            {"iw_samples": 0, "distances": False, "probe_train_size": 0, "quiet": True},
        ),
        "explain": ((images,), {"out": out / "explain.html", "quiet": True}),
    }
    given, options = arguments.get(method, ((images,), {}))
    return comparable(getattr(run, method)(*given, **options))


def comparable(result: Any) -> Any:
    if isinstance(result, Images):
        return result.pixels.tolist()
    if isinstance(result, np.ndarray):
        return result.tolist()
    if isinstance(result, dict):
        return result["metrics"]
    if hasattr(result, "computed"):
        return result.images, result.skipped
    return getattr(result, "compared_on", result)


def test_the_methods_that_take_images_are_found():
    assert {"evaluate", "explain", "map", "export", "reconstruct", "complete", "caption"} <= set(
        METHODS_OF_IMAGES
    )


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS_OF_IMAGES)
def test_a_path_with_the_name_of_a_source_is_the_folder(method, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i in range(len(IMAGES)):
        IMAGES[i].save(tmp_path / f"digits/{i}.png")
    results = []
    for data in (Path("digits"), "./digits", [Path("digits")]):
        try:
            results.append(call(folder, method, data, tmp_path / "out"))
        except PinxitError as error:
            results.append(str(error))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("name", list_source_names())
def test_a_path_is_opened_as_a_path_whatever_its_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    IMAGES[0].save(tmp_path / name / "0.png")
    for data in (Path(name), [Path(name)], f"./{name}"):
        assert open_source(data).name == f"./{name}"
        assert [record.name for record in open_source(data).list_records()] == ["0.png"]


def test_a_path_of_an_image_is_no_name_of_an_image(folder, tmp_path, monkeypatch):
    run = pinxit.Run(folder / "blobs-vae")
    run.attach_images(blobs(channels=1))
    assert len(run.traverse(1, "blob-001", steps=2).images) == 2
    with pytest.raises(UsageError, match="there is no image file"):
        run.traverse(1, Path("blob-001"), steps=2)
    monkeypatch.chdir(tmp_path)
    IMAGES[0].save(tmp_path / "1.png")
    by_path = run.traverse(1, Path("1.png"), steps=2).images.pixels
    assert (by_path == run.traverse(1, IMAGES[0], steps=2).images.pixels).all()


def test_the_home_is_expanded_before_a_path_is_opened(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    file = IMAGES[0].save(tmp_path / "p.png")
    run = pinxit.Run(folder / "blobs-vae")
    expected = run.reconstruct(file).pixels
    for data in ("~/p.png", Path("~/p.png"), [Path("~/p.png")]):
        assert (run.reconstruct(data).pixels == expected).all()
    for image in ("~/p.png", Path("~/p.png")):
        assert len(run.interpolate(image, image, steps=2)) == 2
    assert name_source(Path("~/p.png")) == str(file)


FORMS = {
    "text": lambda files: str(files[0]),
    "path": lambda files: files[0],
    "folder": lambda files: files[0].parent,
    "texts": lambda files: [str(file) for file in files],
    "paths": lambda files: list(files),
    "array": lambda files: IMAGES.numpy(),
    "one array": lambda files: IMAGES.numpy()[0, ..., 0],
    "other size": lambda files: np.zeros((3, 5, 7, 3), np.uint8),
    "arrays": lambda files: list(IMAGES.numpy()),
    "pillow": lambda files: IMAGES.pil(0),
    "pillows": lambda files: [IMAGES.pil(i) for i in range(6)],
    "images": lambda files: Images(IMAGES.pixels),
    "labelled images": lambda files: Images(IMAGES.pixels, labels=IMAGES.labels),
    "images of another size": lambda files: Images(np.zeros((2, 5, 7, 3), np.uint8)),
    "no images": lambda files: IMAGES[:0],
    "empty list": lambda files: [],
    "mixture": lambda files: [files[0], IMAGES.numpy()[0]],
    "number": lambda files: 3,
}


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("method", METHODS_OF_IMAGES)
def test_every_form_of_images_is_taken_or_refused(method, form, folder, tmp_path):
    files = [IMAGES[i].save(tmp_path / f"files/{i}.png") for i in range(len(IMAGES))]
    refused = form in ("images of another size", "no images", "empty list", "mixture", "number")
    message = None
    try:
        call(folder, method, FORMS[form](files), tmp_path)
    except PinxitError as error:
        message = str(error)
    if message is None:
        assert not refused
    else:
        assert len(message.splitlines()) <= 2
        assert refused or method in ("evaluate", "explain"), message
