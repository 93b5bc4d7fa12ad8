"""The commands `pinxit look` and `pinxit sources`."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from pinxit.cli import main


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


def test_look_describes_the_dataset_and_prints_the_path_last(photos, capsys):
    assert main(["look", "my photos"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "my photos: 8 images, 12 x 12, RGB"
    assert "  labels (2): a 4, b 4" in lines
    assert "  1 file not read: a/bad.png (the file is empty)" in lines
    assert lines[-1] == "look-my-photos.png"
    assert any(line.startswith("  splits: train ") for line in lines)
    with Image.open(lines[-1]) as sheet:
        assert sheet.format == "PNG"


def test_look_names_each_skipped_file_once(photos, capsys):
    for i in range(5):
        (photos / "a" / f"empty-{i}.png").write_bytes(b"")
    (photos / "a" / "notes.docx").write_bytes(b"PK")
    assert main(["look", "my photos"]) == 0
    text = capsys.readouterr().out
    assert "6 files not read: .png 6 (the file is empty)" in text
    assert all(text.count(f"empty-{i}.png") == 1 for i in range(5))
    assert text.count("notes.docx") == 1


def test_look_as_json(photos, capsys):
    assert main(["look", "my photos", "-n", "3", "-o", "out/s.png", "--json"]) == 0
    description = json.loads(capsys.readouterr().out)
    assert description["num_images"] == 8 == sum(description["splits"].values())
    assert description["labels"] == {"a": 4, "b": 4}
    assert description["skipped"] == [{"name": "a/bad.png", "reason": "the file is empty"}]
    assert description["sheet"] == "out/s.png"
    assert (photos.parent / "out" / "s.png").is_file()


def test_look_counts_images_with_keywords_by_language(photos, capsys):
    lines = [
        {"file_name": "a/0.png", "caption_en": "one", "tags_en": "x, y", "tags_fr": "z"},
        {"file_name": "b/1.png", "caption_en": "two", "tags_en": ["w"]},
    ]
    (photos / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert main(["look", "my photos"]) == 0
    text = capsys.readouterr().out
    assert "keywords: 2 of 8 images, en 2, fr 1" in text
    assert 'keywords (en): 2 images, for example "x, y"' in text
    assert main(["look", "my photos", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["keywords"] == {"en": 2, "fr": 1}


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["look"], 2, "name the DATA to look at"),
        (["look", "my photos", "--strict"], 1, "cannot read 1 file of my photos: a/bad.png"),
        (["look", "my photos", "-o", "a.jpg"], 2, "--out ends in .png"),
        (["look", "my photos", "-n", "0"], 2, "--num-images"),
        (["look", "my photos", "--size", "huge"], 2, "a size is '64'"),
        (["look", "my photos", "--language", "fr"], 2, "no captions in 'fr'; there are: none"),
        (["look", "my fotos"], 2, "no source 'my fotos'"),
    ],
)
@pytest.mark.usefixtures("photos")
def test_look_errors_are_one_line_without_a_traceback(capsys, arguments, code, text):
    assert main(arguments) == code
    error = capsys.readouterr().err
    assert text in error
    assert "Traceback" not in error


def test_look_accepts_several_files(photos, capsys):
    assert main(["look", str(photos / "a" / "0.png"), str(photos / "b" / "1.png")]) == 0
    assert "2 files: 2 images, 12 x 12" in capsys.readouterr().out


def test_sources_lists_every_type(capsys):
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
