"""Image formats: which file names are read, and what to do about the others.

What Pillow reads is read, with these exceptions: EPS and WMF run another program; PSD files need
not hold the flattened image; Pillow ignores the scale of the values of FITS files; and for GRIB,
BUFR, HDF5 and MPEG it only has stubs. Imports nothing heavy.
"""

from __future__ import annotations

import functools
import os
from importlib.util import find_spec

# Pillow's names, in the order in which they are tried. Formats whose files begin with no signature
# of their own come last.
FORMATS = (
    *("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "HEIF", "JPEG2000", "PPM", "ICO", "CUR"),
    *("ICNS", "DDS", "QOI", "PCX", "DCX", "DIB", "SGI", "SUN", "XBM", "XPM", "MSP", "FLI", "BLP"),
    *("FTEX", "GBR", "PIXAR", "PCD", "IM", "TGA"),
)

_AVIF = (".avif", ".avifs")
_HEIF = (".heic", ".heics", ".heif", ".heifs", ".hif")
_ALWAYS_READ = (
    *(".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".apng"),
    *(".jpe", ".jfif", ".jfi", ".jif", ".pjpeg", ".pjp", ".mpo"),
    # names that websites give to downloads
    *(".jpg_large", ".jpg-large", ".jpg_medium", ".jpg_small", ".jpg_orig", ".jpeg_large"),
    *(".png_large", ".png-large"),
    *(".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".tga", ".icb", ".vda", ".vst"),
    *(".ico", ".cur", ".icns", ".dds", ".qoi", ".pcx", ".dcx", ".dib", ".sgi", ".rgb", ".rgba"),
    *(".bw", ".ras", ".xbm", ".xpm", ".msp", ".fli", ".flc", ".blp", ".ftc", ".ftu", ".gbr"),
    *(".pxr", ".pcd", ".im"),
)


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ImportError:
        return False


CAN_READ_AVIF = _is_installed("PIL._avif")  # Pillow 11.3 and newer
CAN_READ_HEIF = _is_installed("pillow_heif")  # the extra `heic`
# files named HEIC or AVIF may be JPEG: their content decides
SUFFIXES = (*_ALWAYS_READ, *_AVIF, *_HEIF)
# `SUFFIXES` has too many for an error message
READABLE = ".png, .jpg, .webp, .bmp, .gif, .tif and the others that Pillow reads"

HEIF_ADVICE = "install pinxit with the extra `heic` (pip install 'pinxit[heic]')"
AVIF_ADVICE = "update Pillow to 11.3 or newer"
TO_PNG = "convert it to PNG or JPEG"
TO_TIFF = "convert it to 16-bit PNG or TIFF, or to a .npz of arrays"

# suffixes without a dot: what the file is, and what to do
_UNSUPPORTED: tuple[tuple[str, str, str], ...] = (
    ("svg svgz ai cdr eps ps wmf emf", "a vector drawing", "export it as PNG"),
    ("pdf djvu", "a document", "export its pages as PNG"),
    ("psd psb xcf kra clip ora afphoto", "a file of layers", "export it as PNG"),
    ("jxl jxr wdp hdp jls bpg flif", "", TO_PNG),
    (
        "dng nef nrw cr2 cr3 crw arw srf sr2 raf orf rw2 pef srw 3fr x3f dcr kdc mrw erf iiq rwl",
        "a raw camera file",
        "develop it to PNG, TIFF or JPEG",
    ),
    ("exr hdr", "a high dynamic range image", f"{TO_TIFF}, or tone-map it"),
    ("fit fits fts", "an astronomical image", TO_TIFF),
    ("dcm dicom ima", "a medical image", f"{TO_TIFF} (pydicom, dcm2niix)"),
    (
        "nii nii.gz mha mhd nrrd mnc mgz",
        "a medical volume",
        "save its slices as PNG or TIFF, or as a .npz of arrays (nibabel, SimpleITK)",
    ),
    (
        "czi lif nd2 oib oif vsi svs ndpi mrxs scn bif",
        "a microscope file",
        f"{TO_TIFF} (Bio-Formats, tifffile)",
    ),
    (
        "mp4 mov avi mkv webm m4v mpg mpeg wmv flv 3gp",
        "a video",
        "save its frames as images: ffmpeg -i VIDEO %05d.png",
    ),
    ("h5 hdf5 hdf mat grib bufr", "a file of arrays", "save the images as .npz"),
)


@functools.cache
def _reasons_by_suffix() -> dict[str, str]:
    """Return the reason for each suffix that is not read."""
    reasons = {}
    for suffixes, kind, advice in _UNSUPPORTED:
        for suffix in suffixes.split():
            name = suffix.upper() + (f" ({kind})" if kind else "")
            reasons[f".{suffix}"] = f"{name} is not supported; {advice}"
    return reasons


def describe_unsupported(name: str) -> str:
    """Return why a file with this name cannot be read: an unsupported image format, or ""."""
    stem, suffix = os.path.splitext(name.lower())  # noqa: PTH122 (faster, for millions of files)
    if suffix == ".gz":
        suffix = os.path.splitext(stem)[1] + suffix  # noqa: PTH122
    return _reasons_by_suffix().get(suffix, "")
