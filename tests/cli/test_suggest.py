"""What a user may have meant: other names of commands, options, families, and other cases."""

from __future__ import annotations

import pytest

from pinxit.cli import COMMANDS, main, suggest
from pinxit.cli.completion import all_options
from pinxit.models import get_family, list_families


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def fail(capsys, *words: str) -> str:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("pinxit: ")
    assert len(error.splitlines()) <= 2
    return error


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("generate", "sample"),
        ("generat", "sample"),
        ("gnerate", "sample"),
        ("inpaintin", "complete"),
        ("inpaint", "complete"),
        ("recon", "reconstruct"),
        ("describe", "caption"),
        ("text2image", "draw"),
        ("txt2img", "draw"),
        ("web", "serve"),
        ("ui", "serve"),
        ("Sample", "sample"),
        ("TRAIN", "train"),
        ("smaple", "sample"),
        ("ls", "runs"),
    ],
)
def test_commands_are_suggested(word, meant, capsys):
    assert f"no command '{word}'. Did you mean '{meant}'?" in fail(capsys, word)


@pytest.mark.parametrize("word", ["zzz", "x", "qwertz"])
def test_nothing_is_suggested_if_nothing_is_near(word, capsys):
    assert fail(capsys, word) == f"pinxit: no command '{word}'. See: pinxit --help\n"


def test_a_family_is_no_command(capsys):
    assert "vae is a family: pinxit train vae DATA" in fail(capsys, "vae", "digits")
    assert "vae is a family: pinxit train vae DATA" in fail(capsys, "VAE")


@pytest.mark.parametrize(
    ("flag", "meant"),
    [
        ("--lr", "--learning-rate"),
        ("--bs", "--batch-size"),
        ("--batch", "--batch-size"),
        ("--num-epochs", "--epochs"),
        ("--resolution", "--size"),
        ("--image-size", "--size"),
        ("--output", "--out"),
        ("--Learning-Rate", "--learning-rate"),
        ("--minuets", "--minutes"),
    ],
)
def test_options_of_training_are_suggested(flag, meant, capsys):
    error = fail(capsys, "train", "vae", "digits", flag, "3")
    assert f"train vae has no option '{flag}'. Did you mean '{meant}'?" in error


@pytest.mark.parametrize(
    ("command", "flag", "meant"),
    [
        ("sample", "--n", "-n"),
        ("sample", "--temp", "--temperature"),
        ("draw", "--cfg-scale", "--guidance"),
        ("caption", "--beam-size", "--num-beams"),
        ("complete", "--num", "-n"),
    ],
)
def test_options_of_other_commands_are_suggested(command, flag, meant, capsys):
    assert f"Did you mean '{meant}'?" in fail(capsys, command, "runs/x", flag, "3")


def test_a_synonym_is_suggested_only_to_a_command_that_has_the_option(capsys):
    assert "Did you mean" not in fail(capsys, "sample", "runs/x", "--lr", "3")


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("digitz", "pinxit train digits"),
        ("digitz --minutes 1", "pinxit train digits --minutes 1"),
        ("VAE digits", "pinxit train vae digits"),
        ("vea digits", "pinxit train vae digits"),
        ("iGPT digits", "pinxit train igpt digits"),
    ],
)
def test_the_whole_command_is_suggested(words, meant, capsys):
    assert f"Did you mean: {meant}\n" in fail(capsys, "train", *words.split())


@pytest.mark.parametrize(
    ("word", "near"),
    [("diffusion", "flow"), ("GAN", "flow"), ("vqvae", "tokenizer"), ("GPT", "igpt")],
)
def test_other_kinds_of_models_are_answered_with_the_nearest_family(word, near, capsys):
    error = fail(capsys, "train", word, "digits", "--minutes", "1")
    assert f"no {word.lower()} family; the nearest is {near}: " in error
    assert error.endswith(f": pinxit train {near} digits --minutes 1\n")


def test_an_unknown_kind_is_answered_with_the_families(capsys):
    error = fail(capsys, "train", "qqqqq", "digits")
    assert f"no family 'qqqqq'; families: {', '.join(list_families())}." in error


@pytest.mark.parametrize("words", [["digits"], ["digits", "--minutes", "1"], ["shapes:9", "-h"]])
def test_data_without_a_command_is_answered_with_the_commands_that_take_it(words, capsys):
    error = fail(capsys, *words)
    rest = " ".join(word for word in words if word != "-h")
    assert error == (
        f"pinxit: {words[0]} is DATA, and a command comes first: "
        f"pinxit train {rest}, or pinxit look {words[0]}\n"
    )


def test_a_folder_without_a_command_is_data(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my photos").mkdir()
    assert "pinxit train 'my photos', or pinxit look 'my photos'" in fail(capsys, "my photos")


@pytest.mark.parametrize("typed", ["runs/digits", "digits-vae", "digits", "runs/digit-vae"])
def test_a_run_of_a_similar_name_is_suggested(typed, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "digits-vae").mkdir(parents=True)
    (tmp_path / "runs" / "digits-vae" / "config.json").write_text("{}")
    error = fail(capsys, "sample", typed)
    assert error.endswith("no such folder. Did you mean runs/digits-vae?\n")


def test_synonyms_stand_for_what_exists():
    assert set(suggest.COMMANDS.values()) <= set(COMMANDS)
    kinds = [kind for name in list_families() for kind in get_family(name).NEAR_KINDS]
    assert not set(kinds) & set(list_families())
    assert len(set(kinds)) == len(kinds)
    assert not set(suggest.COMMANDS) & set(COMMANDS)
    flags = {flag for options in all_options().values() for o in options for flag in o.spellings}
    assert set(suggest.OPTIONS.values()) <= flags


def test_sources_of_data_are_suggested(capsys):
    assert "Did you mean 'digits'?" in fail(capsys, "look", "digit")
    assert "Did you mean 'mnist'?" in fail(capsys, "train", "vae", "MNIST")


def test_a_command_comes_before_its_options(capsys):
    error = fail(capsys, "-n", "5")
    assert "the command comes first: pinxit COMMAND -n 5. See: pinxit --help" in error


@pytest.mark.parametrize("words", ["--beta 2", "--beta=2", "--latent_dim 2", "-o runs/y"])
def test_a_resumed_run_keeps_its_options(words, capsys):
    error = fail(capsys, "train", "--resume", "runs/x", *words.split())
    assert "a resumed run keeps its options: -" in error
    assert error.endswith("cannot be changed. See: pinxit train --resume --help\n")


@pytest.mark.parametrize("words", ["--minuets 2", "--zzz"])
def test_an_unknown_option_of_a_resumed_run_is_unknown(words, capsys):
    assert "has no option '--" in fail(capsys, "train", "--resume", "runs/x", *words.split())


def test_completion_names_the_shells(capsys):
    assert "completion needs SHELL: bash, zsh or fish\n" in fail(capsys, "completion")
    error = fail(capsys, "completion", "powershell")
    assert "SHELL is bash, zsh or fish, not 'powershell'." in error


@pytest.mark.parametrize("word", ["resume", "continue"])
def test_resuming_is_an_option_of_train(capsys, word):
    expected = f"no command '{word}'. Did you mean: pinxit train --resume RUN"
    assert expected in fail(capsys, word, "runs/a")
