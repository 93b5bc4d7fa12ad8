"""Every type of source: files are written in its format, loaded and compared."""

from __future__ import annotations

import csv
import gzip
import io
import json
import struct
import tarfile
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pinxit.data.images import SPLITS
from pinxit.data.load import load_images
from pinxit.data.sources import hub, list_source_types, open_source
from pinxit.errors import PinxitError, UsageError
from tests.data.test_decode import encode

rng = np.random.default_rng(0)
TWELVE = rng.integers(0, 256, (12, 6, 6, 3), dtype=np.uint8)
GREY = np.ascontiguousarray(TWELVE[..., 0])


def load(source, **settings):
    return load_images(source, progress=False, **settings)


def png_bytes(i: int) -> bytes:
    return encode(Image.fromarray(TWELVE[i]))


def save_png(root: Path, name: str, i: int) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(png_bytes(i))


def label_name(images, name: str) -> str | None:
    label = int(images.labels[list(images.names).index(name)])
    return None if label < 0 else images.label_names[label]


def split_names(images) -> list[str]:
    return [SPLITS[i] for i in images.splits]


# -- a folder ---------------------------------------------------------------------------------


def test_subfolders_are_labels(tmp_path):
    save_png(tmp_path, "cats/a b.png", 0)
    save_png(tmp_path, "été/b.png", 1)
    save_png(tmp_path, "loose.png", 2)
    save_png(tmp_path, ".hidden/c.png", 3)
    images = load(str(tmp_path))
    assert list(images.names) == ["loose.png", "cats/a b.png", "été/b.png"]
    assert images.label_names == ("cats", "été")
    assert images.labels.tolist() == [-1, 0, 1]
    assert (images.pixels == TWELVE[[2, 0, 1]]).all()


def test_a_single_subfolder_is_no_label_and_numeric_labels_are_sorted_as_numbers(tmp_path):
    save_png(tmp_path / "one", "images/a.png", 0)
    assert load(str(tmp_path / "one")).labels is None
    for i in range(11):
        save_png(tmp_path / "many", f"{i}/x.png", i)
    assert load(str(tmp_path / "many")).label_names == tuple(str(i) for i in range(11))


def test_top_level_folders_can_be_splits(tmp_path):
    for i, name in enumerate(["train/a/1", "train/b/2", "val/a/3", "test/a/4", "test/b/5"]):
        save_png(tmp_path, f"{name}.png", i)
    images = load(str(tmp_path))
    assert images.label_names == ("a", "b")
    assert dict(zip(images.names, split_names(images), strict=True)) == {
        "train/a/1.png": "train",
        "train/b/2.png": "train",
        "val/a/3.png": "validation",
        "test/a/4.png": "test",
        "test/b/5.png": "test",
    }


def test_captions_are_read_from_text_files_and_metadata(tmp_path):
    for i in range(4):
        save_png(tmp_path, f"{i}.png", i)
    (tmp_path / "0.txt").write_text("\ufeffa red  house \n\n a home\n")
    (tmp_path / "1.en.txt").write_text("a cat")
    (tmp_path / "1.fr.txt").write_text("un chat")
    rows = [
        {"file_name": "2.png", "caption_en": "a dog", "caption_fr": "un chien", "label": "pet"},
        {"file_name": "3.png", "text": "a tree", "split": "test", "label": "plant"},
    ]
    (tmp_path / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    images = load(str(tmp_path))
    assert images.captions == {
        "en": ["", "a cat", "a dog", ""],
        "fr": ["", "un chat", "un chien", ""],
        "und": ["a red house", "", "", "a tree"],
    }
    assert images.more_captions == {"und": [("a home",), (), (), ()]}
    assert [label_name(images, f"{i}.png") for i in range(4)] == [None, None, "pet", "plant"]
    assert split_names(images)[3] == "test"
    assert images.skipped == ()


def test_file_names_in_metadata_csv_are_relative_to_its_folder(tmp_path):
    save_png(tmp_path, "train/a b.png", 0)
    with (tmp_path / "train" / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["file_name", "caption"], ["a b.png", 'a "quoted", caption']])
    assert load(str(tmp_path)).captions == {"und": ['a "quoted", caption']}


