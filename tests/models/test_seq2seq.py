"""Sequence to sequence: what each place sees, fast ways against slow ones, and what is kept."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from pinxit.data.images import Images
from pinxit.data.text_tokenizer import EOS, PAD
from pinxit.errors import UsageError
from pinxit.models import build_model
from pinxit.models.seq2seq import build
from pinxit.models.seq2seq.cached_decoder import Steps
from pinxit.models.seq2seq.code_embeddings import Around, shared
from pinxit.models.seq2seq.config import Config
from pinxit.models.seq2seq.generate import best_of, padded, painting, painting_slowly
from pinxit.models.seq2seq.sources import PLACED
from pinxit.models.tokenizer.config import Config as TokenizerConfig
from pinxit.models.tokenizer.quantizers import FSQ
from pinxit.nn.beam_search import beam_search, length_normalized, sample_text
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


def read_of(model, texts=TEXTS):
    words = padded(model.tokens_of(texts, ["en", "fr", "en"]), model.length)
    return model.read(words if model.reads_words else None, pixels_of(model))


def pixels_of(model):
    return torch.from_numpy(blobs(3).pixels.copy()) if model.reads_image else None


# -- what each place sees


@pytest.mark.parametrize("target", ["image", "text"])
def test_no_place_of_the_target_sees_its_future(target):
    model = tiny("text", target)
    before = torch.randint(2, 8, (3, 6))
    entered = model.entered(before).detach().requires_grad_()
    model.entered = lambda _: entered
    scores = model.logits(read_of(model), before)
    for t in range(scores.shape[1]):
        (slope,) = torch.autograd.grad(scores[:, t].sum(), entered, retain_graph=True)
        assert slope[:, t + 1 :].abs().max() == 0 if t + 1 < scores.shape[1] else True
        assert slope[:, : t + 1].abs().amax((0, 2)).min() > 0


@torch.inference_mode()
@pytest.mark.parametrize("source", ["text", "image+text"])
def test_a_code_changes_the_scores_of_those_after_it_alone(source):
    model, read = tiny(source), read_of(tiny(source))
    before = torch.randint(8, (3, model.steps - 1))
    scores = model.logits(read, before)
    for t in (0, 5, 14):
        other = before.clone()
        other[:, t] = (other[:, t] + 1) % 8
        changed = (model.logits(read, other) != scores).any(-1).any(0)
        assert not changed[: t + 1].any()
        assert changed[t + 1 :].all()


def test_the_codes_around_a_place_are_those_before_it_on_the_grid():
    near = Around(6, (), (2, 3), 4).near.tolist()
    none = 6
    assert near[0] == [none] * 4
    assert near[1] == [0, none, none, none]
    assert near[3] == [2, 0, none, 1]
    assert near[5] == [4, 2, 1, none]


@torch.inference_mode()
def test_what_is_seen_around_a_place_is_a_sum_of_one_vector_of_each_table():
    around, codes = Around(6, (), (2, 3), 4), torch.tensor([[5, 3, 0, 2]])
    tables = torch.cat((around.vectors(), around.edge), 1)
    seen = around(codes)
    assert seen.shape == (1, 5, 4)
    for place, near in enumerate(around.near[:5].tolist()):
        known = [codes[0, at].item() if at < 6 else 6 for at in near]
        slow = sum(tables[j, code] for j, code in enumerate(known))
        assert torch.allclose(seen[0, place], slow, atol=1e-6)
    assert torch.equal(around(codes, since=2), seen[:, 2:])


@given(levels=st.lists(st.integers(3, 7), min_size=1, max_size=4).map(tuple))
@settings(max_examples=20, deadline=None)
def test_codes_share_the_vectors_of_their_digits_and_pairs_of_digits(levels):
    fsq, told = FSQ(levels), shared(levels)
    digits = (fsq.dequantize(torch.arange(len(told))) * (fsq.levels // 2)).round()
    n = len(levels)
    assert (told.sum(1) == n + n * (n - 1) // 2).all()
    alike = (digits[:, None] == digits[None]).sum(-1)  # digits that two codes have in common
    assert torch.equal(told @ told.T, alike + alike * (alike - 1) / 2)


def test_padding_of_the_source_is_not_seen():
    model = tiny()
    short = model.tokens_of(TEXTS[2:], ["en"])
    codes = torch.randint(8, (1, model.steps - 1))
    alone = model.logits(model.read(short, None), codes)
    beside = model.logits(model.read(padded(short, model.length), None), codes)
    assert torch.allclose(alone, beside, atol=1e-5)
    embedded = model.word(padded(short, model.length)).detach().requires_grad_()
    model.word.forward = lambda _: embedded
    model.logits(model.read(padded(short, model.length), None), codes).sum().backward()
    count = short.shape[1]
    assert embedded.grad[:, count:].abs().max() == 0
    assert embedded.grad[:, :count].abs().amax(2).min() > 0


def test_both_sources_are_seen():
    model = tiny("image+text", "image")
    words = model.tokens_of(TEXTS, ["en", "fr", "en"])
    pixels = torch.from_numpy(blobs(3).pixels.copy())
    codes = torch.randint(8, (3, model.steps - 1))
    scores = model.logits(model.read(words, pixels), codes)
    assert not torch.allclose(scores, model.logits(model.read(words, 255 - pixels), codes))
    assert not torch.allclose(scores, model.logits(model.read(words.flip(0), pixels), codes))


def test_cross_attention_is_a_distribution_over_what_is_seen():
    model = tiny()
    read = read_of(model)
    weights = model.looking(read, torch.randint(8, (3, model.steps - 1)))
    assert torch.allclose(weights.sum(-1), torch.ones(3, model.steps), atol=1e-5)
    assert weights[2][:, ~read.seen[2]].max() == 0


# -- the loss, and fast ways against slow ones


def test_the_teacher_forced_loss_of_an_image_is_that_of_a_loop():
    model, batch = tiny(), blobs().batch(np.arange(3))
    torch.manual_seed(5)
    loss = model.loss(batch).total.item()
    torch.manual_seed(5)
    said, _ = model._chosen(batch.captions, 3)
    read = model.read(model.tokens_of(said.texts, said.languages), None)
    codes, total = model.codes.encode(batch.pixels), 0.0
    for i, t in itertools.product(range(3), range(model.steps)):
        log_p = model.logits(read, codes[:, :t])[i, t].log_softmax(-1)
        total -= log_p[codes[i, t]].item() / 3
    assert loss == pytest.approx(total, rel=1e-5)


def test_the_teacher_forced_loss_of_words_is_that_of_a_loop():
    model, batch = tiny("image", "text"), blobs().batch(np.arange(3))
    torch.manual_seed(5)
    loss = model.loss(batch).total.item()
    torch.manual_seed(5)
    said, _ = model._chosen(batch.captions, 3)
    total = 0.0
    for i in range(3):
        read = model.read(None, batch.pixels[i : i + 1])
        tokens = model.tokens_of(said.texts[i : i + 1], said.languages[i : i + 1])
        for t in range(tokens.shape[1] - 1):
            log_p = model.logits(read, tokens[:, : t + 1])[0, -1].log_softmax(-1)
            total -= log_p[tokens[0, t + 1]].item() / 3
    assert loss == pytest.approx(total, rel=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("guidance", [1.0, 2.5])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_painting_with_a_cache_is_painting_without(guidance, temperature):
    model, chances = tiny(), SamplingParams(temperature)
    words = padded(model.tokens_of(TEXTS, ["en", "fr", "en"]), model.length)
    read = model._encode_source(words, None, guidance)
    chance = per_image_uniform(3, model.steps, 0)[:, 0]
    *_, fast = painting(model, read, chance, chances, guidance)
    assert torch.equal(fast.codes, painting_slowly(model, read, chance, chances, guidance))


@torch.inference_mode()
@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_of_several_tries_the_likeliest_is_kept(guidance):
    model = tiny()
    words = padded(model.tokens_of(TEXTS, ["en", "fr", "en"]), model.length)
    read, plain = (
        model._encode_source(words, None, guidance),
        model._encode_source(words, None, 1.0),
    )
    several = torch.stack([per_image_uniform(3, model.steps, seed)[:, 0] for seed in range(5)])
    *_, best = best_of(model, read, several, SamplingParams(), guidance)
    each = [painting_slowly(model, read, one, SamplingParams(), guidance) for one in several]
    log_p = torch.stack([_log_p(model, plain, codes) for codes in each])
    for i, k in enumerate(log_p.argmax(0).tolist()):
        assert torch.equal(best.codes[i], each[k][i])
    assert torch.allclose(best.log_p, log_p.amax(0), rtol=1e-4)
    assert len(set(log_p.argmax(0).tolist())) > 1, "not always the same try"


def test_a_judge_keeps_what_it_would_describe_by_the_words():
    model, reranker = tiny(), tiny("image", "text")
    drawn = [
        model.draw(TEXTS, seed=[mix_seed(5 + i, k) if k else 5 + i for i in range(3)])
        for k in range(4)
    ]
    languages = [model.text_tokenizer.detect_language(text) for text in TEXTS]
    rated = np.stack([reranker.caption_log_prob(one, TEXTS, languages) for one in drawn])
    best = model.draw(TEXTS, seed=[5, 6, 7], best_of=4, reranker=reranker)
    for i, k in enumerate(rated.argmax(0).tolist()):
        assert np.array_equal(best.pixels[i], drawn[k].pixels[i])
    assert (rated.max(0) > rated.min(0)).all()


def test_what_a_judge_says_is_the_sum_over_pieces_whatever_stands_beside_it():
    reranker, images = tiny("image", "text"), blobs(3)
    together = reranker.caption_log_prob(images, TEXTS, ["en", "fr", "en"])
    for i, (text, language) in enumerate(zip(TEXTS, ("en", "fr", "en"), strict=True)):
        alone = reranker.caption_log_prob(images[i], [text], [language])[0]
        assert alone == together[i]
        assert reranker.caption_log_prob_matrix(images[i], [text], language)[0, 0] == pytest.approx(
            alone, rel=1e-4
        )
    words = reranker.tokens_of(TEXTS[:1], ["en"])[0].tolist()
    steps, log_p = Steps(reranker, reranker.read(None, pixels_of(reranker)[:1])), 0.0
    with torch.inference_mode():
        for t, (token, due) in enumerate(itertools.pairwise(words)):
            log_p += float(steps(torch.tensor([token]), t).log_softmax(-1)[0, due])
    shown = Images(pixels_of(reranker)[:1].numpy())
    assert reranker.caption_log_prob(shown, TEXTS[:1], ["en"])[0] == pytest.approx(log_p, rel=1e-4)


def test_what_is_no_judge_is_refused():
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


def _log_p(model, read, codes):
    """log p(codes given source) of each image, by one pass."""
    scores = model.logits(read, codes[:, :-1]).log_softmax(-1)
    return scores.gather(2, codes[..., None])[..., 0].sum(1)


def test_tries_are_of_each_images_own_seed_and_the_first_is_what_one_try_gives():
    model = tiny()
    alone, grown = (
        model.draw(TEXTS[:1], seed=5),
        list(model.draw_stream(TEXTS[:1], seed=5, best_of=3)),
    )
    assert np.array_equal(grown[-2].pixels, alone.pixels)
    together = model.draw([*TEXTS[:1], "another"], seed=5, best_of=3)
    assert np.array_equal(together.pixels[0], grown[-1].pixels[0])
    with pytest.raises(UsageError, match="best_of must be at least 1"):
        model.draw(TEXTS[:1], best_of=0)


def test_guidance_of_1_is_none():
    """The scores with guidance are s_0 + g (s_1 - s_0): at 1 those of the words alone."""
    model = tiny()
    plain = model.draw(TEXTS, temperature=0)
    near = model.draw(TEXTS, temperature=0, guidance=1 + 1e-6)
    assert np.array_equal(plain.pixels, near.pixels)
    strong = [model.draw(TEXTS, seed=s, guidance=8).pixels for s in range(3)]
    assert not np.array_equal(strong, [model.draw(TEXTS, seed=s).pixels for s in range(3)])


@torch.inference_mode()
def test_words_with_a_cache_are_words_without_also_after_taking_rows():
    model = tiny("image", "text")
    read = read_of(model)
    tokens = torch.randint(model.text_tokenizer.num_special_tokens, 40, (3, 5))
    steps, order = Steps(model, read), torch.tensor([2, 0, 0])
    for t in range(3):
        assert torch.allclose(
            steps(tokens[:, t], t), model.logits(read, tokens[:, : t + 1])[:, t], atol=1e-5
        )
    steps.take(order)
    moved = tokens[order]
    read = type(read)(read.hidden[order], read.seen[order])
    for t in range(3, 5):
        assert torch.allclose(
            steps(moved[:, t], t), model.logits(read, moved[:, : t + 1])[:, t], atol=1e-5
        )


# -- the search


class Table:
    """A language of few tokens, whose probabilities hang on all that was said before."""

    def __init__(self, vocab_size, rows=1):
        self.vocab_size = vocab_size
        self.said = [()] * rows

    def log_p(self, said):
        random = np.random.default_rng((len(said), *said))
        return torch.from_numpy(random.normal(0, 2, self.vocab_size)).float().log_softmax(0)

    def __call__(self, token, t, rows):
        if rows is not None:
            self.said = [self.said[i] for i in rows.tolist()]
        self.said = [(*said, one) for said, one in zip(self.said, token.tolist(), strict=True)]
        return torch.stack([self.log_p(said) for said in self.said])


def all_texts(table, start, length):
    """Every text of at most so many tokens, with its log-probability."""
    for count in range(length + 1):
        others = [v for v in range(table.vocab_size) if v != EOS]
        for text in itertools.product(others, repeat=count):
            said, total = (start,), 0.0
            for token in (*text, EOS):
                total += float(table.log_p(said)[token])
                said = (*said, token)
            yield text, total


@pytest.mark.parametrize("penalty", [0.0, 0.6, 2.0])
def test_a_beam_as_wide_as_all_there_is_finds_the_true_maximum(penalty):
    vocab_size, length, wide = 4, 3, 4**3
    found = beam_search(Table(vocab_size, 2 * wide), torch.tensor([0, 2]), length, wide, penalty)
    for start, row in zip((0, 2), found, strict=True):
        texts = list(all_texts(Table(vocab_size), start, length))
        ranked = sorted(texts, key=lambda t: -length_normalized(t[1], len(t[0]) + 1, penalty))
        assert row[0].tokens == ranked[0][0]
        assert row[0].log_prob == pytest.approx(ranked[0][1], abs=1e-4)
        assert [f.tokens for f in row[:5]] == [text for text, _ in ranked[:5]]


def test_one_beam_is_the_likeliest_token_each_time():
    table, said, total = Table(5), (0,), 0.0
    while said[-1] != EOS and len(said) <= 6:
        log_p = table.log_p(said)
        said = (*said, int(log_p.argmax()))
    (found,) = beam_search(Table(5, 1), torch.tensor([0]), 12, 1)[0]
    for token, before in ((said[i], said[:i]) for i in range(1, len(said))):
        total += float(table.log_p(before)[token])
    if said[-1] == EOS:
        assert found.tokens == said[1:-1]
        assert found.log_prob == pytest.approx(total, abs=1e-4)


def test_texts_of_chance_come_as_often_as_they_are_likely():
    n = 4_000
    chance = per_image_uniform(n, 3, 0)[:, 0]
    found = sample_text(Table(3, n), torch.zeros(n, dtype=torch.long), chance, SamplingParams())
    likely = {text: math.exp(p) for text, p in all_texts(Table(3), 0, 1)}
    for text, p in likely.items():
        if len(text) <= 1:
            share = sum(f.tokens == text for f in found) / n
            assert share == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / n) + 1e-3)
            assert all(
                f.log_prob == pytest.approx(math.log(p), abs=1e-4)
                for f in found
                if f.tokens == text
            )


# -- what is kept, and what cannot be


def test_any_text_is_read_and_marks_are_never_written():
    model = tiny("image", "text")
    for said in model.caption(blobs(2), num_beams=2, num_captions=2)[0]:
        assert said.text == said.text.strip()
    tokens = model.tokens_of(["日本 🎩 é", None], ["en", "en"])
    assert tokens[1, 0] == EOS
    assert (tokens[1, 1:] == PAD).all()
    assert model.text_tokenizer.decode(tokens[0].tolist()) == "日本 🎩 é"


def test_a_frozen_tokenizer_is_kept_whole_and_does_not_learn():
    tokenizer = build_model(
        TokenizerConfig(patch_size=2, fsq_levels=(4, 4), width=8, depth=1), blobs(), np.arange(48)
    )[0].eval()
    config = Config(
        image_tokenizer="runs/any", **{**SMALL, "palette_patch_size": None, "palette_size": None}
    )
    model = build_model(config, blobs(), np.arange(48), tokenizer=tokenizer)[0]
    assert (model.config.palette_patch_size, model.config.palette_size) == (2, 16)
    tokens = tokenizer.tokenize(blobs(3))
    pixels = torch.from_numpy(blobs(3).pixels.copy())
    assert np.array_equal(model.codes.encode(pixels), tokens.reshape(3, -1))
    drawn = model.codes.decode(torch.from_numpy(tokens.reshape(3, -1)))
    assert np.array_equal(drawn, tokenizer.detokenize(tokens).pixels)
    assert not [name for name, _ in model.named_parameters() if name.startswith("codes")]
    again = build(model.config, model.info)
    again.load_state_dict(load(save(model.state_dict())))
    assert np.array_equal(again.codes.encode(pixels), tokens.reshape(3, -1))
    assert np.array_equal(again.draw(TEXTS).pixels, model.eval().draw(TEXTS).pixels)
    assert not again.train().codes.training


@torch.inference_mode()
@pytest.mark.parametrize("source", ["text", "image+text"])
def test_codes_told_by_their_digits_are_painted_with_a_cache_as_without(source):
    quantized = TokenizerConfig(patch_size=2, fsq_levels=(4, 3), width=8, depth=1)
    tokenizer = build_model(quantized, blobs(), np.arange(48))[0].eval()
    config = Config(
        source,
        image_tokenizer="runs/any",
        **{**SMALL, "palette_patch_size": None, "palette_size": None},
    )
    model = build_model(config, blobs(), np.arange(48), tokenizer=tokenizer)[0].eval()
    assert model.config.fsq_levels == (4, 3)
    assert model.head.weight.shape == (1, 4 + 3 + 12, 32)
    words = padded(model.tokens_of(TEXTS, ["en", "fr", "en"]), model.length)
    read, chance = (
        model._encode_source(words, pixels_of(model), 2.0),
        per_image_uniform(3, model.steps, 0)[:, 0],
    )
    *_, fast = painting(model, read, chance, SamplingParams(), 2.0)
    assert torch.equal(fast.codes, painting_slowly(model, read, chance, SamplingParams(), 2.0))


def test_an_image_read_patch_by_code_stands_beside_what_is_painted():
    model = tiny("image+text", patch_size=2)
    assert model.beside is not None
    read = model._encode_source(
        padded(model.tokens_of(TEXTS, ["en"] * 3), model.length), pixels_of(model), 2
    )
    assert model.beside_of(read).shape == (6, model.steps, 32)
    assert tiny("image+text", patch_size=4).beside is None
    assert tiny("image+text").config.source_encoding == "codes", "most of an edit is to copy"
    assert tiny("image+text").beside is not None
    assert tiny("image", "text").config.source_encoding == "patches"
    assert tiny("text").beside is None


def test_a_tokenizer_of_other_images_is_refused():
    other = build_model(
        TokenizerConfig(patch_size=2, width=8, depth=1), blobs(height=4, width=4), range(48)
    )
    with pytest.raises(UsageError, match=r"4x4x1.*8x8x1"):
        build_model(Config(image_tokenizer="runs/any"), blobs(), np.arange(48), tokenizer=other[0])


def test_images_without_captions_or_pairs_are_refused():
    mute = dataclasses.replace(blobs(), captions={})
    with pytest.raises(UsageError, match="these images have none"):
        build_model(Config(), mute, np.arange(48))
    single = dataclasses.replace(blobs(), before=None)
    with pytest.raises(UsageError, match="pairs of images"):
        build_model(Config(source="image+text"), single, np.arange(48))
    english = dataclasses.replace(blobs(), captions={"en": blobs().captions["en"]})
    with pytest.raises(UsageError, match="two languages"):
        build_model(Config(source="text", target="text"), english, np.arange(48))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"source": "image", "target": "image"}, "there is no image to image"),
        ({"source": "image+text", "target": "text"}, "there is no image\\+text to text"),
        ({"caption_dropout": 1.0}, "caption_dropout"),
        ({"vocab_size": 100}, "256"),
        ({"heads": 5, "width": 32}, "does not divide"),
        ({"depth": 0}, "at least 1"),
    ],
)
def test_configurations_that_cannot_be(options, reason):
    with pytest.raises(UsageError, match=reason):
        Config(**options)


def test_sides_that_do_not_divide_name_those_that_do():
    with pytest.raises(UsageError, match="these do: 1, 2, 4, 8"):
        tiny(palette_patch_size=3)
    with pytest.raises(UsageError, match="patch_size 5"):
        tiny("image", "text", patch_size=5)


def test_captions_are_taken_in_every_language_and_pairs_are_of_two():
    model, batch = tiny("text", "text"), blobs().batch(np.arange(40))
    first, second = model._chosen(batch.captions, 40)
    assert set(first.languages) == {"en", "fr"}
    assert all(a != b for a, b in zip(first.languages, second.languages, strict=True))
    some = {"en": ["a blob"] * 2, "fr": ["", "une tache"]}
    first, second = model._chosen(some, 2)
    assert (first.languages[0], second.texts[0]) == ("en", None)


@pytest.mark.parametrize(("width", "waves"), [(32, 32), (18, 16)])
def test_the_places_of_an_image_begin_as_sines_of_row_and_column(width, waves):
    model = tiny("image", "text", width=width, heads=1)
    rows, columns = (
        model.info.height // model.config.patch_size,
        model.info.width // model.config.patch_size,
    )
    wanted = PLACED * sincos_2d_pos_embed(rows, columns, width)
    torch.testing.assert_close(model.image_places[:, :waves], wanted)


def test_reading_codes_in_place_of_patches():
    model = tiny("image", "text", source_encoding="codes")
    assert model.caption(blobs(2), language="fr")[0][0].log_prob < 0
    loss = model.train().loss(blobs().batch(np.arange(8)))
    loss.total.backward()
    assert model.code_in.weight.grad.abs().sum() > 0
