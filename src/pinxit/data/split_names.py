"""The names of the splits. Imports nothing, so that `--help` stays fast.

The held-out splits have combinations of factors that no training image has. Only some synthetic
sources define them; their `validation` and `test` splits are distributed like `train`.
"""

from __future__ import annotations

from typing import Literal, get_args

Split = Literal["train", "validation", "test", "validation-held-out", "test-held-out"]
SplitOrAll = Literal[
    "train", "validation", "test", "validation-held-out", "test-held-out", "all"
]  # what a command can be asked for

SPLITS: tuple[Split, ...] = get_args(Split)
NO_SPLIT = -1  # of training images that are left out, since they are copies of test images
