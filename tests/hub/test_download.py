"""Load a run from the hub: what is downloaded, and what is refused."""

from __future__ import annotations

import json
import pickle

import pytest

import pinxit
from pinxit.cli import main
from pinxit.errors import PinxitError, UsageError
from pinxit.hub.download import download


@pytest.fixture
def files(source_run):
    """The files of a run as they are on the hub."""
    names = ("config.json", "model.safetensors", "metrics.csv", "evaluation.json", "examples.json")
    return {name: (source_run.path / name).read_bytes() for name in names}


def list_downloads(hub) -> set[str]:
    return {path.split("/")[-1] for method, path in hub.requests if "/resolve/" in path}


def test_what_a_model_needs_is_downloaded_and_nothing_else(hub, files, capfd):
    others = ("checkpoint/model.safetensors", "report.html", "run.py", "notes.txt", "x.safetensors")
    hub.add("me/blobs", {**files, **dict.fromkeys(others, b"x")})
    model = pinxit.load("hf:me/blobs")
    assert model.sample(1).pixels.shape == (1, 8, 8, 1)
    assert list_downloads(hub) == files.keys()
    assert capfd.readouterr().err == "", "no bars where there is no terminal"
    hub.requests.clear()
    pinxit.load("hf:me/blobs")
    assert list_downloads(hub) == set(), "it is in the cache"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "sub/model.PT", "a.pkl", "b.ckpt"])
def test_a_pickle_beside_a_run_is_said_and_not_downloaded(name, hub, files, capfd):
    hub.add("me/blobs", {**files, name: pickle.dumps([1])})
    folder = download("hf:me/blobs")
    said = capfd.readouterr().err
    assert said == f"hf:me/blobs also has {name}: pickles, which can run code; not downloaded\n"
    assert not (folder / name).exists()
    assert name.split("/")[-1] not in list_downloads(hub)


def test_a_pickle_in_place_of_a_run_is_refused(hub):
    content = {f"{i}.bin": pickle.dumps(i) for i in range(5)}
    hub.add("me/bert", {**content, "config.json": b"{}"})
    with pytest.raises(PinxitError) as error:
        pinxit.load("hf:me/bert")
    assert str(error.value) == (
        "hf:me/bert is not a run of pinxit: it has no model.safetensors.\n"
        "It has 0.bin, 1.bin, 2.bin and 2 more: pickles, which can run code, are not loaded."
    )


def test_weights_that_are_a_pickle_are_refused(hub, files):
    hub.add("me/blobs", {**files, "model.safetensors": pickle.dumps([1])})
    with pytest.raises(PinxitError, match=r"model\.safetensors is damaged"):
        pinxit.load("hf:me/blobs")


def test_a_damaged_run_is_named_by_its_name_on_the_hub(hub, files):
    hub.add("me/blobs", {**files, "config.json": b'{"family": '})
    with pytest.raises(PinxitError, match=r"^config.json of hf:me/blobs is not valid JSON"):
        pinxit.load("hf:me/blobs")
    hub.add("me/old", {**files, "config.json": b'{"family": "vae", "format": 1}'})
    with pytest.raises(PinxitError, match=r"^hf:me/old was written by an older pinxit"):
        pinxit.load("hf:me/old")
    hub.add("me/empty", {"README.md": b"x"})
    with pytest.raises(PinxitError, match=r"^hf:me/empty is not a run of pinxit: it has no config"):
        pinxit.load("hf:me/empty")
    config = json.loads(files["config.json"])
    config["model"]["latent_dim"] = 5
    hub.add("me/other", {**files, "config.json": json.dumps(config).encode()})
    with pytest.raises(PinxitError, match=r"does not fit|larger than its files|config.json"):
        pinxit.load("hf:me/other")


def test_a_revision_is_a_branch_a_tag_or_a_commit(hub, files):
    repository = hub.add("me/blobs", files)
    old = repository.find("main")[0]
    repository.add({**files, "metrics.csv": b"step,loss\n1,7\n"})
    repository.branches["v1"] = repository.branches["main"][:1]
    assert pinxit.Run("hf:me/blobs").metrics() == [{"step": 1.0, "loss": 7.0}]
    for revision in ("v1", old):
        assert len(pinxit.Run(f"hf:me/blobs@{revision}").metrics()) > 1
    with pytest.raises(PinxitError, match="me/blobs has no such branch, tag or commit"):
        pinxit.load("hf:me/blobs@v9")


