"""Every row, column and caption file describes an image or is listed."""

from __future__ import annotations

import csv
import io
import json
import re
import tempfile
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pinxit.data.captions import all_captions, normalize_text
from pinxit.data.load import load_images
from pinxit.errors import PinxitError
from tests.data.imagefolder.test_accounting import PNG, load, save

IMAGES = ["0.png", "1.JPG", "cats/2.png", "e\u0301.png", "p.min.png"]


def write_images(root: Path, names: list[str] = IMAGES) -> None:
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 255, (4, 4, 3), np.uint8)
        Image.fromarray(pixels).save(root / name, "PNG")


def captions_of(images, name: str) -> dict[str, tuple[str, ...]]:
    i = list(images.names).index(name)
    captions = {language: all_captions(images, language)[i] for language in images.captions}
    return {language: texts for language, texts in captions.items() if texts}


# -- properties ------------------------------------------------------------------------------------

PARTS = ["a", "b", " ", ",", ";", '"', "'", "\n", "\r\n", "\t", "\u2028", "é", "猫", "0"]
TEXT = st.lists(st.sampled_from(PARTS), max_size=8).map("".join)
KEYS = st.sampled_from(
    [*IMAGES, "e\u0301.png".encode().decode(), "é.png", "1.jpg", "lost.png", "p.min", "./0.png", ""]
)
FOUND = {"é.png": "e\u0301.png", "1.jpg": "1.JPG", "p.min": "p.min.png", "./0.png": "0.png"}
rows = st.lists(st.tuples(KEYS, TEXT, TEXT), min_size=1, max_size=8)


def to_csv(table: list[dict[str, str]], delimiter: str) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(table[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(table)
    return file.getvalue()


def write_table(root: Path, form: str, table: list[dict[str, str]]) -> str:
    """Write a table in a form, and return the name of the file."""
    name = f"metadata.{form.partition(' ')[0]}"
    if form.startswith(("csv", "tsv")):
        text = to_csv(table, {"csv": ",", "csv ;": ";", "csv |": "|"}.get(form, "\t"))
        (root / name).write_bytes(text.encode("utf-16" if form == "csv utf-16" else "utf-8-sig"))
    elif form == "jsonl":
        lines = (json.dumps(row, ensure_ascii=False) for row in table)
        (root / name).write_text("\n".join(lines))
    elif form == "json":
        (root / name).write_text(json.dumps(table))
    else:
        pq.write_table(pa.Table.from_pylist(table), root / name)
    return name


FORMS = ["csv", "csv ;", "csv |", "csv utf-16", "tsv", "jsonl", "json", "parquet"]


@settings(max_examples=60, deadline=None)
@given(
    rows,
    st.sampled_from(FORMS),
    st.sampled_from(["file_name", "image", "Filename", "path"]),
    st.sampled_from(["caption", "text", "Prompt", "caption_fr"]),
)
def test_every_row_and_column_is_used_or_listed(values, form, key, column):
    table = [{key: k, column: text, "Author x": other} for k, text, other in values]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_images(root)
        name = write_table(root, form, table)
        images = load(root)
    listed = {int(n) for f in images.skipped for n in re.findall(r"record (\d+)", f.name)}
    whole_file = name in {file.name for file in images.skipped}
    has_blank_lines = form.startswith(("csv", "tsv"))
    number = 0
    for k, text, other in values:
        if has_blank_lines and not (k + text + other).strip():
            continue  # a blank line
        number += 1
        caption = normalize_text(text)
        if whole_file or number in listed or not caption:
            continue
        known = captions_of(images, FOUND.get(k, k))
        assert caption in [text for texts in known.values() for text in texts]
    if not whole_file:
        assert f"{name}: columns not used: author_x" in images.notes


CAPTION_FILES = [
    *(
        "0.txt",
        "0.fr.txt",
        "0.png.txt",
        "0.PNG.pt-BR.txt",
        "0.TXT",
        "0.caption",
        "1.txt",
        "1.en.txt",
    ),
    *(
        "cats/2.txt",
        "é.txt",
        "p.txt",
        "p.min.txt",
        "p.min.de.txt",
        "lost.txt",
        "README.txt",
        "A.txt",
    ),
    *("test.txt", "labels.txt", "0.old.bak.txt"),
]


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.sampled_from(CAPTION_FILES), TEXT, min_size=1, max_size=8))
def test_every_line_of_a_caption_file_is_used_or_the_file_listed(files):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_images(root)
        for name, text in files.items():
            (root / name).write_bytes(text.encode())
        images = load(root)
    skipped = {file.name for file in images.skipped}
    used = {
        text
        for language in images.captions
        for texts in all_captions(images, language)
        for text in texts
    }
    for name, text in files.items():
        lines = {normalize_text(line) for line in re.split(r"\r\n|\n|\r", text)} - {""}
        assert name in skipped or (lines and lines <= used)
    assert images.file_counts.get("captions", 0) == len(files) - len(skipped)


