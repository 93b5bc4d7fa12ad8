"""`pinxit export`: files that equal the run, or none."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

import pinxit
from pinxit.cli import main
from pinxit.data.atomic_write import remove_unfinished
from pinxit.errors import PinxitError, UsageError
from pinxit.models import family_of, get_family
from pinxit.onnx_export import images as images_module
from pinxit.onnx_export import quantize, verify
from pinxit.onnx_export.api import MAX_OPSET, export
from pinxit.onnx_export.output import Output, resolve_output
from pinxit.runs import Run
from tests.builders import blobs, make_run, save_npz
from tests.test_conformance import CONFIGS

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return make_run(tmp_path_factory.mktemp("export") / "run", blobs())


@pytest.fixture(scope="module")
def all_parts(run, tmp_path_factory):
    """All parts of a VAE."""
    return export(run, tmp_path_factory.mktemp("parts"), images=blobs())


def open_part(all_parts, name):
    (part,) = [part for part in all_parts.parts if part.name == name]
    return onnxruntime.InferenceSession(part.path)


def test_a_folder_holds_all_parts_and_states_how_they_compare(all_parts):
    assert {file.name for file in all_parts.path.iterdir()} == {"decoder.onnx", "encoder.onnx"}
    assert all(part.largest_difference < 1e-5 for part in all_parts.parts)
    text = repr(all_parts)
    assert "largest difference from the run, on 64 images (24 different ones)" in text
    assert "z [batch, latent] -> image [batch, channel, height, width]" in text
    assert f"opset {all_parts.opset}" in text


@pytest.mark.parametrize("count", [1, 2, 70])
def test_the_decoder_decodes_as_the_run(run, all_parts, count):
    z = np.random.default_rng(count).normal(size=(count, 4)).astype(np.float32)
    (image,) = open_part(all_parts, "decoder").run(None, {"z": z})
    pixels = np.round(255 * image).transpose(0, 2, 3, 1)
    assert np.abs(pixels - run.load().decode(z).pixels).max() <= 1


def test_the_encoder_encodes_as_the_run(run, all_parts):
    images = blobs()
    x = images.pixels.transpose(0, 3, 1, 2).astype(np.float32) / 255
    mean, std = open_part(all_parts, "encoder").run(None, {"image": x})
    posterior = run.load().encode(images)
    assert np.abs(mean - posterior.mean).max() < 1e-4
    assert np.abs(std - posterior.std).max() < 1e-4


def test_the_file_describes_itself(run, all_parts):
    model = onnx.load(all_parts.path / "encoder.onnx")
    about = {entry.key: entry.value for entry in model.metadata_props}
    assert (about["family"], about["part"], about["data_fingerprint"]) == (
        *("vae", "encoder", "blobs"),
    )
    assert len(about["weights_sha256"]) == 64
    assert "0 (black) to 1 (white)" in about["images"]
    assert json.loads(about["outputs"])["std"]["axes"] == ["batch", "latent"]
    assert model.producer_name == "pinxit"
    assert model.opset_import[0].version == all_parts.opset
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.long
def test_an_export_that_differs_leaves_no_file(run, tmp_path, monkeypatch):
    monkeypatch.setattr(verify, "MAX_DIFFERENCE", 1e-12)
    with pytest.raises(PinxitError, match=r"differs from the run by .* Nothing is written"):
        export(run, tmp_path / "new" / "decoder.onnx", images=blobs())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_int8_is_smaller_and_states_its_loss(tmp_path):
    run = make_run(tmp_path / "run", blobs(), width=128)
    result = export(run, tmp_path / "int8", int8=True, images=blobs())
    assert {file.name for file in result.path.iterdir()} == {
        *("decoder-int8.onnx", "encoder-int8.onnx"),
    }
    for part in result.parts:
        assert part.bytes < 0.5 * part.float_bytes
    decoder, encoder = result.parts
    assert decoder.loss[0].startswith("image: PSNR ")
    assert float(decoder.loss[0].split()[2]) > 25
    assert encoder.loss[0].endswith("nats per image")
    assert 0 <= float(encoder.loss[0].split()[3]) < 1


FIRST_OF_FAMILY = {family_of(config): config for config in reversed(CONFIGS)}


@pytest.mark.long
@pytest.mark.parametrize("family", sorted(FIRST_OF_FAMILY))
def test_every_part_is_written_in_8_bits_or_left_out(family, tmp_path):
    config = FIRST_OF_FAMILY[family]
    run = pinxit.train(config, blobs(), out=tmp_path / "run", steps=1, num_evals=1, quiet=True)
    result = export(run, tmp_path / "int8", int8=True, images=blobs())
    declared = {part.name for part in get_family(family).export_parts(run.model)}
    written = {part.name for part in result.parts}
    assert {file.name for file in result.path.iterdir()} == {f"{n}-int8.onnx" for n in written}
    assert written | {name for name, _ in result.left_out} == declared
    assert len(result.parts) + len(result.left_out) == len(declared)


def refuse_to_quantize(names, monkeypatch):
    def refuse(model, part, examples):
        if part.name in names:
            raise quantize.NothingToQuantize(f"the part '{part.name}' has no weights to quantize")
        return convert_to_int8(model, part, examples)

    convert_to_int8 = quantize.quantize
    monkeypatch.setattr(quantize, "quantize", refuse)


@pytest.mark.long
def test_a_part_without_weights_is_left_out_of_all_and_refused_alone(run, tmp_path, monkeypatch):
    refuse_to_quantize(["encoder"], monkeypatch)
    result = export(run, tmp_path / "parts", int8=True, images=blobs())
    assert [part.name for part in result.parts] == ["decoder"]
    assert "encoder cannot be exported: it has no weights to quantize" in repr(result)
    with pytest.raises(UsageError, match="no weights to quantize"):
        export(run, tmp_path / "one.onnx", part="encoder", int8=True, images=blobs())
    refuse_to_quantize(["encoder", "decoder"], monkeypatch)
    with pytest.raises(UsageError, match="no part of this run has weights to quantize"):
        export(run, tmp_path / "none", int8=True, images=blobs())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parts"]


def test_images_that_the_model_does_not_take_are_refused(run, tmp_path):
    for images, reason in [(blobs(height=16), "this model takes images of"), (blobs()[:0], "no i")]:
        with pytest.raises(UsageError, match=reason):
            export(run, tmp_path / "x.onnx", images=images)


def test_why_the_data_cannot_be_read_is_said(run, monkeypatch):
    def fail(*args, **options):
        raise PinxitError("blobs.npz cannot be read: it is damaged.")

    monkeypatch.setattr(images_module, "load_run_data", fail)
    samples = images_module.read_samples(run, run.load(), None)
    assert samples.description.endswith("(blobs.npz cannot be read: it is damaged)")
    with pytest.raises(UsageError, match=r"The reason: blobs\.npz cannot be read: it is damaged"):
        export(run, "x.onnx", int8=True)


@pytest.mark.long
def test_files_that_exist_are_replaced_on_request_only(run, all_parts, tmp_path, capsys):
    file = tmp_path / "x.onnx"
    file.write_bytes(b"old")
    assert main(["export", str(run.path), "-o", str(file)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert file.read_bytes() == b"old"
    assert main(["export", str(run.path), "-o", str(file), "--overwrite", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["path"] == str(file)
    assert "random images: the run's data is not here" in record["compared_on"]
    assert onnxruntime.InferenceSession(file).get_inputs()[0].name == "z"


@pytest.mark.long
def test_python_takes_the_words_of_the_command(run, tmp_path):
    opened = pinxit.Run(run.path)
    opened.attach_images(blobs())
    result = opened.export(part="encoder", opset=MAX_OPSET)
    assert result.path == run.path / "encoder.onnx"
    assert onnx.load(result.path).opset_import[0].version == MAX_OPSET
    with pytest.raises(UsageError, match="exists"):
        pinxit.export(run.path, part="encoder")


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["--part", "decodr"], 2, "no part 'decodr'; its parts: decoder, encoder. Did you mean"),
        (["--part", "step"], 2, "no part 'step'; its parts: decoder, encoder"),
        (["--part", "sample"], 2, "Random numbers are drawn by the program"),
        (["--opset", "9"], 2, f"opset must be 18 to {MAX_OPSET}, not 9"),
        (["-o", "x.pt"], 2, "--out ends in .onnx, or is a folder, not '.pt'"),
        (["--int8"], 2, "the run's data is not here; name DATA"),
        (["no-such-data"], 2, "no-such-data"),
    ],
)
def test_invalid_options_are_refused(run, words, code, reason, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(run.path), *words]) == code
    assert reason in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("file", "content", "code"),
    [
        ("model.safetensors", None, 1),
        ("model.safetensors", b"{}", 1),
        ("config.json", b"{", 1),
        ("config.json", None, 2),
    ],
)
def test_a_damaged_run_is_refused(file, content, code, tmp_path, capsys):
    run = make_run(tmp_path / "run", blobs(), steps=5)
    if content is None:
        (run.path / file).unlink()
    else:
        (run.path / file).write_bytes(content)
    assert main(["export", str(run.path), "-o", str(tmp_path / "x.onnx")]) == code
    assert "bug" not in capsys.readouterr().err
    assert not (tmp_path / "x.onnx").exists()


@pytest.mark.long
def test_data_can_be_named(run, tmp_path, capsys):
    data = save_npz(tmp_path / "data.npz", blobs())
    assert main(["export", str(run.path), str(data), "-o", str(tmp_path / "x.onnx"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["compared_on"].startswith("64 images (24 ")


# -- where it is written -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("out", "is_folder"),
    [("a.onnx", False), ("A.ONNX", False), ("parts", True), ("parts.v2/", True), ("here", True)],
)
def test_a_path_without_a_suffix_is_a_folder(out, is_folder, tmp_path):
    (tmp_path / "here").mkdir()
    output = resolve_output(Run(tmp_path), f"{tmp_path}/{out}", int8=False)
    assert output.is_folder == output.every_part == is_folder


@pytest.mark.parametrize("out", ["a.pt", "a.onnx.gz", "a.", "file", "..."])
def test_another_suffix_is_refused(out, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    if out not in ("a.", "..."):
        with pytest.raises(UsageError, match=r"ends in \.onnx, or is a folder"):
            resolve_output(Run(tmp_path), tmp_path / out, int8=False)


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path):
    (tmp_path / "decoder.onnx").mkdir()
    output = Output(tmp_path, is_folder=True, every_part=True, int8=False)
    with pytest.raises(UsageError, match="is a folder"):
        output.check(["decoder"], overwrite=True)


def test_a_full_disk_leaves_the_old_files(tmp_path, monkeypatch):
    output = Output(tmp_path / "new", is_folder=True, every_part=True, int8=False)
    calls = []

    def fsync(_: int) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fsync)
    with pytest.raises(OSError, match="No space"):
        output.write({"decoder": b"1", "encoder": b"2"})
    assert list(tmp_path.iterdir()) == []
    calls.append(1)
    output.write({"decoder": b"1", "encoder": b"2"})
    assert sorted(file.name for file in output.path.iterdir()) == ["decoder.onnx", "encoder.onnx"]


def test_a_kill_leaves_the_old_file_and_no_part_of_the_new_one(tmp_path):
    (tmp_path / "decoder.onnx").write_bytes(b"old")
    program = f"""
