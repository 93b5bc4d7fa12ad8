"""The slides of the lecture in the report: what they measure is true of the run."""

from __future__ import annotations

import base64
import dataclasses
import io
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import pinxit
from pinxit.models.results import Posterior
from pinxit.nn.rng import per_image_normal
from pinxit.reports import report
from pinxit.reports.context import ReportContext, load_context
from pinxit.reports.formatting import format_seconds
from pinxit.reports.lecture.latent_plane import latent_plane
from pinxit.reports.lecture.overview import list_kl_terms, overview
from pinxit.reports.lecture.posterior_clouds import _draw_cloud, align, posterior_clouds
from pinxit.reports.lecture.prior_samples import prior_samples
from pinxit.reports.lecture.search_for_z import search_for_z
from pinxit.reports.lecture.slide import locate
from pinxit.sampling.elbo import elbo_terms
from pinxit.sampling.latent_search import _Adam, encode_image, search_latents
from pinxit.sampling.latents import gaussian_kl
from pinxit.training.posterior_snapshots import PosteriorSnapshot
from tests.builders import blobs, build_vae, make_run
from tests.reports.html_page import HtmlPage


@pytest.fixture(scope="module")
def context(tmp_path_factory) -> ReportContext:
    images = blobs(n=64)
    run = make_run(tmp_path_factory.mktemp("lecture"), images, steps=80)
    return load_context(run, images)


def test_places_in_the_code_are_files_and_names_in_them():
    assert locate(elbo_terms) == "sampling/elbo.py: elbo_terms"
    assert locate(type(build_vae()).encode) == "models/vae/model.py: VAE.encode"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.00123, "1.2 ms"), (0.5, "500 ms"), (3.44, "3.4 s"), (448, "7 min 28 s")],
)
def test_times_have_units(seconds, text):
    assert format_seconds(seconds) == text


# -- the search for z ------------------------------------------------------------------------------


def test_the_search_takes_the_steps_of_adam():
    start = torch.tensor([[1.0, -2.0]])
    own, reference = start.clone(), start.clone().requires_grad_()
    adam, optimizer = _Adam(own), torch.optim.Adam([reference], 0.1)
    for _ in range(5):
        reference.grad = (reference.detach() ** 3) + 1
        adam.step(own**3 + 1)
        optimizer.step()
        assert torch.allclose(own, reference, atol=1e-6)


def test_errors_of_the_search_are_those_of_the_decoded_images(context):
    model, image = context.model, context.subset[3]
    starts = np.random.default_rng(0).standard_normal((2, model.latent_dim)).astype(np.float32)
    search = search_latents(model, image, starts, 20)
    decoded = model.decode_means(search.z[-1]) / 255
    norms = np.linalg.norm((decoded - image.pixels / 255).reshape(2, -1), axis=1)
    assert np.allclose(search.errors[-1], norms, atol=1e-4)
    assert (search.errors[-1] < 0.9 * search.errors[0]).all()
    assert np.array_equal(search.z[0], starts)


@given(st.integers(0, 2**31), st.integers(1, 3))
@settings(deadline=None, max_examples=10)
def test_starts_do_not_influence_one_another(seed, row):
    model, image = build_vae(), blobs()[0]
    starts = np.random.default_rng(seed).standard_normal((4, 5)).astype(np.float32)
    together = search_latents(model, image, starts, 3)
    alone = search_latents(model, image, starts[[row]], 3)
    assert np.allclose(together.z[:, row], alone.z[:, 0], atol=1e-4)


def test_the_search_leaves_no_gradients_and_works_in_inference_mode(context):
    with torch.inference_mode():
        search = search_latents(context.model, context.subset[0], np.zeros((1, 4), np.float32), 2)
    assert search.errors[2, 0] < search.errors[0, 0]
    assert all(parameter.grad is None for parameter in context.model.parameters())


def test_the_encoders_answer_is_its_posterior_mean(context):
    answer = encode_image(context.model, context.subset[1])
    assert np.array_equal(answer.z, context.model.encode(context.subset[1]).mean[0])
    search = search_latents(context.model, context.subset[1], answer.z[None], 30)
    assert search.errors[0, 0] == pytest.approx(answer.error)
    assert search.steps_to(answer.error) == 0
    assert search.steps_to(0.0) is None


