"""Which changes images allow: mirroring not where they, or captions, tell left from right."""

from __future__ import annotations

import re

import numpy as np
from jaxtyping import Float64

from pinxit.console import echo
from pinxit.data.captions import all_captions
from pinxit.data.images import Images
from pinxit.errors import UsageError
from pinxit.training.settings import Augment, TrainingSettings

MAX_AUGMENTED_IMAGES = 10_000  # by default
MIN_SIDE = 16  # pixels; smaller images are not changed by default
MAX_IMAGES = 2_000  # that are compared with their mirror images
SIDE = 8  # pixels per side of the images that are compared
NUM_FOLDS = 5
INVERSE_REGULARIZATION = 0.05
MAX_ACCURACY = 0.6  # of telling an image from its mirror image; 0.5 is chance

LEFT_OR_RIGHT = re.compile(
    r"\b(left|right|leftwards|rightwards|gauche|droite|links|rechts|izquierda|derecha|sinistra|"
    r"destra|esquerda|direita)\b|左|右",
    re.IGNORECASE,
)


def resolve_augment(
    settings: TrainingSettings,
    images: Images,
    rows: np.ndarray,
    *,
    reconstructs: bool = False,
    max_images: int = MAX_AUGMENTED_IMAGES,
    quiet: bool = False,
) -> tuple[Augment, ...]:
    """Return the kinds of changes for these images; a note says which if they are chosen.

    `reconstructs`: the model is used for reconstructions only, for which auto means strong. From
    `max_images` on auto means off. Raises UsageError for channels of grey images.
    """
    _, height, width, channels = images.pixels.shape
    if settings.augment not in (("auto",), ("strong",)):
        if "channels" in settings.augment and channels != 3:
            raise UsageError("augment channels exchanges colors: these images are grey.")
        return settings.augment
    is_auto = settings.augment == ("auto",)
    count = images.count_training() if images.stream else len(rows)
    if is_auto and (count >= max_images or min(height, width) < MIN_SIDE):
        return ("off",)
    is_strong = reconstructs or not is_auto
    reason = None if is_strong else reason_against_mirroring(images, rows)
    colored: tuple[Augment, ...] = ("color",) if channels == 3 else ()
    exchanged: tuple[Augment, ...] = ("channels",) if channels == 3 else ()
    kinds: tuple[Augment, ...] = ("move", *colored) if reason else ("flip", "move", *colored)
    if is_strong:
        kinds = (*kinds, "turn", *exchanged)
    note = f", not mirrored: {reason}" if reason else ""
    if not quiet:
        few = f"{count:,} training images"
        echo(f"{few} are changed a little each time: {', '.join(kinds)}{note}")
    return kinds


def reason_against_mirroring(images: Images, rows: np.ndarray) -> str | None:
    """Return why these images should not be mirrored, or None if nothing speaks against it."""
    captions = (all_captions(images, name) for name in images.captions)
    for kind, columns in (("captions", captions), ("keywords", images.keywords.values())):
        for text in (text for column in columns for texts in column for text in texts):
            if match := LEFT_OR_RIGHT.search(text):
                return f"{kind} say '{match.group()}'"
    accuracy = mirror_accuracy(images, rows)
    if accuracy > MAX_ACCURACY:
        return f"{accuracy:.0%} of them can be distinguished from their mirror images"
    return None


def mirror_accuracy(images: Images, rows: np.ndarray) -> float:
    """Return how often a linear classifier distinguishes an unseen image from its mirror image.

    The images are reduced to 8 x 8 pixels. By cross-validation, with whole groups held out.
    """
    from pinxit.nn.logistic_regression import fit_logistic_regression

    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), MAX_IMAGES)).astype(int)]
    odd = _odd_part(images, rows)
    groups = np.arange(len(rows)) if images.groups is None else images.groups[rows]
    folds = np.unique(groups, return_inverse=True)[1] % NUM_FOLDS
    correct = []
    for fold in np.unique(folds):
        train, test = odd[folds != fold], odd[folds == fold]
        if not len(train):
            continue
        # mirroring an image changes the sign of its odd part: each is an example of both classes
        x = np.concatenate([train, -train])
        y = np.repeat([1, 0], len(train))
        classifier = fit_logistic_regression(
            x, y, INVERSE_REGULARIZATION, standardize=False, intercept=False
        )
        correct.append(classifier.predict(test))
    return float(np.concatenate(correct).mean()) if correct else 0.5


def _odd_part(images: Images, rows: np.ndarray) -> Float64[np.ndarray, "n features"]:
    """Return (x - mirrored x) / 2 of small versions of the images, standardized."""
    from PIL import Image

    small = []
    for row in rows:
        pixels = np.asarray(images.pixels[int(row)])
        image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        small.append(np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX), np.float64))
    x = np.stack(small).reshape(len(rows), SIDE, SIDE, -1)
    odd = ((x - x[:, :, ::-1]) / 2)[:, :, : SIDE // 2].reshape(len(rows), -1)
    return odd / max(odd.std(), 1e-9)