def test_file_names_need_not_be_valid_unicode(tmp_path):
    (tmp_path / "caf\udce9.png").write_bytes(png_bytes(0))
    (tmp_path / "b\udce9.png").write_bytes(b"")
    for _ in range(2):  # decoded, then from the cache
        images = load_images(str(tmp_path))
        assert list(images.names) == ["caf\udce9.png"]
        assert images.skipped[0].name == "b\udce9.png"


def test_image_files_are_loaded_in_the_given_order(tmp_path):
    for i in range(2):
        save_png(tmp_path, f"{i}.png", i)
    both = load([tmp_path / "1.png", str(tmp_path / "0.png")])
    assert (both.pixels == TWELVE[[1, 0]]).all()
    assert both.source == "2 files"
    single = load(tmp_path / "0.png")
    assert (single.pixels == TWELVE[:1]).all()
    assert split_names(single) == ["train"]


# -- arrays -----------------------------------------------------------------------------------


def idx_bytes(values: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return head + values.tobytes()


@pytest.mark.parametrize("compressed", [True, False])
def test_a_folder_of_idx_files(tmp_path, compressed):
    labels = np.arange(12, dtype=np.uint8) % 3
    for part, rows in (("train", slice(8)), ("t10k", slice(8, 12))):
        for kind, values in (("images-idx3", GREY[rows]), ("labels-idx1", labels[rows])):
            content = idx_bytes(values)
            name = f"{part}-{kind}-ubyte" + (".gz" if compressed else "")
            (tmp_path / name).write_bytes(gzip.compress(content) if compressed else content)
    images = load(str(tmp_path))
    order = [*range(8, 12), *range(8)]  # t10k sorts before train
    assert (images.pixels[..., 0] == GREY[order]).all()
    assert images.labels.tolist() == labels[order].tolist()
    assert split_names(images)[:4] == ["test"] * 4
    assert "test" not in split_names(images)[4:]
    assert images.names[0] == "t10k-00000"


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (TWELVE, TWELVE),
        (GREY, GREY[..., None]),
        (GREY[..., None], GREY[..., None]),
        (TWELVE.transpose(0, 3, 1, 2), TWELVE),
        (TWELVE / 255, TWELVE),
        (TWELVE.astype(np.float32), TWELVE),
        (GREY.astype(np.uint16) * 257, GREY[..., None]),
        (GREY.astype(np.int64), GREY[..., None]),
        (GREY > 99, ((GREY > 99) * 255)[..., None]),
    ],
    ids=["rgb", "grey", "1", "first", "unit", "float", "16", "int", "bool"],
)
def test_arrays_of_any_usual_shape_type_and_range(tmp_path, images, expected):
    np.save(tmp_path / "a.npy", images)
    images = load(str(tmp_path / "a.npy"))
    assert (images.pixels == expected).all()


def test_npz_with_labels_splits_and_captions(tmp_path):
    split = np.array(["train"] * 8 + ["validation"] * 2 + ["test"] * 2)
    labels = np.arange(12) % 4
    texts = np.array([f"number {i}" for i in range(12)])
    np.savez(tmp_path / "a.npz", images=GREY, labels=labels, split=split, caption_en=texts)
    images = load(str(tmp_path / "a.npz"))
    assert split_names(images) == split.tolist()
    assert images.labels.tolist() == labels.tolist()
    assert images.captions == {"en": texts.tolist()}


def test_npz_in_the_format_of_keras(tmp_path):
    np.savez(
        tmp_path / "k.npz",
        x_train=GREY[:9],
        y_train=np.arange(9),
        x_test=GREY[9:],
        y_test=[0, 1, 2],
    )
    images = load(str(tmp_path / "k.npz"))
    assert split_names(images)[9:] == ["test"] * 3
    assert images.labels.tolist() == [*range(9), 0, 1, 2]
    assert (images.pixels[..., 0] == GREY).all()


