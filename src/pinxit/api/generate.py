"""The methods of a run that generate images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pinxit.api.checks import check_choice, check_count, check_integers, check_texts
from pinxit.api.loaded_run import LoadedRun, merge_params, warn_of_unknown_words
from pinxit.data.images import Images
from pinxit.data.seeds import check_seed
from pinxit.data.split_names import SplitOrAll
from pinxit.errors import UsageError
from pinxit.models.generation import GenerationParams

if TYPE_CHECKING:
    from pinxit.api.inputs import AnyImage, AnyImages, AnyMask
    from pinxit.data.masks import Half
    from pinxit.evaluation.options import PriorOfSamples
    from pinxit.sampling.latents import Along, InterpolationPath, Traversal


class GenerateMethods(LoadedRun):
    """Commands that generate images."""

    def sample(
        self,
        num_images: int = 64,
        *,
        label: str | None = None,
        prior: PriorOfSamples = "own",
        params: GenerationParams | None = None,
        **options: Any,
    ) -> Images:
        """Generate new images.

        `options` are fields of `GenerationParams`: `seed`, `temperature`, `guidance`, ... Image i
        depends on the seed and i only. A `prior` other than the model's own is fitted to the
        latents of a VAE's training images. Raises PinxitError if the model cannot sample.
        """
        from pinxit.evaluation.options import PriorOfSamples

        check_count("num_images", num_images)
        check_choice("prior", prior, PriorOfSamples)
        params = merge_params(self.sample, params, options)
        if prior != "own":
            from pinxit.sampling.fitted_priors import sample_fitted

            model = self.require("encode")
            params = params or GenerationParams()
            return sample_fitted(self, model, prior, num_images, label, params)
        return self.require("sample").sample(num_images, params, label=label)

    def draw(
        self,
        texts: str | Sequence[str],
        num_images: int = 16,
        *,
        language: str | None = None,
        params: GenerationParams | None = None,
        **options: Any,
    ) -> Images:
        """Generate `num_images` images from each text; each of several texts gets a row.

        `options` are fields of `GenerationParams`. Raises PinxitError if the model cannot draw.
        """
        check_count("num_images", num_images)
        params = merge_params(self.draw, params, options)
        texts = [texts] if isinstance(texts, str) else list(texts)
        model = self.require("draw")
        warn_of_unknown_words(model, texts)
        captions = [text for text in texts for _ in range(num_images)]
        drawn = model.draw(captions, params, language=language)
        return dataclasses.replace(drawn, columns=num_images if len(texts) > 1 else None)

    def edit(
        self,
        image: AnyImage,
        text: str,
        num_images: int = 1,
        *,
        language: str | None = None,
        params: GenerationParams | None = None,
        **options: Any,
    ) -> Images:
        """Change an image as a text says; the results show themselves beside the image.

        `image` is a file, `Images` of one image, an array, or an image of the run's data by its
        name or its number among the test images. `options` are fields of `GenerationParams`.
        """
        check_count("num_images", num_images)
        params = merge_params(self.edit, params, options)
        model = self.require("edit")
        warn_of_unknown_words(model, [text])
        before = self.read_one(image, sources=True)[[0] * num_images]
        edited = model.edit(before, [text] * num_images, params, language=language)
        return dataclasses.replace(edited, before=before.pixels)

    def complete(
        self,
        images: AnyImages | None = None,
        *,
        split: SplitOrAll | None = None,
        num_images: int | None = None,
        half: Half | None = None,
        ratio: float | None = None,
        box: tuple[int, int, int, int] | None = None,
        mask: AnyMask | None = None,
        compare: str | Sequence[float] | None = None,
        completions: int = 1,
        params: GenerationParams | None = None,
        **options: Any,
    ) -> Images:
        """Fill in the missing part of images; each shows itself beside its input.

        `half`, `ratio` (of the patches), `box` (left, top, width, height), or `mask` (True or white
        where pixels are missing) say what is missing; `compare` removes patches at several ratios,
        such as `(0.75, 0.85, 0.95)`, one column each. Without `images` 8 test images are used.
        """
        from pinxit.api.completions import complete_images

        params = merge_params(self.complete, params, options) or GenerationParams()
        model = self.require("complete")
        num_images = 8 if images is None and num_images is None else num_images
        inputs = self.read(model, images, split, num_images)
        missing = {"half": half, "ratio": ratio, "box": box, "mask": mask, "compare": compare}
        return complete_images(self, model, inputs, missing, completions, params)

    def reconstruct(
        self,
        images: AnyImages | None = None,
        *,
        split: SplitOrAll | None = None,
        num_images: int | None = None,
        levels: int | None = None,
    ) -> Images:
        """Encode images and decode them again; each original shows itself beside the result.

        Without `images` 32 test images are used. The originals are in `before`. With `levels` only
        so many levels of a ladder of latents are kept, the coarsest first.
        """
        from pinxit.sampling.levels import reconstruct_from_levels

        check_count("levels", levels, optional=True)
        model = self.require("reconstruct" if levels is None else "encode")
        num_images = 32 if images is None and num_images is None else num_images
        originals = self.read(model, images, split, num_images)
        if levels is None:
            decoded = model.reconstruct(originals)
        else:
            decoded = reconstruct_from_levels(model, originals, levels)
        return dataclasses.replace(originals, pixels=decoded.pixels, before=originals.pixels)

    def interpolate(
        self,
        *images: AnyImage,
        seeds: tuple[int, int] | None = None,
        texts: tuple[str, str] | None = None,
        language: str | None = None,
        steps: int = 10,
        path: InterpolationPath = "spherical",
    ) -> Images:
        """Morph one image into another, one sample into another, or one caption into another.

        `images` are two of what `edit` takes, or `Images` of two; `seeds` give the first sample of
        each; `texts`, for a flow of captions, the drawings of `seeds` (default: 0 and 0). Raises
        UsageError unless there are two images, two seeds or two texts, and for a `language`
        without texts.
        """
        from pinxit.models import get_family
        from pinxit.sampling.inputs import join_images, match_labels
        from pinxit.sampling.latents import (
            InterpolationPath,
            interpolate_images,
            interpolate_seeds,
            interpolate_texts,
        )

        check_count("steps", steps, 2)
        check_choice("path", path, InterpolationPath)
        check_integers("seeds", seeds, 2)
        check_texts(texts)
        for seed in seeds or ():
            check_seed(seed, "seeds")
        pair = images[0] if len(images) == 1 and isinstance(images[0], Images) else None
        is_named = seeds is not None or texts is not None
        if is_named == bool(images) or (images and pair is None and len(images) != 2):
            raise UsageError(
                "interpolate takes two images, or two seeds: interpolate(seeds=(0, 1))"
            )
        if language is not None and texts is None:
            raise UsageError("language is that of texts; give two captions.")
        can_invert = "invert" in get_family(self.family).ABILITIES
        model = self.require("invert" if can_invert or texts is not None else "encode")
        if texts is not None:
            frames = interpolate_texts(model, texts, steps, path, seeds or (0, 0), language)
        elif seeds is not None:
            frames = interpolate_seeds(model, seeds, steps, path)
        else:
            pair = join_images([self.read_one(image) for image in images]) if pair is None else pair
            frames = interpolate_images(model, match_labels(model, pair), steps, path)
        return dataclasses.replace(frames, columns=min(steps, 12))

    def traverse(
        self,
        latents: int = 8,
        image: AnyImage | None = None,
        steps: int = 11,
        *,
        along: Along | None = None,
    ) -> Traversal:
        """Vary single latents from -3 to 3, the most active latents first: one row each.

        `image` gives the other latents (default: the most typical test image).
        """
        from pinxit.sampling.inputs import match_labels
        from pinxit.sampling.latents import MAX_TRAVERSED_IMAGES, Along, traverse

        check_count("latents", latents)
        check_count("steps", steps, 2)
        check_choice("along", along, Along, optional=True)
        model = self.require("encode")
        start = None if image is None else match_labels(model, self.read_one(image))
        images = self.read(model, None, None, MAX_TRAVERSED_IMAGES)
        return traverse(model, images, latents, start, steps, along)
