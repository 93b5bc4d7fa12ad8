"""The methods of a run: the commands of the command line, with values in place of files."""

from __future__ import annotations

import io
import json
import math
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import pinxit
from pinxit.api.run import METHODS
from pinxit.data.images import Images
from pinxit.errors import PinxitError, UsageError
from pinxit.sampling import inputs
from pinxit.training import progress
from pinxit.training.progress import PREVIEWS
from tests.builders import blobs, noise_images, train_runs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    train_runs(folder)
    return folder


@pytest.fixture
def open_run(folder):
    """Open a run of `train_runs`, with the images it was trained on."""

    def open_named(name: str) -> pinxit.Run:
        run = pinxit.Run(folder / f"blobs-{name}")
        run.attach_images(blobs(channels=1))
        return run

    return open_named


def test_images_that_are_generated_are_those_of_the_model(open_run):
    run = open_run("vae")
    model = pinxit.load(run)
    assert (run.sample(3, seed=5).pixels == model.sample(3, seed=5).pixels).all()
    test = blobs(channels=1).split("test")
    made = run.reconstruct()
    assert (made.pixels == model.reconstruct(test).pixels).all()
    assert (made.before == test.pixels).all()
    assert list(made.names) == list(test.names)
    few = run.reconstruct(num_images=3)
    assert list(few.names) == [test.names[i] for i in (0, 12, 23)]
    assert len(run.reconstruct(split="all")) == 32
    assert len(run.reconstruct(test)) == len(test), "given images are all used"


def test_images_are_given_as_arrays_pillow_images_files_and_names(open_run, tmp_path):
    run, images = open_run("vae"), blobs(channels=1)
    first = images[:1]
    expected = run.reconstruct(first).pixels
    file = first.save(tmp_path / "one.png")
    for given in (first.numpy(), np.asarray(first), first.pil(), str(file), file, [file]):
        assert (run.reconstruct(given).pixels == expected).all()
    large = first.pil().resize((33, 20)).convert("RGBA")
    assert run.reconstruct(large).pixels.shape == expected.shape
    assert run.reconstruct(np.zeros((5, 7, 3), np.uint8)).pixels.shape == expected.shape
    ends = run.interpolate(str(images.names[72]), 1, steps=4)
    assert (ends.pixels == run.interpolate(images[[72, 73]], steps=4).pixels).all()
    assert ends.columns == 4
    for wrong in (np.zeros((2, 2)), np.zeros((8, 8, 5), np.uint8), np.zeros(3, np.uint8)):
        with pytest.raises(UsageError, match="an array of pixels is uint8"):
            run.reconstruct(wrong)


def test_an_unknown_image_is_an_error_that_suggests_the_near_name(open_run):
    run = open_run("vae")
    with pytest.raises(UsageError, match="Did you mean 'blob-003'"):
        run.interpolate("blob003", "blob-004")
    with pytest.raises(UsageError, match="no test image 24; they are numbered 0 to 23"):
        run.interpolate(0, 24)
    for wrong in ((), (1,), (1, 2, 3)):
        with pytest.raises(UsageError, match="two images, or two seeds"):
            run.interpolate(*wrong)
    with pytest.raises(UsageError, match="two images, or two seeds"):
        run.interpolate(1, 2, seeds=(0, 1))
    with pytest.raises(UsageError, match=r"one image is needed, not 2: images\[0\]"):
        run.traverse(1, blobs(2, channels=1))


def test_latents_are_varied_and_interpolated(open_run, tmp_path):
    run = open_run("vae")
    assert len(run.interpolate(seeds=(0, 1), steps=5)) == 5
    traversal = run.traverse(3, 0, steps=5)
    assert len(traversal.images) == 15
    assert Image.open(io.BytesIO(traversal._repr_png_())).size == (
        Image.open(traversal.save(tmp_path / "t.jpg")).size
    )
    with pytest.raises(UsageError, match=r"saved as .png or .jpg or .jpeg or .webp, not '.gif'"):
        traversal.save(tmp_path / "t.gif")