def test_slide_of_a_label_conditional_model_with_a_learned_prior(tmp_path):
    images = blobs(channels=3)
    run = make_run(tmp_path, images, steps=5, condition="label", prior="flow")
    slide = search_for_z(load_context(run, images))
    assert slide is not None
    assert float(slide.values["epsilon"]) <= float(slide.values["encoder_error"])
    assert search_for_z(ReportContext(run)) is None


# -- the posteriors during training ----------------------------------------------------------------


def random_snapshot(seed, n=30, step=0):
    random = np.random.default_rng(seed)
    roots = random.standard_normal((n, 2, 2)).astype(np.float32)
    covariance = roots @ roots.transpose(0, 2, 1)
    mean = random.standard_normal((n, 2)).astype(np.float32)
    return PosteriorSnapshot(step, mean, covariance, 1.0, np.zeros(n, np.int64))


@given(st.integers(0, 2**31), st.floats(-3.2, 3.2), st.booleans())
def test_turned_and_mirrored_snapshots_are_turned_back(seed, angle, mirrored):
    snapshot = random_snapshot(seed)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn = turn @ np.diag([1, -1 if mirrored else 1])
    other = dataclasses.replace(
        snapshot, mean=snapshot.mean @ turn.T, covariance=turn @ snapshot.covariance @ turn.T
    )
    first, last = align([other, snapshot])
    assert np.allclose(first.mean, snapshot.mean, atol=1e-4)
    assert np.allclose(first.covariance, snapshot.covariance, atol=1e-3)
    assert last is snapshot


@given(st.integers(0, 2**31))
def test_alignment_keeps_distances_from_the_prior(seed):
    snapshots = [random_snapshot(seed), random_snapshot(seed + 1)]
    for before, after in zip(snapshots, align(snapshots), strict=True):
        assert np.allclose(
            np.linalg.norm(before.mean, axis=1), np.linalg.norm(after.mean, axis=1), atol=1e-4
        )
        traces = [np.trace(s.covariance, axis1=1, axis2=2) for s in (before, after)]
        assert np.allclose(*traces, rtol=1e-4)


@given(st.integers(0, 2**31))
def test_a_drawn_cloud_has_the_axes_of_its_covariance(seed):
    covariance = random_snapshot(seed, 1).covariance[0].astype(np.float64) + 0.05 * np.eye(2)
    path = _draw_cloud(np.array([50.0, 60.0]), covariance, 40.0)
    numbers = [float(text) for text in re.findall(r"-?\d+\.?\d*", path)]
    start, (a, b, angle), end = numbers[:2], numbers[2:5], numbers[7:9]
    values = np.linalg.eigvalsh(covariance)
    assert (a, b) == pytest.approx(tuple(40 * np.sqrt(values[::-1])), abs=0.06)
    center = np.array(start) + np.array(end) / 2
    assert center == pytest.approx([50.0, 60.0], abs=0.2)
    # the long axis is an eigenvector; y grows downward
    axis = np.array([np.cos(np.radians(angle)), -np.sin(np.radians(angle))])
    assert axis @ covariance @ axis == pytest.approx(values[1], rel=0.02, abs=0.02)


def test_clouds_are_shown_for_runs_with_snapshots(context, tmp_path):
    assert posterior_clouds(context) is None
    images = blobs()
    config = pinxit.VAE(network="mlp", latent_dim=4, width=16, depth=1)
    run = pinxit.train(config, images, out=tmp_path / "run", steps=40, batch_size=16, quiet=True)
    path = report(run.path, images=images)
    page = HtmlPage(path)
    assert page.markup_errors == []
    assert page.unclosed == []
    inputs = [
        attributes for attributes in page.attributes("input") if attributes["name"] == "clouds"
    ]
    assert len(inputs) == 13
    assert "step 40: KL" in page.text
    assert "north-west" in page.text
    for file in (tmp_path / "run" / "latents").iterdir():
        file.write_bytes(b"damaged")
    page = HtmlPage(report(run.path, images=images))
    assert "No posteriors during training" in page.text
    assert "slide-posterior_clouds" not in page.html


