"""Fit the tokens of a text tokenizer, so that all that a text can encode to occurs in training.

Frequent words are one token. BPE (Sennrich 2015) proposes tokens, a text is split into the fewest
of them, and tokens that no caption is split into are removed: what BPE merged on the way to a
longer token would otherwise appear in new texts only, with an embedding that was never trained.
For the same reason every character also stands alone in some captions, and so do characters of
scripts that write no spaces: a sentence would be one token there, and nothing could be composed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

MIN_FREQUENCY = 2  # of a pair that BPE merges: a token is learned from more than one example
TIE_BREAK = 1e-6  # per rank, added to the cost 1 of a token: of equal splits, frequent tokens win

UNSPACED_SCRIPTS = (
    "Han", "Hiragana", "Katakana", "Bopomofo", "Yi", "Thai", "Lao", "Khmer", "Myanmar", "Tibetan",
    "Javanese", "Balinese", "New_Tai_Lue", "Tai_Le", "Tai_Tham", "Tai_Viet",
)  # fmt: skip
_UNSPACED = "".join(rf"\p{{{script}}}" for script in UNSPACED_SCRIPTS) + "ーｰ々〆"
# a word with the space before it, or any other single character
_SEGMENTS = Regex(rf" ?[\p{{L}}\p{{M}}&&[^{_UNSPACED}]]+|[\s\S]")


def split_text(text: str) -> list[str]:
    """Split a text into words, each with the space before it, and other single characters.

    >>> split_text("a red 方块!")
    ['a', ' red', ' ', '方', '块', '!']
    """
    text = normalizers.NFC().normalize_str(text)
    return [segment for segment, _ in _segmenter().pre_tokenize_str(text)]


def fit_vocabulary(segments: Mapping[str, int], vocab_size: int) -> Tokenizer:
    """Fit an encoder to the segments of the captions and their counts.

    `vocab_size` bounds its tokens, the 256 bytes included. If it cannot hold all characters, the
    rare ones are encoded as bytes.
    """
    characters = _frequent_characters(segments, vocab_size)
    tokens = _propose_tokens(segments, vocab_size)
    while True:
        encoder = _build_tokenizer([*characters, *tokens], vocab_size)
        counts = _count_tokens(encoder, segments)
        hidden = {character for character in characters if not counts[character]}
        if not hidden:
            used = [token for token in tokens if counts[token]]
            return _build_tokenizer([*characters, *used], vocab_size)
        removed = _choose_cover({token for token in tokens if counts[token]}, hidden, counts)
        tokens = [token for token in tokens if token not in removed]


def byte_tokenizer(vocab: dict[str, int]) -> Tokenizer:
    """Return an encoder of bytes alone."""
    encoder = Tokenizer(models.BPE(vocab, []))
    encoder.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    encoder.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    return encoder


def _segmenter() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(_SEGMENTS, "isolated")


def _pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([_segmenter(), to_bytes])


def _frequent_characters(segments: Mapping[str, int], vocab_size: int) -> list[str]:
    """Return the characters of the captions, the most frequent first, as byte-level tokens."""
    counts: Counter[str] = Counter()
    for segment, count in segments.items():
        for character in segment:
            counts[character] += count
    characters = [_byte_level(character) for character in sorted(counts, key=_by_count(counts))]
    single = [token for token in characters if len(token) == 1]  # a byte, in every vocabulary
    several = [token for token in characters if len(token) > 1]
    return [*single, *several[: max(0, vocab_size - 256)]]


def _propose_tokens(segments: Mapping[str, int], vocab_size: int) -> list[str]:
    """Return the merges of BPE that consist of whole characters, of more than one."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = _pre_tokenizer()  # pyright: ignore[reportAttributeAccessIssue]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,  # pyright: ignore[reportCallIssue]
        min_frequency=MIN_FREQUENCY,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator((segment for p, n in segments.items() for segment in [p] * n), trainer)
    merges = sorted(bpe.get_vocab().items(), key=lambda item: item[1])
    texts = {token: _characters(token) for token, _ in merges}
    return [token for token, text in texts.items() if len(text) > 1 and "\ufffd" not in text]


def _build_tokenizer(tokens: Sequence[str], vocab_size: int) -> Tokenizer:
    """Return an encoder that splits a text into the fewest tokens: a unigram model of one cost.

    Removing a token that the captions are not split into leaves their splits as they are.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = list(dict.fromkeys([*alphabet, *tokens]))[: max(256, vocab_size)]
    costs = [(token, -1 - TIE_BREAK * rank) for rank, token in enumerate(vocab)]
    encoder = Tokenizer(models.Unigram(costs))
    encoder.normalizer = normalizers.NFC()  # pyright: ignore[reportAttributeAccessIssue]
    encoder.pre_tokenizer = _pre_tokenizer()  # pyright: ignore[reportAttributeAccessIssue]
    encoder.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    return encoder


def _count_tokens(encoder: Tokenizer, segments: Mapping[str, int]) -> Counter[str]:
    counts: Counter[str] = Counter()
    encodings = encoder.encode_batch(list(segments))
    for encoding, count in zip(encodings, segments.values(), strict=True):
        for token in encoding.tokens:
            counts[token] += count
    return counts


def _choose_cover(tokens: set[str], hidden: set[str], counts: Mapping[str, int]) -> set[str]:
    """Choose tokens that contain the hidden characters, those that shorten the captions least."""
    parts = {token: {_byte_level(c) for c in _characters(token)} & hidden for token in tokens}
    shortening = {token: counts[token] * (len(_characters(token)) - 1) for token in tokens}
    chosen: set[str] = set()
    while parts := {token: found for token, found in parts.items() if found}:
        price = {token: (shortening[token] / len(found), token) for token, found in parts.items()}
        cheapest = min(parts, key=price.__getitem__)
        chosen.add(cheapest)
        parts = {token: found - parts[cheapest] for token, found in parts.items()}
    return chosen


def _by_count(counts: Mapping[str, int]):
    return lambda item: (-counts[item], item)


def _byte_level(text: str) -> str:
    """Return a text as letters of the byte-level alphabet, one for each byte of UTF-8."""
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return "".join(segment for segment, _ in to_bytes.pre_tokenize_str(text))


def _characters(token: str) -> str:
    return decoders.ByteLevel().decode([token])