import os
from pathlib import Path
from pinxit.onnx_export.output import Output
os.fsync = lambda _: os._exit(9)
output = Output(Path({str(tmp_path)!r}), is_folder=True, every_part=True, int8=False)
output.write({{"decoder": b"new"}})
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == 9
    assert (tmp_path / "decoder.onnx").read_bytes() == b"old"
    remove_unfinished(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["decoder.onnx"]


@pytest.mark.long
def test_a_path_below_a_file_is_an_error_of_two_lines(run, tmp_path, capsys):
    (tmp_path / "file").write_bytes(b"")
    assert main(["export", str(run.path), "-o", str(tmp_path / "file" / "x.onnx")]) == 1
    assert 1 <= len(capsys.readouterr().err.strip().splitlines()) <= 2


@pytest.mark.long
def test_labels_are_an_input_and_in_the_metadata(tmp_path):
    images = blobs()
    run = make_run(tmp_path / "run", images, condition="label")
    result = export(run, tmp_path / "x.onnx", images=images)
    session = onnxruntime.InferenceSession(result.path)
    z, labels = np.zeros((4, 4), np.float32), np.array([0, 1, 3, -1])
    (image,) = session.run(None, {"z": z, "label": labels})
    expected = run.load().decode(z, labels).pixels
    assert np.abs(np.round(255 * image).transpose(0, 2, 3, 1) - expected).max() <= 1
    about = {entry.key: entry.value for entry in onnx.load(result.path).metadata_props}
    assert about["labels"].splitlines() == list(images.label_names)


def test_few_images_are_repeated(run):
    from pinxit.onnx_export.images import NUM_IMAGES, read_samples

    images = dataclasses.replace(blobs(), splits=None)[:6]
    samples = read_samples(run, run.load(), images)
    assert len(samples.compared) == len(samples.calibration) == NUM_IMAGES
    assert "3 different ones" in samples.description
    one = read_samples(run, run.load(), images[:1])
    assert one.description == "1 image, 64 times; the ranges of int8 are from it, too"
