"""What a file is, by its first bytes: the reason why it is not read, and what to do."""

from __future__ import annotations

from pinxit.data.formats import (
    AVIF_ADVICE,
    CAN_READ_AVIF,
    CAN_READ_HEIF,
    HEIF_ADVICE,
    TO_PNG,
    TO_TIFF,
)

# of files that Pillow reads if they are intact
_READABLE = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "BigTIFF",
    b"MM\0+": "BigTIFF",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
}
# images that are not supported: what each is, and what to do
_IMAGES = {
    b"\xff\x0a": ("JPEG XL", TO_PNG),
    b"\0\0\0\x0cJXL ": ("JPEG XL", TO_PNG),
    b"II\xbc": ("JPEG XR", TO_PNG),
    b"BPG\xfb": ("BPG", TO_PNG),
    b"8BPS": ("a Photoshop file", "export it as PNG"),
    b"gimp xcf": ("a GIMP file", "export it as PNG"),
    b"%!PS": ("PostScript", "export it as PNG"),
    b"SIMPLE  =": ("FITS", TO_TIFF),
    b"v/1\x01": ("OpenEXR", f"{TO_TIFF}, or tone-map it"),
    b"#?RADIANCE": ("Radiance HDR", f"{TO_TIFF}, or tone-map it"),
}
_OTHERS = {
    b"%PDF": ("a PDF document", "export its pages as PNG"),
    b"\x93NUMPY": ("a NumPy array", "name it *.npy and give it as DATA"),
    b"\x89HDF": ("an HDF5 file", "save the images as .npz"),
    b"\x1a\x45\xdf\xa3": ("a video", "save its frames as images"),
    b"PK\x03\x04": ("a zip archive", "unpack it"),
    b"\x1f\x8b": ("a gzip archive", "unpack it"),
    b"version https://git-lfs": ("a pointer to a file in Git LFS", "run: git lfs pull"),
}
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), ("AVIF", f"{AVIF_ADVICE}, or {TO_PNG}")),
    **dict.fromkeys(
        (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"),
        ("HEIC", f"{HEIF_ADVICE}, or {TO_PNG}"),
    ),
    b"crx ": ("a raw camera file (CR3)", "develop it to PNG, TIFF or JPEG"),
}
_MARKUP = {b"<!doctype html": "a web page", b"<html": "a web page", b"<svg": "SVG"}
_HEAD_BYTES = 1_024


def readable_format(content: bytes) -> str:
    """Return the format of a file that Pillow reads if it is intact, by its first bytes; or ""."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WebP"
    return next((name for start, name in _READABLE.items() if content.startswith(start)), "")


def describe_content(content: bytes) -> str:
    """Return why the content of a file is not read, and what to do."""
    if content[4:8] == b"ftyp":
        kind, advice = _BRANDS.get(content[8:12], ("a video", "save its frames as images"))
        if (kind == "AVIF" and CAN_READ_AVIF) or (kind == "HEIC" and CAN_READ_HEIF):
            return _describe_damaged(kind)
        return f"{kind} is not supported; {advice}"
    if name := readable_format(content):
        return _describe_damaged(name)
    if content[128:132] == b"DICM":
        return f"DICOM is not supported; {TO_TIFF} (pydicom, dcm2niix)"
    if content[344:347] in (b"n+1", b"ni1"):
        return "NIfTI is not supported; save its slices as PNG, or as a .npz of arrays (nibabel)"
    for start, (kind, advice) in _IMAGES.items():
        if content.startswith(start):
            return f"{kind} is not supported; {advice}"
    for start, (kind, advice) in _OTHERS.items():
        if content.startswith(start):
            return f"not an image but {kind}; {advice}"
    return _describe_text(content[:_HEAD_BYTES])


def _describe_damaged(name: str) -> str:
    if "TIFF" in name:
        return f"a {name} of a kind that is not read, or damaged; {TO_TIFF}"
    return f"a damaged {name} file"


def _describe_text(head: bytes) -> str:
    if not head.strip(b"\0"):
        return "not an image: it begins with zeros only; copy it again"
    lower = head.lower()
    for start, name in _MARKUP.items():
        if start in lower:
            advice = "export it as PNG" if name == "SVG" else "download the image again"
            return f"not an image but {name}; {advice}"
    try:
        text = head.decode("utf-8", "strict" if len(head) < _HEAD_BYTES else "ignore")
    except UnicodeDecodeError:
        text = "\0"
    is_text = all(character.isprintable() or character.isspace() for character in text)
    return "not an image but text" if is_text else "not an image, or of an unknown format"
