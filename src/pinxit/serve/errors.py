"""Errors as OpenAI's clients read them: `{"error": {message, type, param, code}}`."""

from __future__ import annotations

from typing import Any

SHOWN = 100  # characters of what was sent that an error may repeat


class Refusal(Exception):
    """A request that is not done, with the status and fields of its answer."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code
        self.headers = headers or {}

    @property
    def body(self) -> dict[str, Any]:
        return error_body(self.status, str(self), self.param, self.code)


def error_body(
    status: int, message: str, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """The JSON of an error: its four keys are always there."""
    kind = "invalid_request_error"
    if status == 429:
        kind = "rate_limit_error"
    elif status >= 500:
        kind = "server_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def short(value: object) -> str:
    """What was sent, cut to what an error may repeat, without what a terminal would obey."""
    text = str(value)
    text = "".join(c if c.isprintable() else " " for c in text[: SHOWN + 1])
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def unknown_model(name: str, known: list[str]) -> Refusal:
    """404, with what there is."""
    return Refusal(
        f"there is no model '{short(name)}' here; there are: {', '.join(known)}.",
        status=404,
        param="model",
        code="model_not_found",
    )


def busy(seconds: int = 1) -> Refusal:
    """429: as many requests as may wait are waiting."""
    return Refusal(
        "as many requests as may wait are waiting; try again in a moment.",
        status=429,
        code="rate_limit_exceeded",
        headers={"Retry-After": str(seconds)},
    )