def test_saved_images_can_be_loaded(tmp_path):
    first = load("digits", limit=20)
    first.save(tmp_path / "d.npy")
    assert (load(str(tmp_path / "d.npy")).pixels == first.pixels).all()


# -- parquet and shards -------------------------------------------------------------------------


def image_column(rows) -> pa.Array:
    image_type = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return pa.array([{"bytes": png_bytes(i), "path": f"{i}.png"} for i in rows], image_type)


def test_a_parquet_file_with_every_column(tmp_path):
    table = pa.table(
        {
            "image": image_column(range(12)),
            "label": [i % 3 for i in range(12)],
            "label_name": [("ant", "bee", "cow")[i % 3] for i in range(12)],
            "caption_en": [f"image {i}" for i in range(12)],
            "caption_fr": [f"image {i}" for i in range(12)],
            "split": ["train"] * 10 + ["test"] * 2,
        }
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=5)
    images = load(str(tmp_path / "a.parquet"))
    assert (images.pixels == TWELVE).all()
    assert images.label_names == ("ant", "bee", "cow")
    assert images.labels.tolist() == [i % 3 for i in range(12)]
    assert images.captions["fr"][7] == "image 7"
    assert split_names(images)[10:] == ["test", "test"]
    assert images.names[3] == "3.png"


def test_a_folder_of_parquet_files_from_the_hub(tmp_path):
    features = {"label": {"names": ["no", "yes"], "_type": "ClassLabel"}}
    schema_metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    (tmp_path / "data").mkdir()
    for name, rows in (("train-00000-of-00001", range(8)), ("test-00000-of-00001", range(8, 12))):
        table = pa.table({"img": image_column(rows), "label": [i % 2 for i in rows]})
        pq.write_table(
            table.replace_schema_metadata(schema_metadata), tmp_path / "data" / f"{name}.parquet"
        )
    images = load(str(tmp_path))
    assert images.label_names == ("no", "yes")
    assert split_names(images)[:4] == ["test"] * 4  # files are sorted by name
    assert (images.pixels == TWELVE[[8, 9, 10, 11, *range(8)]]).all()


@pytest.mark.parametrize("change", ["add", "replace", "remove"])
def test_files_that_a_table_names_are_read_again_when_they_change(tmp_path, change):
    for i in range(5):
        save_png(tmp_path, f"{i}.png", i)
    rows = [{"bytes": None, "path": f"{i}.png"} for i in range(6)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({"image": pa.array(rows, kind)}), tmp_path / "set.parquet")
    assert len(load(tmp_path / "set.parquet")) == 5
    if change == "remove":
        (tmp_path / "0.png").unlink()
    else:
        save_png(tmp_path, "5.png" if change == "add" else "0.png", 7)
    cached, read = load(tmp_path / "set.parquet"), load(tmp_path / "set.parquet", cache=False)
    assert cached.fingerprint == read.fingerprint
    assert len(read) == {"add": 6, "replace": 5, "remove": 4}[change]


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("content", ["one array", "several"])
def test_the_content_of_an_array_file_says_what_it_is(tmp_path, suffix, content):
    with (tmp_path / f"set{suffix}").open("wb") as file:
        np.save(file, GREY) if content == "one array" else np.savez(file, images=GREY)
    assert (load(tmp_path / f"set{suffix}").pixels[..., 0] == GREY).all()


@pytest.mark.parametrize("stem", ["00000", "metadata", "sub/00000"])
@pytest.mark.parametrize("stream", ["off", "on"])
def test_tables_beside_shards_do_not_change_which_images_are_read(tmp_path, stem, stream):
    for k in range(2):
        files = {f"{i:04d}.png": png_bytes(i % 12) for i in range(40 * k, 40 * k + 40)}
        (tmp_path / "set").mkdir(exist_ok=True)
        write_shard(tmp_path / f"set/{k:05d}.tar", files)
    expected = load(str(tmp_path / "set"), stream=stream)
    (tmp_path / f"set/{stem}.parquet").parent.mkdir(exist_ok=True)
    rows = {"url": ["x"] * 40, "caption": ["y"] * 40}
    pq.write_table(pa.table(rows), tmp_path / f"set/{stem}.parquet")
    (tmp_path / "set/00000_stats.json").write_text("{}")
    images = load(str(tmp_path / "set"), stream=stream)
    assert images.names == expected.names
    np.testing.assert_array_equal(images.pixels, expected.pixels)
    assert stream == "on" or f"{stem}.parquet" in [file.name for file in images.skipped]


