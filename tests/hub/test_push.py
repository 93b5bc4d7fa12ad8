"""Publish a run: what is sent and what is not, and what happens when the hub fails."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import pinxit
from pinxit.cli import main
from pinxit.errors import PinxitError, UsageError
from pinxit.hub.contents import collect_contents, is_published_name
from pinxit.hub.push import find_stale
from pinxit.runs import Run
from tests.hub.fake_hub import LFS_BYTES

SENT = {
    *("README.md", "config.json", "model.safetensors", "metrics.csv", "evaluation.json"),
    *("samples/step-0000004.png", "samples/titles.json"),
}
IMAGES = {"examples.json", "report.html", "samples/reconstruct-0000004.png"}


@pytest.fixture
def run(source_run, tmp_path):
    """A copy of the run, that a test may change."""
    return pinxit.Run(shutil.copytree(source_run.path, tmp_path / "blobs-vae"))


def card_of(repository) -> dict:
    return yaml.safe_load(repository.files()["README.md"].decode().split("---\n")[1])


def test_a_run_is_published_in_one_commit_and_loads_again(run, hub):
    result = run.push("me/blobs", license="apache-2.0")
    repository = hub.repositories["me/blobs"]
    assert repository.files().keys() == SENT == result.files.keys()
    assert (repository.private, repository.messages) == (False, ["Publish a run of pinxit"])
    assert len(repository.branches["main"]) == 1
    assert result.published
    assert result.url == f"{hub.url}/me/blobs"
    weights = run.weights_path.read_bytes()
    assert repository.files()["model.safetensors"] == weights
    assert len(weights) > LFS_BYTES, "sent by LFS"
    loaded = pinxit.load("hf:me/blobs")
    assert (loaded.sample(2, seed=3).pixels == run.sample(2, seed=3).pixels).all()
    opened = pinxit.Run("hf:me/blobs")
    assert opened.evaluation()["metrics"] == run.evaluation()["metrics"]
    assert opened.metrics() == run.metrics()
    with pytest.raises(PinxitError, match="no source 'blobs'"):
        opened.reconstruct()


def test_the_card_has_front_matter_samples_and_the_evaluation(run, hub):
    run.push("me/blobs", license="apache-2.0")
    repository = hub.repositories["me/blobs"]
    card, text = card_of(repository), repository.files()["README.md"].decode()
    assert card["license"] == "apache-2.0"
    assert card["library_name"] == "pinxit"
    assert card["pipeline_tag"] == "unconditional-image-generation"
    assert card["tags"] == ["pinxit", "vae", "image-generation"]
    assert "datasets" not in card, "no dataset of the hub"
    (entry,) = card["model-index"]
    (result,) = entry["results"]
    assert result["dataset"] == {"name": "blobs", "type": "blobs", "split": "test"}
    measured = {metric["type"]: metric["value"] for metric in result["metrics"]}
    metrics = run.evaluation()["metrics"]
    assert measured == {name: metrics[name] for name in measured}
    assert {"psnr", "elbo"} <= measured.keys()
    assert "![Generated images](samples/step-0000004.png)" in text
    assert 'pinxit.load("hf:me/blobs")' in text
    rows = [line for line in text.splitlines() if line.startswith("| reconstruction: PSNR")]
    assert "± " in rows[0]
    block = text.split("```python\n")[1].split("```")[0]
    exec(block.replace('run.reconstruct("image.png")', "0"), {})  # what the card shows runs


@pytest.mark.parametrize("task", ["draw", "caption", "edit"])
def test_the_task_is_that_of_the_model(task):
    from pinxit.hub.card import TASKS, find_task

    assert find_task({task, "sample", "embed"}) == TASKS[task]
    assert find_task(set()) is None


def test_nothing_private_is_sent(run, hub, source_run, capfd):
    config = {**run.config, "data": {**run.config["data"], "source": f"{source_run.path}/photos"}}
    config["data"] |= {"files": [f"{source_run.path}/photos/a.png"], "fingerprint": "x"}
    config["data"]["options"] = {
        **config["data"]["options"],
        "captions": f"{source_run.path}/t.toml",
    }
    config["command"] = f"pinxit train vae {source_run.path}/photos"
    run.write("config.json", config)
    record = json.loads((run.path / "evaluation.json").read_text())
    record["warnings"] = [f"{source_run.path}/photos has changed since training"]
    record["protocol"]["data"] = f"{source_run.path}/photos"
    record["verdict"]["command"] = f"pinxit train --resume {source_run.path}"
    run.write("evaluation.json", record)
    assert main(["push", str(run.path), "me/blobs"]) == 0
    out = capfd.readouterr().out
    files = hub.repositories["me/blobs"].files()
    for name, content in files.items():
        for secret in (b"secret-owner", str(run.path).encode(), b"blob-0", b"a.png", b"/photos"):
            assert secret not in content, (name, secret)
    public = json.loads(files["config.json"])
    assert public["data"]["source"] == "photos"
    assert public["data"]["options"]["captions"] == "t.toml"
    assert "command" not in public
    assert json.loads(files["evaluation.json"])["warnings"] == ["photos has changed since training"]
    assert "the names of 4 labels" in out
    for name in ("checkpoint/", "examples.json", "latents/", "report.html"):
        assert name in out.split("not sent:")[1]
    assert out.splitlines()[-1] == f"{hub.url}/me/blobs"


def test_images_of_the_data_are_sent_with_an_option_only(run, hub):
    run.push("me/blobs", with_images=True)
    repository = hub.repositories["me/blobs"]
    assert repository.files().keys() == SENT | IMAGES
    again = run.push("me/blobs", message="Without images")
    assert repository.files().keys() == SENT, "what was sent before is deleted"
    assert len(repository.branches["main"]) == 2
    assert repository.messages[-1] == "Without images"
    assert again.published


def test_a_file_with_images_that_holds_a_path_is_not_sent(run, hub):
    (run.path / "report.html").write_text(f"<p>{run.path}</p>")
    result = run.push("me/blobs", with_images=True)
    assert result.left_out["report.html"] == "holds paths of this machine"
    assert "report.html" not in hub.repositories["me/blobs"].files()


def test_labels_that_are_paths_are_refused(run, hub):
    info = run.config["dataset_info"]
    names = [f"{run.path}/{name}" for name in info["label_names"]]
    run.write("config.json", {**run.config, "dataset_info": {**info, "label_names": names}})
    with pytest.raises(PinxitError, match=r"config.json holds a path of this machine"):
        pinxit.Run(run.path).push("me/blobs")
    assert hub.requests == []


def test_a_dry_run_lists_what_would_be_sent_and_sends_nothing(run, hub, capfd):
    assert main(["push", str(run.path), "me/blobs", "--dry-run"]) == 0
    out = capfd.readouterr().out
    assert f"to be published at {hub.url}/me/blobs: 7 files" in out
    assert all(name in out for name in SENT)
    assert hub.requests == []
    assert main(["push", str(run.path), "me/blobs", "--dry-run", "--json"]) == 0
    record = json.loads(capfd.readouterr().out)
    assert record["files"].keys() == SENT
    assert record["published"] is False


def test_a_branch_is_made_and_the_main_one_stays(run, hub):
    before = hub.add("me/blobs").add({"README.md": b"---\nlibrary_name: pinxit\n---\n"})
    result = run.push("me/blobs", revision="v1")
    repository = hub.repositories["me/blobs"]
    assert repository.find("main")[0] == before
    assert repository.files("v1").keys() == SENT
    assert result.url.endswith("/me/blobs/tree/v1")
    assert pinxit.load("hf:me/blobs@v1") is not None
    run.push("me/blobs@v1")
    with pytest.raises(UsageError, match="give the branch once"):
        run.push("me/blobs@v1", revision="v2")


def test_private_is_private(run, hub):
    run.push("me/hidden", private=True)
    assert hub.repositories["me/hidden"].private
    run.push("me/hidden", private=True)
    hub.add("me/open")
    with pytest.raises(PinxitError, match=r"me/open is public already.\nMake it private"):
        run.push("me/open", private=True)
    assert hub.repositories["me/open"].files() == {}


def test_another_model_is_not_replaced(run, hub):
    repository = hub.add("me/bert", {"pytorch_model.bin": b"x", "config.json": b"{}"})
    with pytest.raises(PinxitError, match=r"something else than a run of pinxit: config.json"):
        run.push("me/bert")
    assert repository.files().keys() == {"pytorch_model.bin", "config.json"}
    run.push("me/bert", overwrite=True)
    assert repository.files().keys() == SENT | {"pytorch_model.bin"}


FOREIGN = {
    *("adapter_model.safetensors", "model-00001-of-00002.safetensors", "samples/cat.png"),
    *("evaluation_results.json", "samples/step-1.png", "config.json.bak"),
}


@pytest.mark.parametrize("branch", ["main", "v1"])
def test_files_of_another_model_stay(branch, run, hub):
    repository = hub.add("me/bert", dict.fromkeys([*FOREIGN, "examples.json"], b"x"))
    if branch != "main":
        repository.add(repository.files(), branch)
        repository.add({"README.md": b"---\nlibrary_name: pinxit\n---\n"})
    revision = None if branch == "main" else branch
    with pytest.raises(PinxitError, match="something else than a run of pinxit"):
        run.push("me/bert", revision=revision)
    run.push("me/bert", revision=revision, overwrite=True)
    assert repository.files(branch).keys() == SENT | FOREIGN | {"examples.json"}


def test_every_file_of_a_run_has_a_name_that_is_deleted_when_it_is_stale(run):
    assert all(is_published_name(name) for name in collect_contents(run, with_images=True).files)


NAMES = st.sampled_from([*sorted(SENT | IMAGES | FOREIGN), "notes.txt", "evaluation-train.json"])


@given(old=st.sets(NAMES | st.text(max_size=9)), sent=st.sets(NAMES), library=st.text(max_size=9))
def test_only_what_a_run_can_have_sent_is_deleted(old, sent, library):
    stale = set(find_stale(old, "pinxit", sent))
    assert stale == {name for name in old - sent if is_published_name(name)}
    assert not stale & FOREIGN
    assert find_stale(old, library, sent) == find_stale(old, None, sent) == []


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("blobs",), "the name of a model of the hub is owner/name"),
        (("me/blobs/x",), "owner/name"),
        (("me/-x",), "no name of the hub"),
        (("me/a--b",), "no name of the hub"),
        (("../me",), "no name of the hub"),
        (("me/x", "--license", "Apache 2"), "a license is named as in apache-2.0"),
        (("me/x", "--revision", "../x"), "a branch is named"),
        (("me/x", "--message", " "), "the message of the commit is empty"),
    ],
)
def test_bad_usage_has_exit_code_2(arguments, error, run, hub, capfd):
    assert main(["push", str(run.path), *arguments]) == 2
    assert error in capfd.readouterr().err
    assert hub.requests == []


@pytest.mark.parametrize(
    ("request_line", "how", "error"),
    [
        ("POST /api/repos/create", 401, "the login is missing or not valid"),
        ("POST /api/repos/create", 403, "you may not do that in me/blobs"),
        ("POST /api/repos/create", 500, "the Hub fails at the moment"),
        ("GET /api/models", 404, "not on the Hub, or it is private"),
        ("GET /api/models", 429, "rate limit is reached"),
        ("POST .*/preupload/", 503, "the Hub fails at the moment"),
        ("POST .*/preupload/", "close", "the connection failed"),
        ("POST .*/batch", 403, "you may not do that"),
        ("PUT /lfs", 500, "the Hub fails at the moment"),
        ("PUT /lfs", "close", "the connection failed"),
        ("POST .*/commit/", 409, "was changed at the same time"),
        ("POST .*/commit/", 412, "was changed at the same time"),
        ("POST .*/commit/", 413, "larger than the Hub takes"),
        ("POST .*/commit/", 429, "rate limit is reached"),
        ("POST .*/commit/", "close", "the connection failed"),
    ],
)
def test_a_failure_is_one_or_two_lines_and_nothing_is_published(
    request_line, how, error, run, hub, capfd
):
    hub.fail(request_line, how)
    assert main(["push", str(run.path), "me/blobs"]) == 1
    lines = capfd.readouterr().err.strip().splitlines()
    assert len(lines) <= 2
    assert lines[0].startswith(f"pinxit: {run.path} is not published: ")
    assert error in " ".join(lines)
    assert not hub.repositories or hub.repositories["me/blobs"].files() == {}


def test_a_slow_hub_is_waited_for(run, hub):
    hub.fail("POST .*/commit/", "slow")
    assert run.push("me/blobs").published


def test_without_a_login_the_error_says_how_to_log_in(run, hub, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(PinxitError, match="hf auth login, or HF_TOKEN"):
        run.push("me/blobs")


def test_offline_is_said(run, hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(PinxitError, match="HF_HUB_OFFLINE is set"):
        run.push("me/blobs")


def test_files_that_the_repository_ignores_are_said(run, hub):
    hub.add("me/blobs", ignored=("metrics.csv",))
    with pytest.raises(PinxitError, match=r"the Hub left out metrics.csv: look at the .gitignore"):
        run.push("me/blobs")


def test_a_change_at_the_same_time_is_not_lost(run, hub):
    run.push("me/blobs")
    repository = hub.repositories["me/blobs"]

    def change(line: str) -> None:
        if "/preupload/" in line:
            repository.add({**repository.files(), "notes.txt": b"by another"})

    hub.on_request = change
    (run.path / "metrics.csv").write_text("step,loss\n1,2\n")
    with pytest.raises(PinxitError, match="was changed at the same time"):
        run.push("me/blobs")
    assert repository.files()["notes.txt"] == b"by another"


def test_a_run_that_cannot_be_loaded_is_not_published(run, hub, tmp_path):
    with pytest.raises(UsageError, match="no run at"):
        Run(tmp_path / "none").check_weights()
    (run.path / "model.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(PinxitError, match=r"not published, since it cannot be loaded: .*blobs"):
        run.push("me/blobs")
    (run.path / "model.safetensors").unlink()
    with pytest.raises(PinxitError, match="has no weights yet"):
        run.push("me/blobs")
    assert hub.requests == []


def test_a_run_in_training_is_not_published(run, hub):
    from pinxit.training.run_lock import lock_run

    with lock_run(run), pytest.raises(PinxitError, match="is being trained: wait for it"):
        run.push("me/blobs")
    assert hub.requests == []


def test_what_the_page_of_the_hub_shows_works(hub, tmp_path, monkeypatch, capfd):
    page = (Path(__file__).parent.parent.parent / "docs" / "hub.md").read_text("utf-8")
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", page, re.DOTALL))
    commands = re.findall(r"^pinxit (.+)$", blocks, re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    assert len(commands) == 6
    for words in commands:
        if words.startswith("serve"):  # does not end; tests/cli/test_serve.py
            continue
        words = words.replace("--steps 60", "--steps 2 --width 8 --no-report")
        words = words.replace("--no-distances", "--no-distances --iw-samples 2 --max-images 20")
        assert main(shlex.split(words)) == 0, capfd.readouterr().err
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(block, {"pinxit": pinxit})
    table = page.partition("<!-- sent -->")[2].partition("###")[0]
    listed = set(re.findall(r"^\| `([\w./*-]+)`", table, re.MULTILINE))
    assert hub.repositories["me/digits"].files().keys() <= {
        name for name in SENT if any(fnmatch(name, f"{entry}*") for entry in listed)
    } | {"samples/step-0000002.png"}