# -- examples --------------------------------------------------------------------------------------


def test_line_ends_commas_and_quotes_within_quotes_stay(tmp_path):
    write_images(tmp_path, ["0.png", "1.png"])
    with (tmp_path / "metadata.csv").open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "text"])
        writer.writerow(["0.png", 'a square,\nred, with "quotes"'])
        writer.writerow(["1.png", "two\r\nlines"])
    assert load(tmp_path).captions["und"] == ['a square, red, with "quotes"', "two lines"]


def test_several_rows_lists_and_lines_are_several_captions(tmp_path):
    write_images(tmp_path, ["0.png", "1.png", "2.png", "3.png"])
    (tmp_path / "metadata.csv").write_text(
        "file_name,caption\n0.png,a cat\n0.png,one cat sits\n1.png,a dog\n0.png,an animal\n"
    )
    (tmp_path / "metadata.jsonl").write_text(
        '{"file_name": "2.png", "caption": ["one", "two", 3]}\n'
        '{"file_name": "1.png", "caption_1": "a hound", "caption_2": "a pet"}\n'
    )
    (tmp_path / "3.txt").write_text("a red square\none square on white\n\nsome box\n")
    (tmp_path / "1.txt").write_text("text of a dog")
    images = load(tmp_path)
    assert captions_of(images, "0.png")["und"] == ("a cat", "one cat sits", "an animal")
    assert captions_of(images, "1.png")["und"] == ("a dog", "a hound", "a pet", "text of a dog")
    assert captions_of(images, "2.png")["und"] == ("one", "two", "3")
    assert captions_of(images, "3.png")["und"] == (
        "a red square",
        "one square on white",
        "some box",
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metadata.jsonl", '{"file_name": "0.png", "prompt": "a cat"}'),
        ("metadata1000.jsonl", '{"file_name": "0.png", "text": "a cat"}'),
        ("metadata.json", '[{"file_name": "0.png", "text": "a cat"}]'),
        ("metadata.json", '{"0.png": "a cat"}'),
        ("metadata.json", '{"0.png": {"text": "a cat"}}'),
        ("metadata.json", '{"file_name": ["0.png", "1.png"], "text": ["a cat", ""]}'),
        ("metadata.json", '{"data": [{"file_name": "0.png", "text": "a cat"}], "version": 1}'),
        (
            "captions.json",
            '{"images": [{"id": 7, "file_name": "0.png"}],'
            '"annotations": [{"image_id": 7, "id": 1, "caption": "a cat"}]}',
        ),
        ("metadata.csv", "image,text\n0.png,a cat\n"),
        ("metadata.csv", "File Name;Caption\n0.png;a cat\n"),
        ("metadata.csv", "sep=;\nfile_name;caption\n0.png;a cat\n"),
        ("metadata.csv", '"file_name", "caption"\n"0.png", "a cat"\n'),
        ("metadata.tsv", "path\tdescription\n0.png\ta cat\n"),
        ("METADATA.CSV", "id,caption\r\n0,a cat\r\n"),
        ("metadata.csv", "file_name,caption\r0.png,a cat\r"),
        ("metadata.csv", "0.png,a cat\n"),
        ("captions.txt", "image,caption\n0.png,a cat\n"),
        ("captions.csv", "caption,name\na cat,0\n"),
        ("metadata.csv", "file_name,caption\n/home/me/photos/0.png,a cat\n"),
        ("metadata.csv", "file_name,caption\nC:\\photos\\0.png,a cat\n"),
        ("sub/metadata.csv", "file_name,caption\n../0.png,a cat\n"),
    ],
)
def test_tables_of_usual_forms_and_names_are_read(tmp_path, name, content):
    write_images(tmp_path, ["0.png", "1.png"])
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    images = load(tmp_path)
    assert captions_of(images, "0.png")["und"] == ("a cat",)
    assert images.skipped == ()
    assert images.file_counts["metadata"] == 1