@pytest.mark.parametrize(
    ("options", "login", "error"),
    [
        ({"private": True}, False, "is not on the Hub, or it is private .then log in: hf auth"),
        ({"gated": True}, False, "access is granted by its owner only"),
    ],
)
def test_private_and_gated_models_need_a_login(options, login, error, hub, files, monkeypatch):
    hub.add("me/blobs", files, **options)
    assert download("hf:me/blobs")
    monkeypatch.delenv("HF_TOKEN")
    hub.add("me/blobs", {**files, "metrics.csv": b"step,loss\n1,7\n"}, **options)
    with pytest.raises(PinxitError, match=error):
        download("hf:me/blobs")


@pytest.mark.parametrize("name", ["hf:", "hf:blobs", "hf:a/b/c", "hf:a/b@", "hf:../x", "hf:a/b--c"])
def test_a_name_of_another_form_is_bad_usage(name, hub, capfd):
    with pytest.raises(UsageError):
        pinxit.load(name)
    assert main(["sample", name]) == 2
    assert len(capfd.readouterr().err.strip().splitlines()) <= 2
    assert hub.requests == []


def test_a_name_that_is_not_there(hub, capfd):
    assert main(["sample", "hf:me/none"]) == 1
    assert capfd.readouterr().err == (
        "pinxit: hf:me/none cannot be downloaded: me/none is not on the Hub, or it is private "
        "(then log in: hf auth login, or HF_TOKEN).\n"
    )


def test_without_a_network_the_last_download_is_used(hub, files, monkeypatch, capfd):
    hub.add("me/blobs", files)
    folder = download("hf:me/blobs")
    for how in (500, 429, "close"):
        hub.faults = [("GET /api/models", how)]
        assert download("hf:me/blobs") == folder
        assert "Using the last download" in capfd.readouterr().err
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert download("hf:me/blobs") == folder
    with pytest.raises(PinxitError, match="cannot be downloaded, and was not before: HF_HUB_OFF"):
        download("hf:me/others")


@pytest.mark.parametrize(
    ("request_line", "how", "error"),
    [
        ("GET /api/models", 403, "you may not do that"),
        ("GET /api/models", 500, "was not before: the Hub fails at the moment"),
        ("GET /api/models", 429, "was not before: the Hub's rate limit is reached"),
        ("GET /api/models", "close", "was not before: the connection failed"),
        ("GET .*/tree/", 500, "the Hub fails at the moment"),
        ("GET .*/resolve/.*safetensors", 500, "the Hub fails at the moment"),
        ("GET .*/resolve/.*safetensors", "cut", "."),
    ],
)
def test_a_failure_is_one_or_two_lines(request_line, how, error, hub, files, capfd):
    hub.add("me/blobs", files)
    hub.fail(request_line, how)
    assert main(["sample", "hf:me/blobs"]) == 1
    lines = capfd.readouterr().err.strip().splitlines()
    assert len(lines) <= 2, lines
    assert lines[0].startswith("pinxit: hf:me/blobs cannot be downloaded")
    assert error in " ".join(lines)
    hub.faults.clear()
    assert pinxit.load("hf:me/blobs") is not None, "nothing half-written is left"


def test_a_download_that_is_cut_goes_on(hub, files):
    hub.add("me/blobs", files)
    hub.fail("GET .*/resolve/.*safetensors", "cut once")
    folder = download("hf:me/blobs")
    assert (folder / "model.safetensors").read_bytes() == files["model.safetensors"]


def test_commands_take_a_name_of_the_hub(hub, files, tmp_path, monkeypatch, capfd):
    hub.add("me/blobs", files)
    monkeypatch.chdir(tmp_path)
    assert main(["sample", "hf:me/blobs", "-n", "2", "-o", "new.png"]) == 0
    assert (tmp_path / "new.png").is_file()
    assert main(["compare", "hf:me/blobs", "hf:me/blobs@main"]) == 0
    assert "PSNR" in capfd.readouterr().out
