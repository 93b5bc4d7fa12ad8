"""Which texts of loaded images are used: captions from labels, languages, keywords as captions."""

from __future__ import annotations

from pinxit.data.caption_languages import select_languages
from pinxit.data.images import Images
from pinxit.data.keywords import caption_by_keywords
from pinxit.data.label_captions import captions_from_labels
from pinxit.data.load_options import LoadOptions


def finish_texts(images: Images, options: LoadOptions) -> Images:
    """Return the images with the captions and languages that the options say."""
    if options.captions is not None:
        file = None if options.captions == "labels" else options.captions
        images = captions_from_labels(images, file)
    if options.languages is not None:
        images = select_languages(images, options.languages)
    return caption_by_keywords(images)
