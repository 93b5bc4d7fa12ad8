"""Sequence to sequence: causality, cached decoding against full decoding, checks."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import unicodedata

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from pinxit.data.batch import Batch
from pinxit.data.images import Images
from pinxit.data.special_tokens import EOS, PAD
from pinxit.errors import UsageError
from pinxit.models import build_model
from pinxit.models.caption_batch import sample_captions
from pinxit.models.config import config_from_dict
from pinxit.models.seq2seq import build
from pinxit.models.seq2seq.cached_decoder import CachedDecoder
from pinxit.models.seq2seq.code_embeddings import LocalContextEmbedding, digit_features
from pinxit.models.seq2seq.config import Config
from pinxit.models.seq2seq.generate import (
    DECODE_BATCH,
    generate_best_of,
    generate_codes,
    generate_codes_reference,
)
from pinxit.models.seq2seq.sources import POS_INIT_SCALE
from pinxit.models.text_embedding import pad_tokens
from pinxit.models.tokenizer.config import Config as TokenizerConfig
from pinxit.models.tokenizer.quantizers import FSQ
from pinxit.nn.positions import sincos_2d_pos_embed
from pinxit.nn.rng import mix_seed, per_image_uniform
from pinxit.nn.token_sampling import SamplingParams
from tests.builders import blobs

SMALL = {
    "width": 32,
    "heads": 2,
    "depth": 2,
    "decoder_depth": 2,
    "palette_patch_size": 2,
    "palette_size": 8,
}
TEXTS = ["a blob at the top left", "une tache en bas à droite", "a blob"]


def tiny(source="text", target="image", **options):
    config = Config(source=source, target=target, **{**SMALL, **options})
    return build_model(config, blobs(), np.arange(48))[0].eval()


def add_noise(model):
    """Move all weights by noise: gains of norms are no longer 1, and biases not 0."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


def tokens_of(model, texts=TEXTS):
    return pad_tokens(model.text.tokenize(texts, ["en", "fr", "en"]), model.text.max_len)


def pixels_of_blobs():
    return torch.from_numpy(blobs(3).pixels.copy())


def encode(model, texts=TEXTS):
    """The encoded source of three texts, three images, or both."""
    inputs = {"text": tokens_of(model, texts), "image": pixels_of_blobs()}
    return model.encode_source([inputs[kind] for kind in source_kinds(model)])


def source_kinds(model):
    return [kind for kind in ("text", "image") if kind in model.config.source]


# -- what a position depends on


@pytest.mark.parametrize("target", ["image", "text"])
def test_no_position_depends_on_later_ones(target):
    model = tiny("text", target)
    prefix, encoded = torch.randint(2, 8, (3, 6)), encode(model)
    embedded = model.target.embed_inputs(prefix, encoded).detach().requires_grad_()
    model.target.embed_inputs = lambda *_: embedded
    logits = model.logits(encoded, prefix)
    for t in range(logits.shape[1]):
        (grad,) = torch.autograd.grad(logits[:, t].sum(), embedded, retain_graph=True)
        assert grad[:, t + 1 :].abs().max() == 0 if t + 1 < logits.shape[1] else True
        assert grad[:, : t + 1].abs().amax((0, 2)).min() > 0


@torch.inference_mode()
@pytest.mark.parametrize("source", ["text", "image+text"])
def test_a_code_changes_the_logits_of_later_codes_only(source):
    model, encoded = tiny(source), encode(tiny(source))
    prefix = torch.randint(8, (3, model.target.length - 1))
    logits = model.logits(encoded, prefix)
    for t in (0, 5, 14):
        other = prefix.clone()
        other[:, t] = (other[:, t] + 1) % 8
        changed = (model.logits(encoded, other) != logits).any(-1).any(0)
        assert not changed[: t + 1].any()
        assert changed[t + 1 :].all()


