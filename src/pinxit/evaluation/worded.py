"""How well images follow words and words follow images.

Of drawn scenes an independent reader says what an image shows (`evaluation.scenes`); elsewhere a
classifier, and BLEU and chrF (Papineni 2002; Popovic 2015) against the captions that are there.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pinxit.data.edits import Edit, edit
from pinxit.data.images import Images
from pinxit.data.sources.shapes import Scene, Thing, scene_named
from pinxit.evaluation.figures import Named, share
from pinxit.evaluation.neighbours import AMONG, neighbours_captions, recalls
from pinxit.evaluation.scenes import agreement, read_scene

if TYPE_CHECKING:
    from pinxit.evaluation.features import FeatureSpace

ALIKE = 0.2  # of the true ones: where fewer different captions are written, that is told
ATTRIBUTES = ("exact", "things", "where", "count", "forms", "colours", "sizes")


def in_any_order(scene: Scene, language: str) -> frozenset[str]:
    """The captions of a scene whichever of its things is named first: an image does not tell."""
    orders = itertools.permutations(scene.things)
    return frozenset(Scene(order).captions()[language] for order in orders)


# -- drawing


def scenes_of(images: Images) -> list[Scene] | None:
    """The scenes that images of `shapes` show; None for other images."""
    if not all(re.fullmatch(r"shapes-\d+-\d+", name) for name in images.names):
        return None
    return [scene_named(name) for name in images.names] or None


def drawing_figures(drawn: Images, asked: Images) -> Iterator[Named]:
    """What of the captions of drawn scenes is there, by attribute; for other images nothing.

    `where` is among those whose things are right alone. `reader_exact` is the same of the true
    images: what the reader itself misses.
    """
    scenes = scenes_of(asked)
    if scenes is None:
        return
    found = [
        agreement(scene, read_scene(image)) for scene, image in zip(scenes, drawn, strict=True)
    ]
    for name in ATTRIBUTES:
        counted = [one for one in found if one.things] if name == "where" else found
        if counted:
            yield from share(f"drawn_{name}", [getattr(one, name) for one in counted])
    true = [
        agreement(scene, read_scene(image)).exact
        for scene, image in zip(scenes, asked, strict=True)
    ]
    yield from share("reader_exact", true)


def label_figures(space: FeatureSpace, drawn: Images, asked: Images) -> Iterator[Named]:
    """How often a classifier, which never saw what was drawn, tells the label that was meant."""
    labels = asked.labels
    if labels is None or space.facts.get("task") != "label":
        return
    known = labels >= 0
    if known.any():
        yield from share("drawn_label", (space.told(drawn) == labels)[known].tolist())
        yield from share("true_label", (space.told(asked) == labels)[known].tolist())


# -- words


def wording_figures(
    written: Sequence[str],
    true: Sequence[str],
    language: str,
    accepted: Sequence[frozenset[str]] | None = None,
) -> Iterator[Named]:
    """Exact matches, BLEU and chrF of texts in one language.

    `accepted` are all the texts that are as right as the true one, where there are several.
    """
    import sacrebleu

    right = [frozenset([text]) for text in true] if accepted is None else accepted
    yield from share(
        f"caption_exact:{language}", [a in b for a, b in zip(written, right, strict=True)]
    )
    yield f"bleu:{language}", sacrebleu.corpus_bleu(list(written), [list(true)]).score
    yield f"chrf:{language}", sacrebleu.corpus_chrf(list(written), [list(true)]).score


def captioning_figures(model: Any, images: Images, known: Images) -> Iterator[Named]:
    """Of each language: how near the captions are, and whether a caption finds its image.

    `known` are the training images: the caption of the nearest of them is a yardstick.
    """
    for language in model.words.languages:
        texts = images.captions.get(language)
        rows = np.array([i for i, text in enumerate(texts or ()) if text], int)
        if texts is None or len(rows) == 0:
            continue
        some, true = images.take(rows), [texts[int(i)] for i in rows]
        written = [row[0].text for row in model.caption(some, language=language)]
        scenes = scenes_of(some)
        accepted = None if scenes is None else [in_any_order(one, language) for one in scenes]
        yield from wording_figures(written, true, language, accepted)
        yield f"captions_told_apart:{language}", len(set(written)) / len(set(true))
        yield from _looked_up(some, known, true, language)
        few = true[:AMONG]
        rated = model.rated(some[:AMONG], few, language)
        yield from recalls("recall", rated, few, f":{language}")


def _looked_up(
    images: Images, known: Images, true: Sequence[str], language: str
) -> Iterator[Named]:
    """What the nearest neighbour's captions reach."""
    import sacrebleu

    found = neighbours_captions(images, known, language)
    if found is not None:
        yield f"neighbour_chrf:{language}", sacrebleu.corpus_chrf(found, [list(true)]).score