def test_what_is_not_used_of_a_table_is_listed_by_record(tmp_path):
    write_images(tmp_path, ["0.png", "1.png"])
    (tmp_path / "metadata.csv").write_text(
        "file_name,caption,label,split,artist\n"
        "0.png,a cat,cat,train,me\n"
        "0.png,same cat,dog,test,me\n"
        "lost.png,a dog,dog,,me\n"
        ",nothing,,,\n"
        "1.png,a dog,dog,holdings,me\n"
        "1.png,more,dog,,me,and,more\n"
    )
    images = load(tmp_path)
    assert {file.name: file.reason for file in images.skipped} == {
        "metadata.csv, record 2 (0.png)": "another record gives another label",
        "metadata.csv, record 3 (lost.png)": "in the metadata, but the image does not exist",
        "metadata.csv, record 4": "not a record with a file_name",
        "metadata.csv, record 5 (1.png)": "its split 'holdings' is none of train, validation "
        "and test",
        "metadata.csv, record 6": "more values than the 5 columns",
    } | {"metadata.csv, record 2 (0.png)": "another record gives another split"}
    assert "metadata.csv: columns not used: artist" in images.notes
    assert all(file.kind == "record" for file in images.skipped)
    with pytest.raises(PinxitError, match="cannot read"):
        load(tmp_path, strict=True)


def test_metadata_beside_a_folder_of_images_may_name_them_without_it(tmp_path):
    write_images(tmp_path, ["Images/0.png", "Images/1.png", "more/1.png"])
    (tmp_path / "captions.txt").write_text("image,caption\n0.png,a cat\n1.png,which?\n")
    images = load(tmp_path)
    assert captions_of(images, "Images/0.png") == {"und": ("a cat",)}
    assert [file.name for file in images.skipped] == ["captions.txt, record 2 (1.png)"]
    write_images(tmp_path, ["2.png"])  # the names may now be of images beside the metadata
    assert load(tmp_path).captions == {}


def test_a_caption_with_commas_that_are_not_quoted_is_whole(tmp_path):
    write_images(tmp_path, ["0.png"])
    (tmp_path / "metadata.csv").write_text("file_name,caption\n0.png,a cat, red, on a mat\n")
    assert load(tmp_path).captions["und"] == ["a cat, red, on a mat"]


def test_a_quote_that_is_not_closed_is_listed(tmp_path):
    write_images(tmp_path, ["0.png", "1.png", "2.png"])
    (tmp_path / "metadata.csv").write_text('file_name,caption\n0.png,"a cat\n1.png,b\n2.png,c\n')
    images = load(tmp_path)
    assert images.skipped[0].name == "metadata.csv, record 1"
    assert "a quote is not closed" in images.skipped[0].reason


def test_tables_that_cannot_be_used_are_listed_with_the_reason(tmp_path):
    write_images(tmp_path, ["0.png"])
    (tmp_path / "metadata.csv").write_text("who,what\nme,a cat\n")
    (tmp_path / "metadata.json").write_text("{broken")
    (tmp_path / "metadata.tsv").write_bytes(b"file_name\tcaption\n0.png\t\xe9t\xe9\n")
    (tmp_path / "metadata.parquet").write_bytes(b"PAR1")
    (tmp_path / "results.csv").write_text("file_name,caption\n0.png,a cat\n")
    images = load(tmp_path)
    reasons = {file.name: file.reason for file in images.skipped}
    assert list(reasons) == [*sorted(list(reasons)[:4]), "results.csv"]
    assert "no column `file_name`" in reasons["metadata.csv"]
    assert "who, what" in reasons["metadata.csv"]
    assert "save it as UTF-8" in reasons["metadata.tsv"]
    assert "name it metadata.csv" in reasons["results.csv"]
    assert images.file_counts == {"images": 1, "skipped": 5}
    assert images.captions == {}