def test_local_context_holds_earlier_codes_on_the_grid_only():
    neighbours = LocalContextEmbedding(6, (), (2, 3), 4).neighbours.tolist()
    outside = 6
    assert neighbours[0] == [outside] * 4
    assert neighbours[1] == [0, outside, outside, outside]
    assert neighbours[3] == [2, 0, outside, 1]
    assert neighbours[5] == [4, 2, 1, outside]


@torch.inference_mode()
def test_local_context_is_the_sum_of_one_vector_from_each_table():
    context, codes = LocalContextEmbedding(6, (), (2, 3), 4), torch.tensor([[5, 3, 0, 2]])
    tables = torch.cat((context.embedding(), context.outside), 1)
    embedded = context(codes)
    assert embedded.shape == (1, 5, 4)
    for position, neighbours in enumerate(context.neighbours[:5].tolist()):
        values = [codes[0, index].item() if index < 6 else 6 for index in neighbours]
        slow = sum(tables[j, code] for j, code in enumerate(values))
        assert torch.allclose(embedded[0, position], slow, atol=1e-6)
    for t in range(5):
        known = torch.full((1, 7), 6)
        known[:, :t] = codes[:, :t]
        alone = context.embed_position(known, context.table(), t)
        assert torch.allclose(alone, embedded[:, t], atol=1e-6)