def test_completions_show_themselves_beside_their_inputs(open_run):
    run, images = open_run("igpt"), blobs(channels=1)
    completed = run.complete(half="lower")
    assert len(completed) == 8
    assert (completed.pixels[:, :4] == completed.before[:, :4]).all(), "known pixels are kept"
    two = run.complete(images[:3], half="lower", completions=2, seed=3)
    assert (two.columns, len(two)) == (2, 6)
    assert (two.pixels[::2] == run.complete(images[:3], half="lower", seed=3).pixels).all()
    mask = np.zeros((8, 8), bool)
    mask[4:] = True
    white = Image.fromarray(np.uint8(255 * mask))
    boxed = run.complete(images[:3], box=(0, 4, 8, 4), seed=3)
    for given in (mask, np.stack([mask] * 3), white):
        assert (run.complete(images[:3], mask=given, seed=3).pixels == boxed.pixels).all()
    ratios = run.complete(images[:2], compare=(0.5, 0.75))
    assert (len(ratios), ratios.columns) == (4, 2)
    assert (ratios.pixels == run.complete(images[:2], compare="50,75").pixels).all()
    with pytest.raises(UsageError, match="half and ratio cannot be combined"):
        run.complete(half="lower", ratio=0.5)
    with pytest.raises(UsageError, match="the mask has shape"):
        run.complete(images[:3], mask=np.zeros((2, 8, 8), bool))
    with pytest.raises(UsageError, match="completions must be 1 or more"):
        run.complete(completions=0)


def test_images_are_drawn_and_edited_from_text(open_run, capsys):
    run = open_run("draw")
    drawn = run.draw(["a blob at the top left", "a blob at the top right"], 3, seed=1)
    assert (len(drawn), drawn.columns) == (6, 3)
    assert run.draw("a blob", 2).columns is None
    assert capsys.readouterr().err == ""
    run.draw("a purple blob", 1)
    assert "not in the training captions: purple" in capsys.readouterr().err
    edited = open_run("edit").edit(0, "a blob at the top left", 2)
    test = blobs(channels=1).split("test")
    assert (edited.before == test.before[[0, 0]]).all()


def test_images_are_described(open_run):
    run = open_run("caption")
    captions = run.caption(num_captions=2)
    assert [len(row) for row in captions] == [2] * 8
    assert all(row[0].log_prob <= 0 for row in captions)
    assert len(run.caption(num_images=2, temperature=1.0, seed=4)) == 2
    vae = open_run("vae")
    assert vae.embed().shape == (96, 4)
    scores = vae.score()
    values = [row["log_likelihood"] for row in scores]
    assert len(values) == 24
    assert values == sorted(values)


def test_a_run_that_cannot_is_an_error_that_names_the_families_that_can(open_run):
    with pytest.raises(PinxitError, match="a vae run cannot draw; these families can: "):
        open_run("vae").draw("a blob")
    with pytest.raises(UsageError, match=r"sample has no option 'n'. Did you mean 'num_images'"):
        open_run("vae").sample(n=3)
    with pytest.raises(UsageError, match=r"no option 'temprature'. Did you mean 'temperature'"):
        open_run("vae").sample(3, temprature=1)


def test_evaluate_names_the_option_that_stands_for_another(open_run):
    run = open_run("vae")
    for call in (run.evaluate, lambda **options: pinxit.evaluate(run, **options)):
        with pytest.raises(UsageError, match="evaluate has no option 'progress': use quiet"):
            call(progress=False)
        with pytest.raises(UsageError, match="evaluate has no option 'device': use Run"):
            call(device="cpu")
        with pytest.raises(UsageError, match="splt"):
            call(splt="test")
    record = pinxit.evaluate(
        run, distances=False, iw_samples=0, probe_train_size=0, max_images=8, quiet=True
    )
    assert record.metrics


def test_a_run_is_measured_compared_and_reported(open_run, tmp_path):
    runs = [open_run("vae"), open_run("igpt")]
    for run in runs:
        record = run.evaluate(distances=False, iw_samples=0, probe_train_size=0, quiet=True)
        assert record.metrics == run.evaluation()["metrics"]
        assert f"verdict: {record.verdict}" in repr(record)
        assert record._repr_html_().count("<tr>") > len(record.metrics) // 2
    table = runs[0].compare(runs[1])
    assert table.names == ("blobs-vae", "blobs-igpt")
    assert "<th" in table._repr_html_()
    assert "blobs-igpt" in repr(table)
    shared = [name for name, row in table.comparison.metrics.items() if None not in row]
    plot = pinxit.compare(*runs, metric=shared[0], against="width")
    assert plot._repr_svg_().startswith("<svg")
    assert plot.save(tmp_path / "plot.svg").read_text("utf-8") == plot.svg
    with pytest.raises(UsageError, match=r"saved as \.svg"):
        plot.save(tmp_path / "plot.webp")
    with pytest.raises(UsageError, match="two runs or more, not 1"):
        runs[0].compare()
    with pytest.raises(UsageError, match="needs both metric and against"):
        pinxit.compare(*runs, metric="psnr")
    page = runs[0].report(tmp_path / "r.html")
    assert page.read_text().startswith("<!doctype html>")


def test_a_run_shows_samples_curve_verdict_and_report(open_run):
    run = open_run("vae")
    html = run._repr_html_()
    assert "data:image/png;base64" in html
    assert "<b>undertrained</b>" in html
    assert "run.report()" in html
    assert all(name in html for name in METHODS)
    run.report()
    assert "report.html" in run._repr_html_()
    assert repr(run) == f"Run({str(run.path)!r})"


