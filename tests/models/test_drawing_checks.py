"""What drawing and editing refuse, they refuse before the first image is generated."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.errors import UsageError
from pinxit.models import build_model, flow, seq2seq
from pinxit.models.inputs import rerank_languages
from tests.builders import blobs

SIZE = {"width": 16, "heads": 2, "depth": 1, "max_text_tokens": 24}
CAPTIONS = {"en": "a blob at the top left", "fr": "une tache en haut"}


@functools.cache
def model_of(kind: str, languages: tuple[str, ...] = ("en", "fr"), dropout: float = 0.1):
    """An untrained model of blobs whose captions are in these languages."""
    columns = {name: [CAPTIONS.get(name, CAPTIONS["en"])] * 96 for name in languages}
    images = dataclasses.replace(blobs(), captions=columns)
    if kind == "caption":
        options = {"source": "image", "target": "text"}
        config = seq2seq.Config(**options, decoder_depth=1, **SIZE)
    elif kind == "flow":
        config = flow.Config(condition="text", text_depth=1, caption_dropout=dropout, **SIZE)
    else:
        source = "text" if kind == "draw" else "image+text"
        config = seq2seq.Config(
            source=source, palette_size=4, decoder_depth=1, caption_dropout=dropout, **SIZE
        )
    return build_model(config, images, np.arange(48))[0].eval()


LANGUAGES = st.sampled_from([("en",), ("fr",), ("und",), ("en", "fr"), ("und", "fr")])


@settings(max_examples=40)
@given(
    kind=st.sampled_from(["draw", "flow"]),
    languages=LANGUAGES,
    reranker=st.none() | LANGUAGES,
    dropout=st.sampled_from([0.0, 0.1]),
    language=st.sampled_from([None, "en", "fr", "de"]),
    text=st.sampled_from(["a blob", "", "blob " * 90]),
    options=st.fixed_dictionaries(
        {"best_of": st.sampled_from([1, 2])},
        optional={
            "guidance": st.sampled_from([0.0, 1.0, 2.0]),
            "temperature": st.sampled_from([0.0, 1.0]),
            "top_p": st.sampled_from([0.5, 1.0]),
            "top_k": st.just(2),
            "steps": st.just(1),
        },
    ),
)
def test_every_error_of_a_drawing_is_raised_before_it_begins(
    kind, languages, reranker, dropout, language, text, options
):
    model = model_of(kind, languages, dropout)
    options |= {} if reranker is None else {"reranker": model_of("caption", reranker)}
    try:
        stream = model.draw_stream([text], language=language, **options)
    except UsageError:
        return
    assert len(list(stream)) >= 1


def test_a_reranker_scores_texts_of_its_languages_and_undetermined_ones_of_its_only_one():
    captions_in = functools.partial(model_of, "caption")
    assert rerank_languages(captions_in(("en", "fr")), ["fr", "en"]) == ["fr", "en"]
    assert rerank_languages(captions_in(("en",)), ["und"]) == ["en"]
    assert rerank_languages(captions_in(("und",)), ["fr"]) == ["und"]
    for known, language in ((("en", "fr"), "und"), (("en",), "fr"), (("en", "und"), "fr")):
        with pytest.raises(UsageError, match=f"captions in {', '.join(known)}, not in {language}"):
            rerank_languages(captions_in(known), [language])


@pytest.mark.parametrize("kind", ["draw", "flow", "edit"])
def test_guidance_needs_dropped_captions(kind):
    model, arguments = model_of(kind, dropout=0.0), [["a blob"]]
    arguments = [blobs(1), *arguments] if kind == "edit" else arguments
    generate = model.edit if kind == "edit" else model.draw
    for guidance in (0, 1.5):
        with pytest.raises(UsageError, match="--caption-dropout above 0"):
            generate(*arguments, guidance=guidance)
    default, one = generate(*arguments), generate(*arguments, guidance=1)
    assert np.array_equal(default.pixels, one.pixels)
    assert model.default_guidance == 1
    assert model_of("flow").default_guidance == 2


@pytest.mark.parametrize("condition", ["label", "cluster"])
def test_guidance_of_labels_and_clusters_needs_dropped_ones(condition):
    config = flow.Config(condition=condition, width=16, heads=2, depth=1, caption_dropout=0.0)
    model = build_model(config, blobs(), np.arange(48))[0].eval()
    with pytest.raises(UsageError, match="--caption-dropout above 0"):
        model.sample(1, guidance=2.0)
    assert np.array_equal(model.sample(1).pixels, model.sample(1, guidance=1).pixels)


@pytest.mark.parametrize(
    ("option", "names"),
    [
        ({"best_of": 2}, "best_of needs"),
        ({"top_k": 3, "top_p": 0.9}, "top_k and top_p need"),
    ],
)
def test_options_of_sampling_need_a_temperature_above_0(option, names):
    model = model_of("edit")
    with pytest.raises(UsageError, match=f"{names} a temperature above 0"):
        model.edit(blobs(1), ["a blob"], **option)
    with pytest.raises(UsageError, match=f"{names} a temperature above 0"):
        model_of("draw").draw(["a blob"], temperature=0, **option)
    assert len(model.edit(blobs(1), ["a blob"], temperature=0.5, **option)) == 1
    assert len(model.edit(blobs(1), ["a blob"], top_p=1.0)) == 1
