"""Errors in the format of OpenAI's API: `{"error": {message, type, param, code}}`."""

from __future__ import annotations

from typing import Any

MAX_ECHO_CHARS = 100  # characters of a request that an error message may repeat
MAX_MESSAGE_CHARS = 2_000  # of an error
MAX_TEXT_CHARS = 10_000  # of what a model says


# not printable, but harmless: line ends, tabs, spaces and joiners
KEPT_CHARS = "\n\t\u00a0\u00ad\u2009\u202f\u3000\u200b\u200c\u200d"


class ApiError(Exception):
    """An error with its HTTP status, and the request field and code that clients read."""

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


class RequestTooLarge(ApiError):
    """413: the body is larger than `AccessRules.max_body_bytes`; also raised while it is read."""

    def __init__(self, max_bytes: int) -> None:
        message = f"The request is larger than {max_bytes / 2**20:.3g} MiB."
        super().__init__(message, status=413, headers={"Connection": "close"})


def error_body(
    status: int, message: str, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """Return the JSON of an error. All four keys are always present."""
    message = clean_text(message, MAX_MESSAGE_CHARS)
    kind = "invalid_request_error"
    if status == 429:
        kind = "rate_limit_error"
    elif status >= 500:
        kind = "server_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def truncate(value: object, max_chars: int = MAX_ECHO_CHARS) -> str:
    """Shorten a value from a request for an error message, and drop control characters."""
    text = str(value)[: max_chars + 1]
    text = "".join(c if c.isprintable() else " " for c in text)
    return text if len(text) <= max_chars else text[: max_chars - 3] + "..."


def clean_text(text: str, max_chars: int = MAX_TEXT_CHARS) -> str:
    """Return a text that may be a stranger's without what does harm where it is shown.

    Control characters, those that change the direction of text and halves of surrogate pairs become
    U+FFFD, but for line ends and tabs, and joiners of emoji and scripts; a long text is cut off.
    """
    kept = "".join(c if c.isprintable() or c in KEPT_CHARS else "\ufffd" for c in text[:max_chars])
    return kept if len(text) <= max_chars else kept[: max_chars - 3] + "..."


def unknown_model(name: str, known: list[str], param: str = "model") -> ApiError:
    """404: no served run or alias has this name."""
    return ApiError(
        f"The model '{truncate(name)}' does not exist. "
        f"Available: {truncate(', '.join(known), MAX_MESSAGE_CHARS // 2)}.",
        status=404,
        param=param,
        code="model_not_found",
    )


def queue_full(retry_after: int = 1) -> ApiError:
    """429: the model's queue is full."""
    return ApiError(
        f"The queue is full; retry in {retry_after} s.",
        status=429,
        code="rate_limit_exceeded",
        headers={"Retry-After": str(retry_after)},
    )


def broken_model(name: str) -> ApiError:
    """500: the output of a run's model is not finite."""
    message = f"The values of the model '{truncate(name)}' are not finite numbers."
    return ApiError(message, status=500, headers={"x-should-retry": "false"})


def internal_error() -> ApiError:
    """500: an unexpected exception. The log has its details."""
    message = "Internal server error; see the server's log."
    return ApiError(message, status=500, headers={"x-should-retry": "false"})
