"""`pinxit caption` and `pinxit translate`: what they print and refuse."""

from __future__ import annotations

import json

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
