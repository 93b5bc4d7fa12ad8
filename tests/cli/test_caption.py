"""`pinxit caption` and `pinxit translate`: what they print and refuse."""

from __future__ import annotations

import itertools
import json

import pytest
from PIL import Image

from pinxit.cli import main
from tests.builders import blobs


def test_caption_prints_text_or_json_in_a_language(text_runs, capsys, fail):
    run = str(text_runs / "caption")
    image = str(text_runs / "one.png")
    Image.fromarray(blobs(1).pixels[0, ..., 0]).save(image)
    assert main(["caption", run, image, "--language", "fr"]) == 0
    assert "one.png: " in capsys.readouterr().out
    assert main(["caption", run, image, "--num-captions", "2", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["language"] == "en"
    first, second = record["images"][0]["captions"]
    assert first["log_prob"] < 0
    assert first["text"] != second["text"]
    sampling = ["--temperature", "1", "--seed", "3", "--json"]
    assert main(["caption", run, image, *sampling]) == 0
    first_output = capsys.readouterr().out
    assert main(["caption", run, image, *sampling]) == 0
    assert capsys.readouterr().out == first_output
    assert "--top-k and --top-p need --temperature" in fail("caption", run, image, "--top-k", "3")


def test_translate_detects_the_language_or_takes_it(text_runs, capsys, fail):
    run = str(text_runs / "translate")
    assert main(["translate", run, "a blob at the top", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["from"], record["to"]) == ("en", "fr")
    assert main(["translate", run, "a blob", "--from", "fr", "--to", "en"]) == 0
    assert "no language 'de'" in fail("translate", run, "a blob", "--to", "de")
    assert 'translate needs a "TEXT"' in fail("translate", run)


def test_a_text_is_not_translated_into_its_own_language(text_runs, fail):
    run = text_runs / "translate"
    detected = fail("translate", run, "a blob at the top", "--to", "en")
    assert "the language of the texts was detected as en, which is also the language to" in detected
    named = fail("translate", run, "a blob at the top", "--from", "fr", "--to", "fr")
    assert "the language of the texts is fr, which is also" in named


OPTIONS = {
    "beams": (["--num-beams", 1], ["--length-penalty", 0], ["--length-penalty", 10]),
    "sampling": (["--seed", 1], ["--top-k", 3], ["--top-p", 0.4]),
}


def test_each_option_of_caption_has_an_effect_or_is_refused(text_runs, tmp_path, run_pinxit, fail):
    image = blobs(1).save(tmp_path / "one.png")
    command = ["caption", text_runs / "caption", image, "--json", "--num-captions"]
    for words in OPTIONS["beams"]:
        assert "of beam search" in fail(*command, 1, "--temperature", 1, *words)
        run_pinxit(*command, 1, *words)
    outputs = [run_pinxit(*command, 2, "--temperature", 1)]
    for words in OPTIONS["sampling"]:
        assert "beam search does not sample" in fail(*command, 2, *words)
        outputs.append(run_pinxit(*command, 2, "--temperature", 1, *words))
    assert all(a != b for a, b in itertools.combinations(outputs, 2))


@pytest.mark.parametrize("value", ["-1", "1000", "nan", "inf", "10.1"])
def test_a_length_penalty_out_of_range_is_refused(value, text_runs, fail):
    error = fail("caption", text_runs / "caption", f"--length-penalty={value}")
    assert f"--length-penalty must be between 0 and 10, not {value}" in error


def test_fewer_beams_than_captions_are_refused(text_runs, fail):
    error = fail("caption", text_runs / "caption", "--num-captions", 3, "--num-beams", 2)
    assert "3 texts from 2 beams: --num-beams must be 3 or more." in error