def test_a_parquet_file_in_a_folder_of_images_is_ignored(tmp_path):
    save_png(tmp_path, "cats/a.png", 0)
    pq.write_table(pa.table({"vector": [[0.5, 1.0]]}), tmp_path / "embeddings.parquet")
    assert list(load(str(tmp_path)).names) == ["cats/a.png"]


def test_a_parquet_file_with_a_column_of_bytes(tmp_path):
    pq.write_table(pa.table({"image": [png_bytes(i) for i in range(3)]}), tmp_path / "a.parquet")
    images = load(str(tmp_path / "a.parquet"))
    assert (images.pixels == TWELVE[:3]).all()
    assert len(set(images.names)) == 3


def write_shard(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def test_webdataset_shards(tmp_path):
    write_shard(
        tmp_path / "train-0000.tar",
        {
            "000.png": png_bytes(0),
            "000.cls": b"1",
            "000.txt": b"a cat",
            "001.json": b'{"label": 0, "caption_fr": "un chien"}',
            "001.png": png_bytes(1),
            "sub/002.fr.txt": "un \u00e9l\u00e9phant".encode(),
            "sub/002.png": png_bytes(2),
            "003.txt": b"no image here",
        },
    )
    write_shard(tmp_path / "test-0000.tar", {"000.png": png_bytes(3)})
    images = load(str(tmp_path))
    assert list(images.names) == [
        "test-0000/000",
        "train-0000/000",
        "train-0000/001",
        "train-0000/sub/002",
    ]
    assert (images.pixels == TWELVE[[3, 0, 1, 2]]).all()
    assert images.labels.tolist() == [-1, 1, 0, -1]
    assert images.captions == {
        "fr": ["", "", "un chien", "un éléphant"],
        "und": ["", "a cat", "", ""],
    }
    assert split_names(images)[0] == "test"


def test_a_truncated_shard_gives_its_complete_images(tmp_path):
    shard = tmp_path / "a.tar"
    write_shard(shard, {f"{i}.bmp": encode(Image.fromarray(TWELVE[i]), "BMP") for i in range(4)})
    with shard.open("r+b") as file:
        file.truncate(512 * 2 * 3 + 512 + 40)  # each is a header and a block; the last is truncated
    images = load(str(shard))
    assert (images.pixels == TWELVE[:3]).all()
    assert [file.reason for file in images.skipped] == ["the shard is truncated here"]
    (tmp_path / "b.tar").write_bytes(b"words" * 300)
    with pytest.raises(PinxitError, match="not a tar file"):
        load(str(tmp_path / "b.tar"))
    (tmp_path / "c.tar.gz").write_bytes(b"")
    with pytest.raises(UsageError, match="run gunzip first"):
        load(str(tmp_path / "c.tar.gz"))


# -- the hub and names --------------------------------------------------------------------------


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)


@pytest.mark.usefixtures("no_network")
def test_a_hub_dataset_without_network_is_an_error():
    with pytest.raises(PinxitError, match=r"^hf:nobody/nothing cannot be downloaded: there"):
        load("hf:nobody/nothing")
    with pytest.raises(UsageError, match=r"hf:owner/name or hf:owner/name:split, not 'hf:nobody'"):
        load("hf:nobody")


@pytest.mark.usefixtures("no_network")
def test_a_missing_named_dataset_names_the_folder_and_the_hub(monkeypatch):
    monkeypatch.delenv("PINXIT_DATA", raising=False)
    with pytest.raises(PinxitError, match=r"PINXIT_DATA names, or .*datasets/ylecun/mnist"):
        load("mnist")
    with pytest.raises(PinxitError, match=r"'omniglot' .* put omniglot.npz or omniglot28.npz in"):
        load("omniglot")


