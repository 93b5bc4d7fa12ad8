"""The methods of a run that describe images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pinxit.api.checks import check_count
from pinxit.api.loaded_run import LoadedRun, merge_params, warn_of_unknown_words
from pinxit.data.seeds import check_seed
from pinxit.data.split_names import SplitOrAll
from pinxit.models.generation import GenerationParams

if TYPE_CHECKING:
    import numpy as np

    from pinxit.api.inputs import AnyImages
    from pinxit.models.results import ScoredText


class DescribeMethods(LoadedRun):
    """Commands that describe images: captions, feature vectors, likelihoods."""

    def caption(
        self,
        images: AnyImages | None = None,
        *,
        split: SplitOrAll | None = None,
        num_images: int | None = None,
        language: str | None = None,
        num_captions: int = 1,
        num_beams: int | None = None,
        length_penalty: float | None = None,
        params: GenerationParams | None = None,
        **options: Any,
    ) -> list[list[ScoredText]]:
        """Describe images in words; returns the captions of each image, the most likely first.

        By beam search, by default of 4 beams with a length penalty of 0.6; or sampled with a
        `temperature`, then without these. Without `images` 8 test images are used.
        """
        from pinxit.sampling.captions import caption_images, select_captioned

        check_count("num_images", num_images, optional=True)
        check_count("num_captions", num_captions)
        check_count("num_beams", num_beams, optional=True)
        params = merge_params(self.caption, params, options)
        model = self.require("caption")
        num_images = 8 if images is None and num_images is None else num_images
        rows = self.read_rows(model, images, split)
        captions = caption_images(
            model,
            select_captioned(rows, split or ("test" if images is None else "all"), num_images),
            params,
            language=language or model.text_tokenizer.default_language,
            num_beams=num_beams,
            num_captions=num_captions,
            length_penalty=length_penalty,
        )
        return list(captions)

    def translate(
        self,
        texts: str | Sequence[str],
        source: str | None = None,
        target: str | None = None,
        *,
        num_beams: int = 4,
    ) -> list[ScoredText]:
        """Translate texts from the language `source` to `target`.

        Without `source` it is detected; without `target` it is the other language of two.
        """
        from pinxit.models.inputs import translation_languages

        check_count("num_beams", num_beams)
        model = self.require("translate")
        texts = [texts] if isinstance(texts, str) else list(texts)
        warn_of_unknown_words(model, texts)
        source, target = translation_languages(model, texts, source, target)
        return model.translate(texts, source=source, target=target, num_beams=num_beams)

    def embed(
        self, images: AnyImages | None = None, *, split: SplitOrAll | None = None
    ) -> np.ndarray:
        """Return a feature vector per image, float32 `[n, dim]`; without `images` of all splits."""
        import numpy as np

        from pinxit.sampling.inputs import match_labels
        from pinxit.sampling.stream_rows import all_rows

        model = self.require("embed")
        rows = self.read_rows(model, images, split or "all")
        batches = all_rows(rows, split or "all").batches()
        return np.concatenate([model.embed(match_labels(model, batch)) for batch in batches])

    def score(
        self,
        images: AnyImages | None = None,
        *,
        split: SplitOrAll | None = None,
        samples: int | None = None,
        seed: int | None = None,
    ) -> list[dict[str, Any]]:
        """Return name, label and log-likelihood in nats of each image, the most unusual first.

        `samples` is the number of importance samples per image; 1, the default, gives the ELBO. An
        exact likelihood has none, and by `seed` it differs only where pixels are sampled.
        `pandas.DataFrame(run.score())` is a table of it.
        """
        from pinxit.sampling.scores import check_score_options, score_images, score_rows
        from pinxit.sampling.stream_rows import all_rows
        from pinxit.sampling.stream_scores import StreamScores

        check_count("samples", samples, optional=True)
        check_seed(0 if seed is None else seed)
        model = self.require("score")
        check_score_options(model, samples, seed)
        samples, seed = samples or 1, seed or 0
        rows = self.read_rows(model, images, split)
        if rows.images.stream is not None:
            streamed = all_rows(rows, split or ("test" if images is None else "all"))
            scored = StreamScores(model, samples, seed).rows(streamed)
            return sorted(scored, key=lambda row: row["log_likelihood"])
        return list(score_rows(model, rows, score_images(model, rows, samples, seed)))