# -- samples, overview, issue ----------------------------------------------------------------------


def test_numbers_of_the_samples_decode_to_the_samples(context):
    slide = prior_samples(context)
    assert slide is not None
    first = [row["numbers"] for row in slide.values["rows"]]
    z = per_image_normal(6, (4,), 0).numpy()
    assert first[0] == f"({', '.join(f'{v:.2f}' for v in z[0])})".replace("-", "−")
    assert np.array_equal(context.model.decode(z).pixels, context.samples.pixels[:6])


@given(st.integers(0, 2**31), st.integers(1, 9))
def test_terms_of_the_kl_add_up_to_the_closed_form(seed, n):
    random = np.random.default_rng(seed)
    mean = random.standard_normal(n).astype(np.float32)
    std = np.exp(random.standard_normal(n)).astype(np.float32)
    posterior = Posterior(mean, std)
    kl = gaussian_kl(posterior)
    *rows, total = list_kl_terms(posterior, np.argsort(-kl))
    assert read(total["kl"]) == pytest.approx(kl.sum(), abs=2e-3)
    assert sum(read(row["kl"]) for row in rows) == pytest.approx(kl.sum(), abs=0.01)
    assert len(rows) == min(n, 7)
    for row in [*rows, total]:
        parts = sum(read(row[name]) for name in ("variance", "rest", "square"))
        assert read(row["kl"]) == pytest.approx(parts / 2, abs=2e-3)


def read(text):
    return float(text.replace("−", "-").replace(",", ""))


def test_overview_has_the_terms_and_sizes_of_the_run(context):
    slide = overview(context)
    assert slide is not None
    rate = float(context.elbo_terms.rate.sum(1).mean())
    assert read(slide.values["mean_rate"]) == pytest.approx(rate, rel=0.01)
    assert slide.values["networks"]["encoder"]["name"] == "MLPEncoder"
    sizes = [network["size"] for network in slide.values["networks"].values()]
    assert sum(sizes) == sum(
        p.numel()
        for part in (context.model.encoder, context.model.decoder)
        for p in part.parameters()
    )
    assert read(slide.values["terms"][-1]["kl"]) == pytest.approx(
        read(slide.values["rate"]), rel=0.01
    )


def test_the_last_slide_links_to_the_section_that_explains(context, tmp_path):
    page = HtmlPage(report(context.run, tmp_path / "x.html", images=context.images))
    assert "#why_blurry" in [attributes.get("href") for attributes in page.attributes("a")]
    assert "pinxit explain" in page.text


# -- the plane of two latents ----------------------------------------------------------------------


def test_the_plane_of_two_latents_is_decoded_cell_by_cell(tmp_path):
    images = blobs(height=8, width=10)
    context = load_context(make_run(tmp_path, images, steps=5, latent_dim=2), images)
    slide = latent_plane(context)
    assert slide is not None
    plane = str(slide.values["plane"])
    uri = re.search(r'href="data:image/png;base64,([^"]+)"', plane)
    assert uri
    with Image.open(io.BytesIO(base64.b64decode(uri[1]))) as image:
        sheet = np.asarray(image)
    cells = re.findall(r'viewBox="([\d.]+) ([\d.]+) 20 [\d.]+"><use.*?z = \(([^)]*)\)', plane)
    assert len(cells) == 15**2
    for left, top, text in (cells[0], cells[37], cells[-1]):
        z = np.array([[float(value.replace("−", "-")) for value in text.split(",")]], np.float32)
        row, column = round(float(top) / 16), round(float(left) / 20)
        shown = sheet[row * 8 : row * 8 + 8, column * 10 : column * 10 + 10].astype(int)
        assert np.abs(shown - context.model.decode(z).pixels[0, :, :, 0]).max() <= 1


def test_other_runs_have_no_plane(context):
    assert latent_plane(context) is None