@pytest.mark.parametrize("columns", [(), ("url",), ("label",), ("caption",), ("url", "caption")])
def test_a_hub_dataset_has_the_rows_of_its_images_whatever_its_other_columns(monkeypatch, columns):
    import datasets

    table = {"image": [{"bytes": png_bytes(i), "path": None} for i in range(7)]}
    table |= {name: [str(i) for i in range(7)] for name in columns}
    rows = datasets.Dataset.from_dict(table).cast_column("image", datasets.Image())
    monkeypatch.setattr(hub, "_download", lambda *_: {"train": rows, "test": rows})
    monkeypatch.setattr(hub, "_fetch_revision", lambda _: None)
    assert len(load_images("hf:a/b", progress=False, cache=False)) == 14


def test_a_hub_dataset_is_downloaded_once_per_revision(monkeypatch):
    import datasets

    features = datasets.Features(
        {"img": datasets.Image(), "label": datasets.ClassLabel(names=["no", "yes"]), "x": None}
        | {"x": datasets.Value("int64"), "caption_fr": datasets.Value("string")}
    )

    def dataset_of(rows):
        return datasets.Dataset.from_dict(
            {
                "img": [{"bytes": png_bytes(i), "path": None} for i in rows],
                "label": [i % 2 for i in rows],
                "x": list(rows),
                "caption_fr": [f"image {i}" for i in rows],
            },
            features=features,
        )

    dataset = datasets.DatasetDict(
        {"train": dataset_of(range(9)), "test": dataset_of(range(9, 12))}
    )
    downloads = []

    def load_dataset(name, split=None):
        downloads.append((name, split))
        return dataset[split] if split else dataset

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(hub, "_fetch_revision", lambda name: "abc")
    images = load("hf:some/set")
    assert (images.pixels == TWELVE).all()
    assert images.label_names == ("no", "yes")
    assert images.captions["fr"][4] == "image 4"
    assert split_names(images)[9:] == ["test"] * 3
    assert len(load("hf:some/set:test")) == 3
    monkeypatch.setattr(hub, "_fetch_revision", lambda name: None)  # no network
    assert len(load("hf:some/set")) == 12
    assert downloads == [("some/set", None), ("some/set", "test")]
    monkeypatch.setattr(hub, "_fetch_revision", lambda name: "def")  # the dataset has changed
    load("hf:some/set")
    assert len(downloads) == 3


REFUSALS = (401, 403, 404)
STATUSES = (400, *REFUSALS, 408, 429, 500, 502, 503, 504)
ANSWERS = st.sampled_from(["abc", "def", ConnectionError(), *STATUSES])


@settings(deadline=None)
@given(st.lists(ANSWERS, max_size=6))
def test_without_an_answer_a_hub_dataset_has_its_last_revision(answers):
    from huggingface_hub.errors import HfHubHTTPError

    def dataset_info(*_args, **_options):
        if isinstance(answer, str):
            return SimpleNamespace(sha=answer)
        if isinstance(answer, int):
            response = SimpleNamespace(headers={}, request=None, status_code=answer)
            raise HfHubHTTPError("refused", response=response)
        raise answer

    last = ""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as cache:
        patch.setenv("PINXIT_CACHE", cache)
        patch.setattr("huggingface_hub.HfApi.dataset_info", dataset_info)
        for answer in answers:
            last = answer if isinstance(answer, str) else last
            key = hub._compute_key("some/set", None)
            assert key == f"some/set None {'' if answer in REFUSALS else last}"


