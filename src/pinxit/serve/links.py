"""Links to files that need no key: signed, and valid for an hour."""

from __future__ import annotations

import hmac
import time
from dataclasses import dataclass

from starlette.requests import Request

from pinxit.serve.errors import ApiError

PREFIX = "/signed/"
VALID_SECONDS = 3_600
MAX_SKEW_SECONDS = 300  # between the clocks of servers on one store


@dataclass(frozen=True)
class FileLinks:
    """Signs and checks links. Servers on the same store have the same secret."""

    secret: bytes
    public_url: str | None = None  # of the server as clients know it, behind a proxy

    def link(self, request: Request, file_id: str) -> str:
        """Return the URL of a file."""
        base = (self.public_url or str(request.base_url)).rstrip("/")
        expires = int(time.time()) + VALID_SECONDS
        return f"{base}{PREFIX}{file_id}?expires={expires}&signature={self._sign(file_id, expires)}"

    def check(self, file_id: str, expires: int, signature: str) -> None:
        """Raises ApiError (403) for a link that is not ours, or too old."""
        if not hmac.compare_digest(signature.encode(), self._sign(file_id, expires).encode()):
            raise ApiError("The signature of this link is wrong.", status=403, param="signature")
        if expires + MAX_SKEW_SECONDS < time.time():
            raise ApiError("This link has expired.", status=403, param="expires")

    def _sign(self, file_id: str, expires: int) -> str:
        return hmac.digest(self.secret, f"{file_id}\n{expires}".encode(), "sha256").hex()