def test_a_run_that_cannot_be_read_shows_why(tmp_path):
    (tmp_path / "config.json").write_text('{"family": "<b>", "format": 2}')
    for path in (tmp_path / "none", tmp_path):
        html = pinxit.Run(path)._repr_html_()
        assert "<b>" not in html
        assert str(path) in html
    with pytest.raises(UsageError, match="no run at"):
        pinxit.Run(tmp_path / "none").sample()


def test_a_run_that_is_trained_further_has_its_new_weights(open_run):
    run = open_run("vae")
    before = run.sample(2, seed=0).pixels
    resumed = run.resume(steps=6, quiet=True)
    assert run.model is not None
    assert not (run.sample(2, seed=0).pixels == before).all()
    assert (resumed.sample(2, seed=0).pixels == run.sample(2, seed=0).pixels).all()
    assert resumed.config["trained"]["steps"] == 6


def test_train_returns_a_run_that_knows_the_images_it_was_given(tmp_path):
    images = noise_images(40, 8, 8)
    config = pinxit.VAE(network="mlp", latent_dim=2, width=16, depth=1)
    run = pinxit.train(config, images, out=tmp_path / "run", steps=2, quiet=True)
    assert isinstance(run, pinxit.Run)
    assert run.images is images
    with pytest.raises(UsageError, match="overwrite"):
        pinxit.train(config, images, out=run.path, steps=2, quiet=True)
    with pytest.raises(PinxitError, match="trained on images given in Python; name DATA"):
        pinxit.Run(run.path).reconstruct()
    again = pinxit.train(config, images, out=run.path, steps=3, quiet=True, overwrite=True)
    assert again.config["trained"]["steps"] == 3
    estimate = pinxit.train(config, images, steps=3, quiet=True, dry_run=True)
    assert not isinstance(estimate, pinxit.Run)


def test_load_takes_a_run_a_path_and_a_name_of_the_hub(open_run, tmp_path, monkeypatch):
    run = open_run("vae")
    expected = run.sample(1).pixels
    requested = []

    def download(name):
        requested.append(name)
        return run.path

    monkeypatch.setattr("pinxit.hub.download.download", download)
    for name in (run, run.path, str(run.path), "hf:me/blobs@v1"):
        assert (pinxit.load(name).sample(1).pixels == expected).all()
    assert requested == ["hf:me/blobs@v1"]
    monkeypatch.undo()
    with pytest.raises(UsageError, match="a model of the hub is hf:owner/name"):
        pinxit.load("hf:blobs")
    with pytest.raises(UsageError, match=r"A model of the Hugging Face Hub is hf:me/blobs\."):
        pinxit.load("me/blobs")
    with pytest.raises(UsageError, match=r"Did you mean .*blobs-vae\?"):
        pinxit.load(run.path.parent / "blobs-vea")
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: tmp_path / "empty")
    with pytest.raises(PinxitError, match="hf:me/x is not a run of pinxit"):
        pinxit.load("hf:me/x")


@pytest.mark.parametrize("reason", ["offline", "missing", "disk"])
def test_a_run_that_cannot_be_downloaded_is_an_error(monkeypatch, reason):
    import httpx
    from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError

    response = httpx.Response(404, request=httpx.Request("GET", "https://hub.example"))
    errors = {
        "offline": LocalEntryNotFoundError("no network"),
        "missing": RepositoryNotFoundError("404 Client Error.", response=response),
        "disk": OSError(28, "No space left on device"),
    }

    def fail(*_, **__):
        raise errors[reason]

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(PinxitError, match=r"hf:me/x cannot be downloaded") as error:
        pinxit.load("hf:me/x")
    assert str(error.value).endswith(".") or reason == "disk"
    assert len(str(error.value).splitlines()) <= 2


def test_runs_are_listed_as_a_table(folder):
    table = pinxit.list_runs(folder)
    assert len(table) == 5
    assert "blobs-igpt" in repr(table)
    assert "blobs-igpt" in table._repr_html_()
    assert list(pinxit.list_runs(folder / "none")) == []


def test_look_describes_images_and_shows_a_contact_sheet(capsys):
    sheet = pinxit.look(blobs(12), 4)
    assert "blobs: 12 images, 8 x 8, grey" in capsys.readouterr().out
    assert sheet.values["num_images"] == 12
    assert Image.open(io.BytesIO(sheet._repr_png_())).size[0] > 100
    with pytest.raises(UsageError, match="num_images must be 1 or more"):
        pinxit.look(blobs(12), 0)
    pinxit.sources()
    assert "digits" in capsys.readouterr().out


