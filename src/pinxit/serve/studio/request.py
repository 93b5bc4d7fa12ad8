"""The request of a tab for images."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StrictInt, StrictStr

from pinxit.serve.schemas import Prompt, RequestSeed, Scale, Schema

Task = Literal["sample", "draw", "edit", "complete"]


class StudioRequest(Schema):
    """Images that a tab of the page asks for."""

    run: StrictStr
    task: Task
    prompt: Prompt = ""  # of draw and edit
    label: StrictStr = ""  # of sample
    language: StrictStr | None = None  # of the prompt; None: detected
    n: Annotated[StrictInt, Field(ge=1, le=64)] = 1
    start: Annotated[StrictInt, Field(ge=0, le=2**31)] = 0
    seed: RequestSeed = 0
    temperature: Scale | None = None
    guidance: Scale | None = None
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    best_of: Annotated[StrictInt, Field(ge=1, le=16)] | None = None
    image: StrictStr = ""  # a data URL, of edit and complete
    mask: StrictStr = ""  # a data URL, of complete

    @property
    def options(self) -> dict[str, Any]:
        """The options of generation that are set."""
        names = {"temperature", "guidance", "top_p", "best_of"}
        return self.model_dump(include=names, exclude_none=True)
