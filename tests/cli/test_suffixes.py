"""The suffix of --out says the format, in capitals too."""

from __future__ import annotations

import pytest

from tests.builders import blobs

COMMANDS = {
    "sample": ("run", "-n", 2, (".png", ".jpg", ".npy")),
    "draw": ("draw", "a blob", "-n", 2, (".png", ".npy", ".gif")),
    "edit": ("edit", "IMAGE", "a blob", (".webp", ".npy", ".gif")),
    "interpolate": ("run", "--seeds", 0, 1, "--steps", 3, (".png", ".gif")),
    "embed": ("run", "IMAGE", (".npz", ".parquet")),
    "score": ("run", "IMAGE", (".csv",)),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_suffix_in_capitals_is_that_in_small_letters(
    command, vae_folder, text_runs, tmp_path, run_pinxit
):
    name, *words, suffixes = COMMANDS[command]
    image = blobs(1).save(tmp_path / "image.png")
    words = [image if word == "IMAGE" else word for word in words]
    run = (vae_folder if name == "run" else text_runs) / name
    for suffix in suffixes:
        paths = [tmp_path / f"{command}{k}{s}" for k, s in enumerate((suffix, suffix.upper()))]
        for path in paths:
            run_pinxit(command, run, *words, "--out", path)
        assert paths[0].read_bytes() == paths[1].read_bytes()
