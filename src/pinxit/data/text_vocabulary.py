"""Fit the tokens of a text tokenizer: only those that occur in the training captions.

BPE (Sennrich 2015) proposes words and parts of words, a text is split into the fewest of them, and
tokens that no caption is split into are removed: what BPE merged on the way to a longer token, and
characters that occur within words only, would have an embedding that was never trained.

Scripts without spaces between words would make a sentence one word, and nothing could be composed.
Chinese and Japanese are split into characters; Thai and others, whose letters mean nothing alone,
into chunks that are nearly always written together (`pinxit.data.text_chunks`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from pinxit.data.text_chunks import find_chunks

UNKNOWN = "<unk>"  # no text has it: "<" is a segment of its own
MIN_FREQUENCY = 2  # of a pair that BPE merges: a token is learned from more than one example
TIE_BREAK = 1e-6  # per rank, added to the cost 1 of a token: of equal splits, frequent tokens win

# of each character a token
IDEOGRAPHIC_SCRIPTS = ("Han", "Hiragana", "Katakana", "Bopomofo", "Yi")
UNSPACED_ALPHABETS = (
    "Thai", "Lao", "Khmer", "Myanmar", "Javanese", "Balinese", "New_Tai_Lue", "Tai_Le", "Tai_Tham",
    "Tai_Viet",
)  # fmt: skip


def _letters_of(scripts: Sequence[str]) -> str:
    return "".join(rf"\p{{{script}}}" for script in scripts)


_IDEOGRAPHS = _letters_of(IDEOGRAPHIC_SCRIPTS) + "ーｰ々〆"
_UNSPACED = _letters_of(UNSPACED_ALPHABETS)
_RUN = rf"[\p{{L}}\p{{M}}&&[{_UNSPACED}]]+"
# a word with the space before it, letters in a row without spaces, or any other single character
_SEGMENTS = Regex(rf" ?[\p{{L}}\p{{M}}&&[^{_IDEOGRAPHS}{_UNSPACED}]]+|{_RUN}|[\s\S]")
_LETTERS = pre_tokenizers.Split(Regex(r"\p{L}"), "removed", invert=True)
_UNSPACED_LETTERS = pre_tokenizers.Split(
    Regex(rf"[\p{{L}}&&[{_IDEOGRAPHS}{_UNSPACED}]]"), "removed", invert=True
)
_IS_RUN = pre_tokenizers.Split(Regex(_RUN), "removed")


def split_text(text: str) -> list[str]:
    """Split a text into words, each with the space before it, and other single characters.

    Letters of scripts without spaces, such as Thai, stay together.

    >>> split_text("a red 方块!")
    ['a', ' red', ' ', '方', '块', '!']
    """
    text = normalizers.NFC().normalize_str(text)
    return [segment for segment, _ in _segmenter().pre_tokenize_str(text)]


def is_unspaced(segment: str) -> bool:
    """Return whether a segment consists of letters of a script such as Thai."""
    return bool(segment) and not _IS_RUN.pre_tokenize_str(segment)


def is_written_unspaced(texts: Iterable[str]) -> bool:
    """Return whether most letters of texts are of scripts without spaces between words.

    >>> is_written_unspaced(["红色的 disc"]), is_written_unspaced(["a red 圆"])
    (False, False)
    """
    text = "".join(texts)
    letters, unspaced = (
        sum(len(part) for part, _ in split.pre_tokenize_str(text))
        for split in (_LETTERS, _UNSPACED_LETTERS)
    )
    return unspaced > letters / 2


def fit_vocabulary(segments: Mapping[str, int], vocab_size: int) -> Tokenizer:
    """Fit an encoder to the segments of the captions and their counts.

    All its tokens occur in the captions, but the last one, UNKNOWN, which stands for the rest.
    `vocab_size` bounds them, the 256 bytes included. If it cannot hold all characters, the rare
    ones are encoded as bytes.
    """
    bytes_ = sorted(pre_tokenizers.ByteLevel.alphabet())
    characters = _frequent_characters(segments, vocab_size)
    tokens = dict.fromkeys([*bytes_, *characters, *_propose_tokens(segments, vocab_size)])
    ranks = {token: rank for rank, token in enumerate([*tokens][:vocab_size])}
    counts = _count_tokens(_build_tokenizer(ranks), segments)
    # removing a token that no caption is split into leaves their splits as they are
    return _build_tokenizer({token: rank for token, rank in ranks.items() if counts[token]})


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
    """Return words, parts of words and chunks of runs, of more than one character each."""
    words = {text: count for text, count in segments.items() if not is_unspaced(text)}
    runs = [text for text in segments if is_unspaced(text)]
    return [*map(_byte_level, find_chunks(runs)), *_merge_pairs(words, vocab_size)]


def _merge_pairs(segments: Mapping[str, int], vocab_size: int) -> list[str]:
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


def _build_tokenizer(ranks: Mapping[str, int]) -> Tokenizer:
    """Return an encoder that splits a text into the fewest tokens: a unigram model of one cost."""
    costs = [(token, -1 - TIE_BREAK * rank) for token, rank in ranks.items()]
    costs.append((UNKNOWN, -1.0))
    encoder = Tokenizer(models.Unigram(costs, unk_id=len(ranks)))
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


def _by_count(counts: Mapping[str, int]):
    return lambda item: (-counts[item], item)


def _byte_level(text: str) -> str:
    """Return a text as letters of the byte-level alphabet, one for each byte of UTF-8."""
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return "".join(segment for segment, _ in to_bytes.pre_tokenize_str(text))


def _characters(token: str) -> str:
    return decoders.ByteLevel().decode([token])