@given(levels=st.lists(st.integers(3, 7), min_size=1, max_size=4).map(tuple))
@settings(max_examples=20, deadline=None)
def test_codes_share_the_features_of_equal_digits_and_pairs_of_digits(levels):
    fsq, features = FSQ(levels), digit_features(levels)
    digits = (fsq.dequantize(torch.arange(len(features))) * (fsq.levels // 2)).round()
    n = len(levels)
    assert (features.sum(1) == n + n * (n - 1) // 2).all()
    num_equal = (digits[:, None] == digits[None]).sum(-1)  # digits that two codes share
    assert torch.equal(features @ features.T, num_equal + num_equal * (num_equal - 1) / 2)


def test_padding_of_the_source_is_ignored():
    model = tiny()
    short = model.text.tokenize(TEXTS[2:], ["en"])
    padded = pad_tokens(short, model.text.max_len)
    codes = torch.randint(8, (1, model.target.length - 1))
    logits = model.logits(model.encode_source([short]), codes)
    logits_padded = model.logits(model.encode_source([padded]), codes)
    assert torch.allclose(logits, logits_padded, atol=1e-5)
    embedded = model.text.token_embed(padded).detach().requires_grad_()
    model.text.token_embed.forward = lambda _: embedded
    model.logits(model.encode_source([padded]), codes).sum().backward()
    count = short.shape[1]
    assert embedded.grad[:, count:].abs().max() == 0
    assert embedded.grad[:, :count].abs().amax(2).min() > 0


def test_an_edit_depends_on_image_and_instruction():
    model = tiny("image+text", "image")
    tokens, pixels = model.text.tokenize(TEXTS, ["en", "fr", "en"]), pixels_of_blobs()
    codes = torch.randint(8, (3, model.target.length - 1))
    logits = model.logits(model.encode_source([tokens, pixels]), codes)
    for inputs in ([tokens, 255 - pixels], [tokens.flip(0), pixels]):
        assert not torch.allclose(logits, model.logits(model.encode_source(inputs), codes))


def test_cross_attention_is_a_distribution_over_the_unmasked_source():
    model = tiny()
    encoded = encode(model)
    codes = torch.randint(8, (3, model.target.length - 1))
    weights = model.cross_attention_map(encoded, codes)
    assert torch.allclose(weights.sum(-1), torch.ones(3, model.target.length), atol=1e-5)
    assert weights[2][:, ~encoded.mask[2]].max() == 0


# -- the loss, and cached decoding against full decoding


def test_the_loss_of_an_image_equals_a_loop_over_its_codes():
    model, batch = tiny(), blobs().batch(np.arange(3))
    torch.manual_seed(5)
    loss = model.loss(batch).total.item()
    torch.manual_seed(5)
    captions, _ = model.sample_captions(batch)
    encoded = model.encode_source([model.text.tokenize(*captions)])
    codes, total = model.codec.encode(batch.pixels), 0.0
    for i, t in itertools.product(range(3), range(model.target.length)):
        log_probs = model.logits(encoded, codes[:, :t])[i, t].log_softmax(-1)
        total -= log_probs[codes[i, t]].item() / 3
    assert loss == pytest.approx(total, rel=1e-5)


def test_the_loss_of_a_caption_equals_a_loop_over_its_tokens():
    model, batch = tiny("image", "text"), blobs().batch(np.arange(3))
    torch.manual_seed(5)
    loss = model.loss(batch).total.item()
    torch.manual_seed(5)
    captions, _ = model.sample_captions(batch)
    total = 0.0
    for i in range(3):
        encoded = model.encode_source([batch.pixels[i : i + 1]])
        tokens = model.text.tokenize(captions.texts[i : i + 1], captions.languages[i : i + 1])
        for t in range(tokens.shape[1] - 1):
            log_probs = model.logits(encoded, tokens[:, : t + 1])[0, -1].log_softmax(-1)
            total -= log_probs[tokens[0, t + 1]].item() / 3
    assert loss == pytest.approx(total, rel=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("guidance", [1.0, 2.5])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_cached_generation_equals_the_reference(guidance, temperature):
    model, sampling = add_noise(tiny()), SamplingParams(temperature)
    encoded = model.encode_with_guidance(tokens_of(model), None, guidance)
    uniforms = per_image_uniform(3, model.target.length, 0)[:, 0]
    *_, cached = generate_codes(model, encoded, uniforms, sampling, guidance)
    reference = generate_codes_reference(model, encoded, uniforms, sampling, guidance)
    assert torch.equal(cached.codes, reference)


@torch.inference_mode()
@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_best_of_n_returns_the_most_likely_candidate(guidance):
    model, sampling = add_noise(tiny()), SamplingParams()
    encoded = model.encode_with_guidance(tokens_of(model), None, guidance)
    unguided = model.encode_with_guidance(tokens_of(model), None, 1.0)
    length = model.target.length
    uniforms = torch.stack([per_image_uniform(3, length, seed)[:, 0] for seed in range(5, 13)])
    *_, best = generate_best_of(model, encoded, uniforms, sampling, guidance)
    candidates = [generate_codes_reference(model, encoded, u, sampling, guidance) for u in uniforms]
    log_prob = torch.stack([codes_log_prob(model, unguided, codes) for codes in candidates])
    for i, k in enumerate(log_prob.argmax(0).tolist()):
        assert torch.equal(best[i], candidates[k][i])
    assert len(set(log_prob.argmax(0).tolist())) > 1, "not always the same candidate"


@torch.inference_mode()
@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_the_log_prob_of_generated_codes_is_that_of_one_pass(guidance):
    model = add_noise(tiny())
    encoded = model.encode_with_guidance(tokens_of(model), None, guidance)
    unguided = model.encode_with_guidance(tokens_of(model), None, 1.0)
    uniforms = per_image_uniform(3, model.target.length, 0)[:, 0]
    *_, generated = generate_codes(model, encoded, uniforms, SamplingParams(), guidance)
    expected = codes_log_prob(model, unguided, generated.codes)
    assert torch.allclose(generated.log_prob, expected, rtol=1e-4)


@given(
    num_texts=st.integers(1, 5),
    best_of=st.integers(1, 9),
    first=st.integers(0, 2),
    guidance=st.sampled_from([1.0, 2.0]),
    with_reranker=st.booleans(),
)
@settings(max_examples=15, deadline=None)
def test_candidates_that_are_generated_together_are_those_generated_alone(
    num_texts, best_of, first, guidance, with_reranker
):
    """The image of a caption is the same beside any other captions and candidates."""
    model = add_noise(tiny())
    options = {"guidance": guidance, "best_of": best_of}
    if with_reranker and best_of > 1:
        options["reranker"] = add_noise(tiny("image", "text"))
    texts = [TEXTS[(first + i) % 3] for i in range(num_texts)]
    together = model.draw(texts, seed=[7 + i for i in range(num_texts)], **options)
    for i, text in enumerate(texts):
        alone = model.draw([text], seed=[7 + i], **options)
        assert np.array_equal(alone.pixels[0], together.pixels[i])


def test_candidates_of_one_caption_are_generated_in_one_batch(monkeypatch):
    model, steps, decode = tiny(), [], CachedDecoder.__call__

    def count(self, token, t):
        steps.append(t)
        return decode(self, token, t)

    monkeypatch.setattr(CachedDecoder, "__call__", count)
    model.draw(TEXTS[:1], best_of=DECODE_BATCH)
    assert len(steps) == model.target.length
    model.draw(TEXTS[:1], best_of=DECODE_BATCH + 1)
    assert len(steps) == 3 * model.target.length


@pytest.mark.parametrize("options", [{}, {"best_of": 3}])
def test_a_stream_ends_with_what_is_returned_at_once(options):
    model, editor = tiny(), tiny("image+text")
    *_, last = model.draw_stream(TEXTS, seed=3, **options)
    assert np.array_equal(last.pixels, model.draw(TEXTS, seed=3, **options).pixels)
    *_, last = editor.edit_stream(blobs(3), TEXTS, seed=3, temperature=1.0, **options)
    edited = editor.edit(blobs(3), TEXTS, seed=3, temperature=1.0, **options)
    assert np.array_equal(last.pixels, edited.pixels)


def codes_log_prob(model, encoded, codes):
    """log p(codes | source) of each image, in one pass."""
    log_probs = model.logits(encoded, codes[:, :-1]).log_softmax(-1)
    return log_probs.gather(2, codes[..., None])[..., 0].sum(1)


def test_a_reranker_returns_the_candidate_with_the_highest_caption_log_prob():
    model, reranker = tiny(), tiny("image", "text")
    candidates = [
        model.draw(TEXTS, seed=[mix_seed(5 + i, k) if k else 5 + i for i in range(3)])
        for k in range(4)
    ]
    languages = [model.text_tokenizer.detect_language(text) for text in TEXTS]
    scores = np.stack([reranker.caption_log_prob(c, TEXTS, languages) for c in candidates])
    best = model.draw(TEXTS, seed=[5, 6, 7], best_of=4, reranker=reranker)
    for i, k in enumerate(scores.argmax(0).tolist()):
        assert np.array_equal(best.pixels[i], candidates[k].pixels[i])
    assert (scores.max(0) > scores.min(0)).all()


def test_caption_log_prob_is_the_sum_over_tokens_and_independent_of_the_batch():
    reranker, images = tiny("image", "text"), blobs(3)
    together = reranker.caption_log_prob(images, TEXTS, ["en", "fr", "en"])
    for i, (text, language) in enumerate(zip(TEXTS, ("en", "fr", "en"), strict=True)):
        alone = reranker.caption_log_prob(images[i], [text], [language])[0]
        assert alone == together[i]
        assert reranker.caption_log_prob_matrix(images[i], [text], language)[0, 0] == pytest.approx(
            alone, rel=1e-4
        )
    tokens = reranker.text.tokenize(TEXTS[:1], ["en"])[0].tolist()
    pixels = pixels_of_blobs()[:1]
    decoder, log_prob = CachedDecoder(reranker, reranker.encode_source([pixels])), 0.0
    with torch.inference_mode():
        for t, (token, target) in enumerate(itertools.pairwise(tokens)):
            log_prob += float(decoder(torch.tensor([token]), t).log_softmax(-1)[0, target])
    image = Images(pixels.numpy())
    assert reranker.caption_log_prob(image, TEXTS[:1], ["en"])[0] == pytest.approx(
        log_prob, rel=1e-4
    )


def test_an_unsuitable_reranker_raises():
    model, reranker = tiny(), tiny("image", "text")
    with pytest.raises(UsageError, match="best_of 2 or more"):
        model.draw(TEXTS, reranker=reranker)
    with pytest.raises(UsageError, match="a captioning model"):
        model.draw(TEXTS, reranker=model, best_of=2)
    reranker.info = dataclasses.replace(reranker.info, height=16)
    with pytest.raises(UsageError, match="takes images of 16x8x1"):
        model.draw(TEXTS, reranker=reranker, best_of=2)
    with pytest.raises(UsageError, match="does not use reranker"):
        tiny("image+text").edit(blobs(3), TEXTS, reranker=tiny("image", "text"), best_of=2)


def test_the_first_candidate_is_the_image_without_best_of():
    model = tiny()
    single = model.draw(TEXTS[:1], seed=5)
    stream = list(model.draw_stream(TEXTS[:1], seed=5, best_of=3))
    assert np.array_equal(stream[-2].pixels, single.pixels)
    together = model.draw([*TEXTS[:1], "another"], seed=5, best_of=3)
    assert np.array_equal(together.pixels[0], stream[-1].pixels[0])
    with pytest.raises(UsageError, match="best_of must be at least 1"):
        model.draw(TEXTS[:1], best_of=0)


def test_guidance_1_has_no_effect():
    """Guided logits are uncond + g (cond - uncond): for g = 1 the conditional ones."""
    model = tiny()
    unguided = model.draw(TEXTS, temperature=0)
    nearly = model.draw(TEXTS, temperature=0, guidance=1 + 1e-6)
    assert np.array_equal(unguided.pixels, nearly.pixels)
    strong = [model.draw(TEXTS, seed=s, guidance=8).pixels for s in range(3)]
    assert not np.array_equal(strong, [model.draw(TEXTS, seed=s).pixels for s in range(3)])


@torch.inference_mode()
def test_cached_text_decoding_equals_full_decoding_also_after_selecting_rows():
    model = add_noise(tiny("image", "text"))
    encoded = encode(model)
    tokenizer = model.text_tokenizer
    tokens = torch.randint(tokenizer.num_special_tokens, tokenizer.vocab_size, (3, 5))
    decoder, rows = CachedDecoder(model, encoded), torch.tensor([2, 0, 0])
    for t in range(3):
        full = model.logits(encoded, tokens[:, : t + 1])[:, t]
        assert torch.allclose(decoder(tokens[:, t], t), full, atol=1e-5)
    decoder.select_rows(rows)
    tokens, encoded = tokens[rows], encoded.index_select(rows)
    for t in range(3, 5):
        full = model.logits(encoded, tokens[:, : t + 1])[:, t]
        assert torch.allclose(decoder(tokens[:, t], t), full, atol=1e-5)


@torch.inference_mode()
def test_cached_code_decoding_equals_full_decoding_also_after_selecting_rows():
    model = add_noise(tiny("image+text"))
    encoded, codes = encode(model), torch.randint(8, (3, 6))
    decoder, rows = CachedDecoder(model, encoded), torch.tensor([2, 0, 0])
    for t in range(3):
        full = model.logits(encoded, codes[:, :t])[:, t]
        assert torch.allclose(decoder(codes[:, t - 1] if t else None, t), full, atol=1e-5)
    tables = decoder.state.context_table, decoder.state.output_weight
    decoder.select_rows(rows)
    assert decoder.state.context_table is tables[0]
    assert decoder.state.output_weight is tables[1]
    codes, encoded = codes[rows], encoded.index_select(rows)
    for t in range(3, 6):
        full = model.logits(encoded, codes[:, :t])[:, t]
        assert torch.allclose(decoder(codes[:, t - 1], t), full, atol=1e-5)


def test_parts_that_share_a_module_save_it_once():
    model = tiny("text", "text")
    names = [name for name in model.state_dict() if "token_embed" in name]
    assert names == ["text.token_embed.weight"]
    assert model.target.text.module is model.sources[0].text.module


# -- tokenizers, options and errors


def test_no_caption_is_empty(monkeypatch):
    model = tiny("image", "text")
    decode = CachedDecoder.__call__
    ends = 50.0 * F.one_hot(torch.tensor(EOS), model.text.vocab_size)  # each caption ends at once
    monkeypatch.setattr(
        CachedDecoder, "__call__", lambda self, token, t: decode(self, token, t) + ends
    )
    for options in ({"num_beams": 3}, {"temperature": 1.0}):
        captions = model.caption(blobs(4), **options)
        assert all(beam.text for beams in captions for beam in beams)


def test_any_text_can_be_tokenized_and_captions_have_no_special_tokens():
    model = tiny("image", "text")
    for caption in model.caption(blobs(2), num_beams=2, num_captions=2)[0]:
        assert caption.text == caption.text.strip()
    known = blobs().captions["en"][0]
    tokens = model.text.tokenize([f"日本 🎩 {known}", None], ["en", "en"])
    assert tokens[1, 0] == EOS
    assert (tokens[1, 1:] == PAD).all()
    assert model.text_tokenizer.decode(tokens[0].tolist()).strip() == known


def test_a_frozen_image_tokenizer_is_saved_with_the_model_and_not_trained():
    tokenizer = build_model(
        TokenizerConfig(patch_size=2, fsq_levels=(4, 4), width=8, depth=1), blobs(), np.arange(48)
    )[0].eval()
    config = Config(
        image_tokenizer="runs/any", **{**SMALL, "palette_patch_size": None, "palette_size": None}
    )
    model = build_model(config, blobs(), np.arange(48), component=tokenizer)[0]
    assert (model.config.palette_patch_size, model.config.palette_size) == (2, 16)
    tokens = tokenizer.tokenize(blobs(3))
    pixels = pixels_of_blobs()
    assert np.array_equal(model.codec.encode(pixels), tokens.reshape(3, -1))
    decoded = model.codec.decode(torch.from_numpy(tokens.reshape(3, -1)))
    assert np.array_equal(decoded, tokenizer.detokenize(tokens).pixels)
    assert not [name for name, _ in model.named_parameters() if name.startswith("codec")]
    record = json.loads(json.dumps(dataclasses.asdict(model.config)))  # as in config.json
    loaded = build(config_from_dict(Config, record), model.info)
    loaded.load_state_dict(load(save(model.state_dict())))
    assert np.array_equal(loaded.codec.encode(pixels), tokens.reshape(3, -1))
    assert np.array_equal(loaded.draw(TEXTS).pixels, model.eval().draw(TEXTS).pixels)
    assert not loaded.train().codec.training


@torch.inference_mode()
@pytest.mark.parametrize("source", ["text", "image+text"])
def test_cached_generation_of_fsq_codes_equals_the_reference(source):
    fsq_config = TokenizerConfig(patch_size=2, fsq_levels=(4, 3), width=8, depth=1)
    tokenizer = build_model(fsq_config, blobs(), np.arange(48))[0].eval()
    config = Config(
        source,
        image_tokenizer="runs/any",
        **{**SMALL, "palette_patch_size": None, "palette_size": None},
    )
    model = build_model(config, blobs(), np.arange(48), component=tokenizer)[0].eval()
    assert model.config.fsq_levels == (4, 3)
    assert model.target.head.weight.shape == (1, 4 + 3 + 12, 32)
    pixels = pixels_of_blobs() if source == "image+text" else None
    encoded = model.encode_with_guidance(tokens_of(model), pixels, 2.0)
    uniforms = per_image_uniform(3, model.target.length, 0)[:, 0]
    *_, cached = generate_codes(model, encoded, uniforms, SamplingParams(), 2.0)
    reference = generate_codes_reference(model, encoded, uniforms, SamplingParams(), 2.0)
    assert torch.equal(cached.codes, reference)


def test_a_source_with_one_cell_per_code_is_aligned_with_the_target():
    model = tiny("image+text", patch_size=2)
    assert model.target.source_proj is not None
    encoded = model.encode_with_guidance(tokens_of(model), pixels_of_blobs(), 2)
    features = model.target.project_aligned_source(encoded)
    assert features.shape == (6, model.target.length, 32)
    assert tiny("image+text", patch_size=4).target.source_proj is None
    assert tiny("image+text").config.source_encoding == "codes", "most of an edit is copied"
    assert tiny("image+text").target.source_proj is not None
    assert tiny("image", "text").config.source_encoding == "patches"
    assert tiny("text").target.source_proj is None


def test_an_image_tokenizer_of_another_image_size_raises():
    other = build_model(
        TokenizerConfig(patch_size=2, width=8, depth=1), blobs(height=4, width=4), range(48)
    )
    with pytest.raises(UsageError, match=r"4x4x1.*8x8x1"):
        build_model(Config(image_tokenizer="runs/any"), blobs(), np.arange(48), component=other[0])


def test_images_without_captions_or_pairs_raise():
    uncaptioned = dataclasses.replace(blobs(), captions={})
    with pytest.raises(UsageError, match=r"these images have none.*from the labels: --captions l"):
        build_model(Config(), uncaptioned, np.arange(48))
    unlabeled = dataclasses.replace(uncaptioned, labels=None, label_names=())
    with pytest.raises(UsageError, match=r"these images have none\. Put a text file beside each"):
        build_model(Config(), unlabeled, np.arange(48))
    single = dataclasses.replace(blobs(), before=None)
    with pytest.raises(UsageError, match="pairs of images"):
        build_model(Config(source="image+text"), single, np.arange(48))
    english = dataclasses.replace(blobs(), captions={"en": blobs().captions["en"]})
    with pytest.raises(UsageError, match="two languages"):
        build_model(Config(source="text", target="text"), english, np.arange(48))
    with pytest.raises(UsageError, match="at least 256"):
        build_model(Config(vocab_size=100), blobs(), np.arange(48))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"source": "image", "target": "image"}, "no direction image to image"),
        ({"source": "image+text", "target": "text"}, "no direction image\\+text to text"),
        ({"caption_dropout": 1.0}, "caption_dropout"),
        ({"vocab_size": 0}, "at least 1"),
        ({"heads": 5, "width": 32}, "does not divide"),
        ({"depth": 0}, "at least 1"),
    ],
)
def test_invalid_options_raise(options, reason):
    with pytest.raises(UsageError, match=reason):
        Config(**options)


