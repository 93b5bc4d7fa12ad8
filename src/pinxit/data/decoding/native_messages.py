"""Silence what image libraries print to stderr past Python: a skipped image has its reason.

libtiff prints its errors and warnings unless its handlers are removed; Pillow has no function for
that, so that the library it loaded is opened again.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import logging
from pathlib import Path


@functools.cache
def silence_native_messages() -> None:
    """Remove the message handlers of Pillow's libtiff and of Pillow's and tifffile's loggers."""
    for name in ("PIL", "tifffile"):
        logging.getLogger(name).addHandler(logging.NullHandler())
        logging.getLogger(name).propagate = False
    for library in _list_libtiffs():
        try:
            libtiff = ctypes.CDLL(library)
            for handler in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
                getattr(libtiff, handler).argtypes = [ctypes.c_void_p]
                getattr(libtiff, handler)(None)
        except (OSError, AttributeError):  # another build of Pillow: its messages stay
            continue


def _list_libtiffs() -> list[str]:
    """Return the libtiff in Pillow's wheel, or else that of the system."""
    import PIL

    package = Path(PIL.__file__).parent
    folders = [package.parent / "pillow.libs", package / ".dylibs"]
    found = [str(file) for folder in folders for file in folder.glob("libtiff*")]
    system = ctypes.util.find_library("tiff") if not found else None
    return found + ([system] if system else [])