def all_alike(figures: Mapping[str, Any]) -> Iterator[str]:
    """A line for each language in which most images have the same few captions."""
    for name, value in figures.items():
        kind, _, language = name.partition(":")
        if kind == "captions_told_apart" and value < ALIKE:
            yield (
                f"the captions ({language}) hardly depend on the image: {value:.0%} as many "
                "different ones as the true ones are"
            )


def translating_figures(model: Any, images: Images) -> Iterator[Named]:
    """Of each language: how near texts translated into it are to its captions."""
    for target in model.words.languages:
        written, true = [], []
        for source in model.words.languages:
            if source == target:
                continue
            pairs = [
                (a, b)
                for a, b in zip(images.captions[source], images.captions[target], strict=True)
                if a and b
            ]
            found = model.translate([a for a, _ in pairs], source=source, target=target)
            written += [said.text for said in found]
            true += [b for _, b in pairs]
        if written:
            yield from wording_figures(written, true, target)


# -- edits


def edits_of(images: Images) -> list[Edit] | None:
    """The edits that pairs of `shapes-edits` show; None for other images."""
    found = [re.fullmatch(r"edit-(\d+)-(\d+)", name) for name in images.names]
    if not found or not all(found):
        return None
    return [edit(int(one[1]), int(one[2])) for one in found if one]


def editing_figures(edited: Images, asked: Images) -> Iterator[Named]:
    """Whether the change was made, and all else was kept; in decibels for any images."""
    edits = edits_of(asked)
    if edits is not None:
        made = [changes(one, read_scene(p)) for one, p in zip(edits, edited, strict=True)]
        true = [changes(one, read_scene(p)) for one, p in zip(edits, asked, strict=True)]
        yield from share("edited_exact", [all(one) for one in made])
        yield from share("edited_asked", [one[0] for one in made])
        yield from share("edited_kept", [one[1] for one in made])
        yield from share("edit_reader_exact", [all(one) for one in true])
    assert asked.before is not None
    yield "edited_psnr", decibels(edited.pixels, asked.pixels)
    yield "unedited_psnr", decibels(asked.before, asked.pixels)


def changes(asked: Edit, shown: Scene) -> tuple[bool, bool]:
    """Whether a scene has what an edit changes as it should be, and all else as it was."""
    before, after, there = (things(scene) for scene in (asked.before, asked.after, shown))
    kept, new = before & after, after - before
    gone = before - after
    rest = there - kept
    return rest == new and not (rest & gone), (there & kept) == kept


def things(scene: Scene) -> Counter[tuple[Any, ...]]:
    """What a scene has, by form, colour, size and place."""

    def factors(thing: Thing) -> tuple[Any, ...]:
        return thing.form, thing.colour, thing.size, thing.place

    return Counter(factors(thing) for thing in scene.things)


def decibels(a: np.ndarray, b: np.ndarray) -> float:
    """PSNR over all pixels of all images."""
    wrong = float(np.square(a.astype(np.float32) - b.astype(np.float32)).mean())
    return 10 * math.log10(255**2 / max(wrong, 1e-9))