def test_names_match_in_any_unicode_form_and_then_without_case(tmp_path):
    nfd = {name: unicodedata.normalize("NFD", name) for name in ("étoile.png", "café.png")}
    save(tmp_path, *nfd.values(), "IMG_1.JPG", "b.JPG")
    (tmp_path / "café.txt").write_text("a cup")
    (tmp_path / "B.TXT").write_text("a bee")
    rows = [
        {"file_name": "étoile.png", "text": "une étoile"},
        {"file_name": "IMG_1.jpg", "text": "x"},
    ]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    images = load(tmp_path)
    assert captions_of(images, nfd["étoile.png"]) == {"und": ("une étoile",)}
    assert captions_of(images, nfd["café.png"]) == {"und": ("a cup",)}
    assert captions_of(images, "IMG_1.JPG") == {"und": ("x",)}
    assert captions_of(images, "b.JPG") == {"und": ("a bee",)}
    assert images.skipped == ()
    assert "2 names found without regard to case, such as IMG_1.jpg of IMG_1.JPG" in images.notes


def test_caption_files_belong_to_the_whole_stem_before_a_language(tmp_path):
    pairs = {
        "photo.min.jpg": ("photo.min.txt", "und"),
        "photo.jpg": ("photo.fr.txt", "fr"),
        "logo.svg.png": ("logo.svg.txt", "und"),
        "scan.old.png": ("scan.old.txt", "und"),
        "a.jpg": ("a.jpg.txt", "und"),
        "c.png": ("c.caption", "und"),
        "f.png": ("f.pt-BR.txt", "pt-BR"),
        "g.png": ("g.png.de.txt", "de"),
        "1.5 m.png": ("1.5 m.txt", "und"),
        "license 7.png": ("license 7.txt", "und"),
    }
    for image, (text, _) in pairs.items():
        (tmp_path / image).write_bytes(PNG)
        (tmp_path / text).write_text(f"caption of {image}")
    (tmp_path / "x.jpg.txt").write_text("x.jpg is now x.png")
    (tmp_path / "x.png").write_bytes(PNG)
    images = load(tmp_path)
    for image, (_, language) in pairs.items():
        assert captions_of(images, image) == {language: (f"caption of {image}",)}
    assert [file.name for file in images.skipped] == ["x.jpg.txt"]


def test_images_of_one_stem_share_a_caption_file_and_caption_files_of_one_image_add_up(tmp_path):
    save(tmp_path, "a.png", "a.jpg")
    (tmp_path / "a.txt").write_text("both")
    (tmp_path / "a.png.txt").write_text("the png")
    images = load(tmp_path)
    assert captions_of(images, "a.jpg") == {"und": ("both",)}
    assert sorted(captions_of(images, "a.png")["und"]) == ["both", "the png"]


def test_texts_that_are_no_captions_have_a_reason(tmp_path):
    save(tmp_path, "a.png", "b.png")
    for name, text in {
        "a.txt": " \n",
        "b.txt": "ok",
        "README.txt": "x",
        "test.txt": "a.png",
    }.items():
        (tmp_path / name).write_text(text)
    assert {file.name: file.reason for file in load(tmp_path).skipped} == {
        "README.txt": "a text, but not the caption of an image",
        "a.txt": "a caption file without text",
        "test.txt": "named like a split; splits are read from folders, or from a column of "
        "metadata.csv",
    }


def test_labels_splits_and_groups_come_from_metadata(tmp_path):
    save(tmp_path, *(f"x/{i}.png" for i in range(6)), "test/6.png")
    (tmp_path / "metadata.csv").write_text(
        "file_name,class,split,group\n"
        + "".join(
            f"x/{i}.png,{'ab'[i % 2]},{'train' if i else 'val'},g{i // 3}\n" for i in range(6)
        )
    )
    images = load_images(tmp_path, cache=False, progress=False)
    assert images.label_names == ("a", "b")
    assert images.splits[list(images.names).index("x/0.png")] == 1
    assert images.splits[list(images.names).index("test/6.png")] == 2
    assert images.groups is not None
    assert not [note for note in images.notes if "in no folder of a split" in note]