def test_a_patch_size_that_does_not_divide_lists_those_that_do():
    with pytest.raises(UsageError, match="these do: 1, 2, 4, 8"):
        tiny(palette_patch_size=3)
    with pytest.raises(UsageError, match="patch_size 5"):
        tiny("image", "text", patch_size=5)


def test_captions_are_sampled_in_all_languages_and_pairs_in_two():
    model, batch = tiny("text", "text"), blobs().batch(np.arange(40))
    first, second = model.sample_captions(batch)
    assert set(first.languages) == {"en", "fr"}
    assert all(a != b for a, b in zip(first.languages, second.languages, strict=True))
    pixels = torch.zeros(2, 8, 8, 1, dtype=torch.uint8)
    incomplete = Batch(pixels, captions={"en": ["a blob"] * 2, "fr": ["", "une tache"]})
    first, second = sample_captions(incomplete, ("en", "fr"))
    assert (first.languages[0], second.texts[0]) == ("en", None)


def test_the_captions_of_an_image_are_drawn_uniformly():
    n, more = 3000, [("b", "c"), ()] * 1500
    images = Images(
        np.zeros((n, 8, 8, 1), np.uint8), captions={"en": ["a"] * n}, more_captions={"en": more}
    )
    torch.manual_seed(0)
    first, _ = sample_captions(images.batch(np.arange(n)), ("en",))
    assert set(first.texts[1::2]) == {"a"}
    counts = [first.texts[::2].count(text) for text in "abc"]
    assert all(abs(count - 500) < 4 * (1500 * 2 / 9) ** 0.5 for count in counts)