def test_a_server_runs_beside_python_and_is_closed(open_run, tmp_path):
    import httpx

    run = open_run("vae")
    with run.serve(open_run("draw"), store=str(tmp_path / "s.sqlite"), studio=False) as server:
        models = httpx.get(f"{server.base_url}/models", timeout=30).json()["data"]
        assert {model["id"] for model in models} >= {"blobs-vae", "blobs-draw"}
        assert server.url in server._repr_html_()
        port = int(server.url.rpartition(":")[2])
        with pytest.raises(PinxitError, match="cannot listen"):
            run.serve(port=port, store=str(tmp_path / "s.sqlite"))
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{server.base_url}/models", timeout=5)
    assert "closed" in repr(server)
    with pytest.raises(UsageError, match="other machines can reach"):
        run.serve(host="0.0.0.0")
    with pytest.raises(UsageError, match="no 'studi'"):
        run.serve(studi=False)


@pytest.mark.parametrize("name", ["vae", "igpt", "draw", "edit", "caption", "mae", "tokenizer"])
def test_a_preview_is_called_what_its_title_says(name, folder, tmp_path, monkeypatch):
    path = folder / f"blobs-{name}"
    if not path.is_dir():
        small = {"mae": {"width": 16, "depth": 1, "heads": 2}, "tokenizer": {"width": 8}}
        path = tmp_path / name
        pinxit.train(
            name, blobs(channels=1), out=path, steps=1, num_evals=1, quiet=True, **small[name]
        )
    file = path / "samples" / "titles.json"  # none of a model that generates no images
    titles = json.loads(file.read_text()) if file.is_file() else {}
    kind = next((kind for kind in PREVIEWS if kind in titles), None)
    shown = pinxit.Run(path)._repr_html_()
    found = re.findall(r'<img alt="([^"]*) at step [\d,]+"', shown)
    assert found == ([] if kind is None else [titles[kind].partition(":")[0]])
    said = []
    display = SimpleNamespace(show_samples=lambda file, title: said.append(title))
    monkeypatch.setattr(progress, "choose_display", lambda: display)
    line = progress.ProgressLine(batch_size=1)
    files = sorted((path / "samples").glob(f"{kind}-*.png"))
    line.show_samples(path / "samples", int(files[-1].stem.rpartition("-")[2]) if files else 1)
    assert [title.partition(" at step")[0] for title in said] == found


def test_a_path_of_a_run_may_begin_with_the_home(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    run = pinxit.Run("~/blobs-vae")
    assert run.path == folder / "blobs-vae"
    assert len(run.sample(2)) == 2


CALLS = {
    "sample": lambda run, out: run.sample(2, prior="mixture"),
    "reconstruct": lambda run, out: run.reconstruct(),
    "interpolate": lambda run, out: run.interpolate(0, "blob-003", steps=2),
    "traverse": lambda run, out: run.traverse(1, steps=2),
    "embed": lambda run, out: run.embed(),
    "score": lambda run, out: run.score(),
    "map": lambda run, out: run.map("embed", out=out / "map", quiet=True),
    "evaluate": lambda run, out: run.evaluate(
        iw_samples=0, distances=False, probe_train_size=0, prior="mixture", quiet=True
    ),
    "report": lambda run, out: run.report(out / "report.html"),
    "explain": lambda run, out: run.explain(out=out / "explain.html", quiet=True),
    "export": lambda run, out: run.export(out / "parts/"),
    "complete": lambda run, out: run.complete(half="lower"),
    "caption": lambda run, out: run.caption(),
    "edit": lambda run, out: run.edit(0, "a blob"),
}
# of methods that take no images of the run, or load them by name
WITHOUT_IMAGES = {"draw", "translate", "compare", "serve", "push", "resume"}
RUNS = {"complete": "igpt", "caption": "caption", "edit": "edit"}


@pytest.mark.parametrize("method", sorted({*METHODS} - WITHOUT_IMAGES))
def test_attached_images_are_used_in_place_of_loaded_ones(method, open_run, tmp_path, monkeypatch):
    def fail(*args, **options):
        raise AssertionError("loads images")

    monkeypatch.setattr(inputs, "load_images", fail)
    CALLS[method](open_run(RUNS.get(method, "vae")), tmp_path)


def test_a_copied_run_is_independent_of_the_first(open_run, tmp_path):
    run = open_run("vae")
    copy = pinxit.Run(str(shutil.copytree(run.path, tmp_path / "with space & [x]")))
    assert (copy.sample(1).pixels == run.sample(1).pixels).all()
    assert math.isfinite(copy.score(Images(blobs(2, channels=1).pixels))[0]["log_likelihood"])
