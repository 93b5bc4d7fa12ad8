"""The suffixes of the image files that are written. Imports nothing, so that `--help` is fast."""

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