def test_an_image_of_one_caption_is_trained_the_same_beside_images_of_several():
    model, images = tiny("image", "text"), blobs()
    more = {"en": [("a spot", "a dot") if i % 2 else () for i in range(len(images))]}
    several = dataclasses.replace(images, more_captions=more)
    draws = []
    for data in (images, several):
        torch.manual_seed(3)
        draws.append(model.sample_captions(data.batch(np.arange(40)))[0])
    assert draws[0].languages == draws[1].languages
    assert draws[0].texts[::2] == draws[1].texts[::2]
    assert {"a spot", "a dot"} <= set(draws[1].texts[1::2])


def test_the_text_tokenizer_learns_from_all_captions():
    images = blobs()
    more = {"en": [("xylophone",)] * len(images)}
    images = dataclasses.replace(images, more_captions=more)
    config = Config(source="image", target="text", **SMALL)
    tokenizer = build_model(config, images, np.arange(48))[0].text_tokenizer
    assert tokenizer.unknown_words("a xylophone") == []


@pytest.mark.parametrize(("width", "waves"), [(32, 32), (18, 16)])
def test_image_positional_embeddings_start_as_sines_of_row_and_column(width, waves):
    model = tiny("image", "text", width=width, heads=1)
    rows, columns = (
        model.info.height // model.config.patch_size,
        model.info.width // model.config.patch_size,
    )
    expected = POS_INIT_SCALE * sincos_2d_pos_embed(rows, columns, width)
    torch.testing.assert_close(model.sources[0].pos_embed[:, :waves], expected)


