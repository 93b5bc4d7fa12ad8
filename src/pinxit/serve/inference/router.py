"""Choose the run that answers a request by the abilities of its model.

A request is prepared once (`Router.prepare`: run, ability, prompt, reranker) and then generated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pinxit.data.images import Images
from pinxit.models.abilities import require
from pinxit.models.generation import GenerationParams
from pinxit.models.inputs import can_rerank
from pinxit.models.protocols import CanCaption, CanDraw, CanEdit, CanEmbed, CanSampleStream
from pinxit.serve.errors import ApiError, clean_text
from pinxit.serve.inference.loading import LoadedRun
from pinxit.serve.inference.prompt_fitting import fit_prompts
from pinxit.serve.inference.requests import (
    READING,
    GenerationRequest,
    GenerationResult,
    PreviewCallback,
    Route,
)
from pinxit.serve.inference.tasks import PREVIEW_TEMPERATURES, TASKS, run_task
from pinxit.serve.media.framing import Frame, choose_frame
from pinxit.serve.media.uploads import EditMask, UploadedImage
from pinxit.serve.pools import work_on_images
from pinxit.serve.prompts import strip_request_phrase

# the abilities that can answer a request, the best first
GENERATING = ("draw", "sample")
EDITING = ("edit", "draw", "encode", "sample", "reconstruct")
INPAINTING = ("complete", *EDITING)
VARYING = ("encode", "reconstruct", *EDITING)


@dataclass(frozen=True)
class Router:
    """The runs that a model name stands for."""

    runs: list[LoadedRun]

    @property
    def run_names(self) -> str:
        return ", ".join(run.name for run in self.runs)

    @property
    def abilities(self) -> list[str]:
        return sorted({ability for run in self.runs for ability in run.abilities})

    @property
    def only_generates(self) -> bool:
        """Whether the runs can do nothing with a chat but generate an image for it."""
        return bool(self._find_route(GENERATING)) and not self._find_route(("caption",))

    def first_supporting(self, *abilities: str) -> LoadedRun | None:
        """Return the first run with the first of these abilities that any run has."""
        route = self._find_route(abilities)
        return None if route is None else route.run

    def require(self, ability: str) -> LoadedRun:
        """Return a run with the ability. Raises PinxitError, naming the families that have it."""
        run = self.first_supporting(ability)
        if run is None:
            require(self.runs[0].model, ability)
        assert run is not None
        return run

    def _find_route(self, abilities: Sequence[str]) -> Route | None:
        for ability in abilities:
            for run in self.runs:
                if ability in run.abilities:
                    return Route(ability, run)
        return None

    # -- images ---------------------------------------------------------------------------------

    def prepare(
        self,
        prompt: str,
        params: GenerationParams,
        *,
        n: int = 1,
        source: UploadedImage | None = None,
        mask: EditMask | None = None,
        variation: bool = False,
        conversation: Sequence[str] = (),
        language: str | None = None,
    ) -> GenerationRequest:
        """Choose run and ability, and reduce the prompt to the model's input.

        A model that can draw but not edit reads `conversation`, the user's prompts of every turn,
        instead of the last prompt: as many of the newest as it can.
        """
        if source is None:
            route = self._find_route(GENERATING)
        elif variation:
            route = self._find_route(VARYING)
        else:
            route = self._find_route(EDITING if mask is None else INPAINTING)
        frame = _choose_frame(route, source, mask)
        if route is None or route.ability not in ("draw", "edit"):
            return GenerationRequest(prompt, n, source, mask, params, route, frame=frame)
        prompts, clean = [prompt], str.strip
        if route.ability == "draw":
            prompts = list(conversation) if source is not None and conversation else prompts
            clean = strip_request_phrase
            params = replace(params, reranker=self.find_reranker(route.run, params.best_of))
        text, left_out, unknown_words = fit_prompts(route.run.model, prompts, clean)
        return GenerationRequest(
            text, n, source, mask, params, route, left_out, unknown_words, language, frame
        )

    async def generate(
        self, request: GenerationRequest, on_preview: PreviewCallback | None = None
    ) -> GenerationResult:
        """Generate the images of a prepared request. Raises ApiError if no run can."""
        if request.route is None:
            runs = ", ".join(f"{run.name} ({', '.join(run.abilities)})" for run in self.runs)
            raise ApiError(f"None of these models generates images: {runs}.", param="model")
        result = await TASKS[request.route.ability](request.route.run, request, on_preview)
        return replace(result, left_out=request.left_out, unknown_words=request.unknown_words)

    def check_mask(self, mask: EditMask) -> None:
        """Raises ApiError for a mask that leaves nothing to generate at the model's size."""
        run = self.first_supporting("complete") or self.runs[0]
        mask.fit_to(run.info, mask.choose_frame(run.info))

    def find_reranker(self, run: LoadedRun, best_of: int) -> CanCaption | None:
        """Return a captioning model for the run's images that knows all of its languages."""
        if best_of < 2:
            return None
        shape = run.info.height, run.info.width, run.info.channels
        for other in self.runs:
            model = other.model
            if not isinstance(model, CanCaption):
                continue
            other_shape = other.info.height, other.info.width, other.info.channels
            languages = run.model.text_tokenizer.languages
            if shape == other_shape and can_rerank(model, languages):
                return model
        return None

    # -- text and vectors -----------------------------------------------------------------------

    async def caption(self, source: UploadedImage, language: str, num_beams: int = 4) -> str | None:
        """Caption an image, in the model's default language if it lacks `language`.

        Return None if no run can.
        """
        run = self.first_supporting("caption")
        if run is None:
            return None
        model: CanCaption = run.model
        if language not in model.text_tokenizer.languages:
            language = model.text_tokenizer.default_language

        def task(rows: Sequence[np.ndarray]) -> Iterator[list[str]]:
            captions = model.caption(Images(np.stack(rows)), language=language, num_beams=num_beams)
            yield [best.text for best, *_ in captions]

        rows = [await work_on_images(source.fit_to, run.info)]
        caption = (await run_task(run, ("caption", language, num_beams), task, rows))[0]
        return clean_text(caption)  # of a model that may be a stranger's

    async def embed(self, sources: Sequence[UploadedImage]) -> tuple[LoadedRun, list[np.ndarray]]:
        """Embed images. Return the run and one vector per image."""
        run = self.require("embed")
        model: CanEmbed = run.model

        def task(rows: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
            yield list(model.embed(Images(np.stack(rows))))

        rows = [await work_on_images(source.fit_to, run.info) for source in sources]
        return run, await run_task(run, "embed", task, rows)


def _choose_frame(
    route: Route | None, source: UploadedImage | None, mask: EditMask | None
) -> Frame | None:
    """Return the part of a source that is read, or that is replaced in a mask."""
    if route is None or source is None or (route.ability not in READING and mask is None):
        return None
    if mask is not None:
        return mask.choose_frame(route.run.info)
    return choose_frame(source.size, (route.run.info.width, route.run.info.height))


def num_progress_steps(request: GenerationRequest) -> int:
    """Return how often the request's previews are updated, the finished images included."""
    model = None if request.route is None else request.route.run.model
    if isinstance(model, CanDraw | CanEdit | CanSampleStream):
        return model.num_progress_steps
    return len(PREVIEW_TEMPERATURES) + 1