def test_names_are_files_and_folders_in_pinxit_data(monkeypatch, tmp_path):
    monkeypatch.setenv("PINXIT_DATA", str(tmp_path / "sets"))
    (tmp_path / "sets" / "fashion-mnist").mkdir(parents=True)
    for kind, values in (("images-idx3", GREY[:2]), ("labels-idx1", np.array([9, 0], np.uint8))):
        (tmp_path / "sets" / "fashion-mnist" / f"train-{kind}-ubyte").write_bytes(idx_bytes(values))
    np.savez(tmp_path / "sets" / "own.npz", images=GREY)
    fashion = load("fashion-mnist")
    assert fashion.source == "fashion-mnist"
    assert [fashion.label_names[i] for i in fashion.labels] == ["Ankle boot", "T-shirt/top"]
    assert len(load("own")) == 12
    with pytest.raises(UsageError, match="Did you mean 'own'"):
        load("owm")
    # a folder with the name of a dataset is opened by its path
    monkeypatch.chdir(tmp_path)
    save_png(tmp_path, "own/a.png", 0)
    for name in ("own", "shapes:2", "digits"):
        (tmp_path / name).mkdir(exist_ok=True)
        assert f"for the folder, type ./{name}" in load(name).notes[0]
    assert len(load("./own")) == len(load("own/")) == len(load(Path("own"))) == 1


def test_digits_come_with_scikit_learn():
    digits = load("digits")
    assert digits.pixels.shape == (1797, 8, 8, 1)
    assert digits.pixels.max() == 255
    assert set(np.unique(digits.pixels)) == {round(i * 255 / 16) for i in range(17)}
    assert digits.label_names == tuple("0123456789")
    assert set(split_names(digits)) == {"train", "validation", "test"}


# -- shapes -------------------------------------------------------------------------------------


def test_shapes_depend_on_the_seed_but_not_on_count_or_size():
    five, nine = load("shapes:5", data_seed=3), load("shapes:9", data_seed=3)
    assert (five.pixels == nine.pixels[:5]).all()
    assert five.captions["fr"] == nine.captions["fr"][:5]
    assert (load("shapes:5", data_seed=4).pixels != five.pixels).any()
    large = load("shapes:5", data_seed=3, size=128)
    assert large.pixels.shape == (5, 128, 128, 3)
    halved = large.pixels.reshape(5, 64, 2, 64, 2, 3).mean((2, 4))
    assert abs(halved - five.pixels).mean() < 2
    assert load("shapes:3", size="96x64").pixels.shape == (3, 64, 96, 3)


def test_the_number_of_shapes_is_part_of_the_source_name():
    assert len(load("shapes:1_0")) == 10
    for text in ("shapes:many", "shapes:0", "shapes:-3"):
        with pytest.raises(UsageError, match="must be a positive integer, as in shapes:5000"):
            open_source(text)


def test_every_source_type_describes_itself():
    types = list_source_types()
    for source_type in types:
        assert source_type.pattern
        assert source_type.description.endswith(".")
        assert source_type.examples
    assert {"digits", "shapes", "mnist"} <= {name for t in types for name in t.list_names()}
    match_orders = [source_type.match_order for source_type in types]
    assert match_orders == sorted(match_orders)


# -- real datasets -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "labels", "languages", "splits"),
    [
        ("mnist", (70_000, 28, 28, 1), 10, (), (None, None, 10_000)),
        ("mnist-static", (70_000, 28, 28, 1), 10, (), (50_000, 10_000, 10_000)),
        ("omniglot", (32_460, 28, 28, 1), 1_623, (), (None, None, 8_115)),
        ("emoji", (3_783, 64, 64, 3), 0, ("en", "fr"), (None, None, 383)),
        ("clothing", (3_781, 64, 64, 3), 10, ("en", "fr"), (3_068, 341, 372)),
    ],
)
def test_real_datasets_have_their_known_properties(
    real_data, monkeypatch, name, shape, labels, languages, splits
):
    monkeypatch.setenv("PINXIT_DATA", str(real_data))
    images = load(name)
    assert images.pixels.shape == shape
    assert len(images.label_names) == labels
    assert tuple(images.captions) == languages
    assert images.skipped == ()
    for count, split in zip(splits, SPLITS, strict=False):
        assert count is None or len(images.split_indices(split)) == count