def test_a_source_image_can_be_encoded_as_codes():
    model = tiny("image", "text", source_encoding="codes")
    assert model.caption(blobs(2), language="fr")[0][0].log_prob < 0
    loss = model.train().loss(blobs().batch(np.arange(8)))
    loss.total.backward()
    assert model.sources[0].code_embed.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("text", ["une tâche à droite", "ein Kreis: größer, über", "각 가 が"])
def test_prompts_in_any_unicode_form_give_the_same_images(text):
    model, params = tiny(), {"seed": 3, "temperature": 1.0}
    drawn = [
        model.draw([unicodedata.normalize(form, text)], language="fr", **params).pixels
        for form in ("NFC", "NFD")
    ]
    assert np.array_equal(drawn[0], drawn[1])


@given(missing=st.sets(st.integers(0, 7), max_size=7))
@settings(max_examples=10)
def test_the_unit_of_a_text_loss_is_that_of_all_images_with_and_without_captions(missing):
    model = small_model("image", "text")
    rows = [i for i in range(8) if i not in missing]
    images = blobs(8)
    texts = {"en": ["" if i in missing else text for i, text in enumerate(images.captions["en"])]}
    some = dataclasses.replace(images, captions=texts)
    with torch.no_grad():
        loss, captioned = (model.loss(s.batch(np.arange(len(s)))) for s in (some, some.take(rows)))
    assert loss.unit == "nats per image"
    sums = [float(part.parts["nll"]) * n for part, n in ((loss, 8), (captioned, len(rows)))]
    assert sums[0] == pytest.approx(sums[1], rel=1e-4)
    per_token = [float(part.parts["nll_per_token"]) for part in (loss, captioned)]
    assert per_token[0] == pytest.approx(per_token[1], rel=1e-4)


@functools.cache
def small_model(*direction: str):
    return tiny(*direction)


@pytest.mark.parametrize("num_candidates", [1, 5, 10_000])
def test_a_trace_shows_at_most_all_tokens_as_candidates(num_candidates):
    model = small_model("image", "text")
    steps = model.trace_caption(blobs(1), num_candidates=num_candidates)
    sizes = {len(step.candidates) for step in steps}
    assert sizes == {min(num_candidates, model.text.vocab_size)}
