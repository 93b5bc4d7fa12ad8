"""Files on other machines, by `fsspec`: with time limits, and a few attempts."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pinxit.errors import PinxitError, UsageError
from pinxit.extras import require_extra

CONNECT_SECONDS = 10.0  # until a server answers
READ_SECONDS = 30.0  # without a byte
WAITS = (1.0, 2.0, 4.0)  # seconds before each further attempt

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*)://.", re.ASCII)
_EXTRAS = {
    **dict.fromkeys(("http", "https"), "remote"),
    **dict.fromkeys(("s3", "s3a"), "s3"),
    **dict.fromkeys(("gs", "gcs"), "gs"),
    "hf": "hub",
}
_CREDENTIALS = {
    "s3": "AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "hub": "HF_TOKEN, or run hf auth login",
    "remote": "a link that needs no password",
}
_FINAL = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError, ValueError)

T = TypeVar("T")


class Found(NamedTuple):
    """A file on another machine."""

    address: str
    size: int | None
    version: str  # changes with the content: an ETag, a checksum or a time; "" if unknown


def is_remote(data: str) -> bool:
    """Return whether DATA is an address such as `s3://bucket/name`."""
    return _ADDRESS.match(data) is not None


def scheme_of(address: str) -> str:
    """Return the part of an address before `://`."""
    return address.partition("://")[0]


def open_filesystem(address: str) -> Any:
    """Return fsspec's file system of an address.

    Raises MissingExtraError if a package is missing, UsageError for an unknown scheme.
    """
    scheme = scheme_of(address)
    if scheme in _EXTRAS:
        require_extra(_EXTRAS[scheme], f"reading {scheme}:// addresses")
    import fsspec  # 0.1 s, and aiohttp more

    try:
        return fsspec.filesystem(scheme, **_options(scheme))
    except (ImportError, ValueError) as error:
        raise UsageError(
            f"{address}: {str(error).splitlines()[0]}\n"
            "Addresses of shards begin with s3://, gs://, hf://, https:// or http://."
        ) from None


def _options(scheme: str) -> dict[str, Any]:
    """Return options of a file system that bound how long it waits."""
    if scheme in ("http", "https"):
        import aiohttp

        limit = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS
        )
        return {"client_kwargs": {"timeout": limit, "trust_env": True}}
    if scheme in ("s3", "s3a"):
        limits = {"connect_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS}
        return {"config_kwargs": limits, "use_listings_cache": False}
    return {}


def find_remote(pattern: str) -> list[Found]:
    """Return the files that match a pattern with `*`, or that a folder holds, sorted."""

    def find(system: Any) -> dict[str, Any]:
        has_magic = any(mark in pattern for mark in "*?[")
        listing = system.glob if has_magic else system.find
        return listing(pattern, detail=True)

    found = _attempt(pattern, find)
    scheme = scheme_of(pattern)
    files = []
    for name, info in found.items():
        if info.get("type") != "directory":
            address = name if is_remote(name) else f"{scheme}://{name.lstrip('/')}"
            files.append(Found(address, info.get("size"), _version_of(info)))
    return sorted(files)


def describe_remote(address: str) -> Found:
    """Return size and version of a file. Raises PinxitError if there is none."""
    info = _attempt(address, lambda system: system.info(address))
    return Found(address, info.get("size"), _version_of(info))


def read_remote(address: str) -> bytes | None:
    """Return the content of a small file, None if there is none."""
    try:
        return _attempt(address, lambda system: system.cat_file(address))
    except MissingRemoteError:
        return None


def download(address: str, to: Path, size: int | None) -> None:
    """Write the content of a file to a local one.

    Raises PinxitError if it cannot be read, and if another number of bytes than `size` comes.
    """

    def get(system: Any) -> None:
        system.get_file(address, os.fspath(to))
        received = to.stat().st_size
        if size is not None and received != size:
            raise ConnectionError(f"{received:,} of {size:,} bytes came")

    _attempt(address, get)


class MissingRemoteError(PinxitError):
    """There is nothing at an address."""


def _attempt(address: str, action: Callable[[Any], T]) -> T:
    """Do something with the file system of an address, again after errors of the network."""
    system = open_filesystem(address)
    for wait in (*WAITS, None):
        try:
            return action(system)
        except PinxitError:
            raise
        except Exception as error:  # each of several libraries has its own exceptions
            if wait is None or _is_final(error):
                raise _explain(address, error) from None
            time.sleep(wait)
    raise AssertionError("the last attempt returns or raises")


def _status_of(error: BaseException) -> int | None:
    """Return the HTTP status of an error, of whichever library."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore
        return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    for owner in (error, response):
        for name in ("status", "status_code", "code"):
            value = getattr(owner, name, None)
            if isinstance(value, int):
                return value
    return None


def _is_final(error: BaseException) -> bool:
    status = _status_of(error)
    refused = status is not None and 400 <= status < 500 and status not in (408, 429)
    return refused or isinstance(error, _FINAL) or "Credentials" in type(error).__name__


def _explain(address: str, error: BaseException) -> PinxitError:
    status = _status_of(error)
    if isinstance(error, FileNotFoundError) or status == 404:
        return MissingRemoteError(f"{address} does not exist.\nCheck the bucket and the path.")
    is_refused = isinstance(error, PermissionError) or "Credentials" in type(error).__name__
    if is_refused or status in (401, 403):
        keys = _CREDENTIALS.get(_EXTRAS.get(scheme_of(address), ""), "its credentials")
        number = f" (status {status})" if status else ""
        return PinxitError(f"{address} refuses access{number}.\nGive {keys}.")
    lines = str(error).splitlines()
    reason = lines[0].rstrip(".") if lines else ""
    if isinstance(error, TimeoutError):
        reason = f"nothing came for {READ_SECONDS:g} s"
    attempts = "" if _is_final(error) else f", in {len(WAITS) + 1} attempts"
    return PinxitError(
        f"{address} cannot be read{attempts}: {reason or type(error).__name__}.\n"
        "Check the address and the network, then start the same command again; a training goes on "
        "with --resume."
    )


def _version_of(info: dict[str, Any]) -> str:
    """Return what a listing says about the content of a file."""
    names = ("ETag", "etag", "Content-MD5", "Digest", "md5Hash", "crc32c", "blob_id")
    names += ("mtime", "LastModified", "last_modified", "updated", "created")
    value = next((info[name] for name in names if info.get(name)), "")
    return str(value)
