"""Ids of the special tokens that every text tokenizer has; those of its languages follow."""

from __future__ import annotations

PAD, EOS = 0, 1
