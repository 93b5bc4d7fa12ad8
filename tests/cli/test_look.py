"""`pinxit look` and `pinxit sources`, as they are typed."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from pinxit.cli import main
from pinxit.data.contact_sheet import cell_texts, contact_sheet
from pinxit.data.images import Images, evenly_spaced_indices
from pinxit.errors import UsageError


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "my photos"
    for i in range(8):
        (root / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (12, 12, 3), np.uint8)
        Image.fromarray(pixels).save(root / "ab"[i % 2] / f"{i}.png")
    (root / "a" / "bad.png").write_bytes(b"")
    return root


def test_look_tells_what_there_is_and_ends_with_the_path(photos, capsys):
    assert main(["look", "my photos"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "my photos: 8 images, 12 x 12, RGB"
    assert "  labels (2): a 4, b 4" in lines
    assert lines[-3:] == ["  skipped: 1", "    a/bad.png: the file is empty", "look-my-photos.png"]
    assert any(line.startswith("  splits: train ") for line in lines)
    with Image.open(lines[-1]) as sheet:
        assert sheet.format == "PNG"


def test_look_as_json(photos, capsys):
    assert main(["look", "my photos", "-n", "3", "-o", "out/s.png", "--json"]) == 0
    known = json.loads(capsys.readouterr().out)
    assert known["num_images"] == 8 == sum(known["splits"].values())
    assert known["labels"] == {"a": 4, "b": 4}
    assert known["skipped"] == [{"name": "a/bad.png", "reason": "the file is empty"}]
    assert known["sheet"] == "out/s.png"
    assert (photos.parent / "out" / "s.png").is_file()


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["look"], 2, "name the DATA to look at"),
        (["look", "my photos", "--strict"], 1, "1 image of my photos left out: a/bad.png"),
        (["look", "my photos", "-o", "a.jpg"], 2, "--out ends in .png"),
        (["look", "my photos", "-n", "0"], 2, "--num-images"),
        (["look", "my photos", "--size", "huge"], 2, "a size is '64'"),
        (["look", "my photos", "--language", "fr"], 2, "no captions in 'fr'; there are: none"),
        (["look", "my fotos"], 2, "no source 'my fotos'"),
    ],
)
@pytest.mark.usefixtures("photos")
def test_look_refuses_in_a_line(capsys, words, code, text):
    assert main(words) == code
    error = capsys.readouterr().err
    assert text in error
    assert "Traceback" not in error


def test_look_at_files(photos, capsys):
    assert main(["look", str(photos / "a" / "0.png"), str(photos / "b" / "1.png")]) == 0
    assert "2 files: 2 images, 12 x 12" in capsys.readouterr().out


def test_sources_lists_every_kind(capsys):
    assert main(["sources"]) == 0
    table = capsys.readouterr().out
    for word in (
        "digits",
        "shapes",
        "mnist",
        "hf:",
        ".parquet",
        ".tar",
        ".npz",
        "idx3",
        "metadata",
    ):
        assert word in table
    assert main(["sources", "--json"]) == 0
    assert {"pattern", "description", "examples"} == set(json.loads(capsys.readouterr().out)[0])


def images(n: int, **known) -> Images:
    return Images(np.full((n, 8, 16, 1), 90, np.uint8), [f"d/{i}.png" for i in range(n)], **known)


def test_under_an_image_is_its_caption_else_its_label_else_its_name():
    some = images(
        3,
        labels=np.array([0, 0, -1]),
        label_names=("été",),
        captions={"en": ["one", "", ""], "fr": ["un", "", ""]},
    )
    assert cell_texts(some) == ["one", "été", "2.png"]
    assert cell_texts(some, "fr")[0] == "un"
    with pytest.raises(UsageError, match="no captions in 'de'; there are: en, fr"):
        cell_texts(some, "de")


@pytest.mark.parametrize("n", [1, 2, 7, 64])
def test_a_sheet_holds_every_image_enlarged(n):
    import io

    words = "a caption so long that it has to be broken and in the end cut off somewhere " * 3
    sheet = Image.open(io.BytesIO(contact_sheet(images(n), [words, *["é"] * (n - 1)])))
    shown = (np.asarray(sheet) == 90).all(-1).sum()
    assert shown >= n * 8 * 16 * 36  # six times as large
    assert shown < n * 8 * 16 * 36 * 1.05


def test_what_is_shown_is_spread_over_all():
    assert evenly_spaced_indices(5, 64).tolist() == [0, 1, 2, 3, 4]
    assert evenly_spaced_indices(100, 3).tolist() == [0, 50, 99]
