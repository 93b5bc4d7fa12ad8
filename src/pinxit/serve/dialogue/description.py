"""The message after a generated image: what made it, from which words, and which were not read."""

from __future__ import annotations

from pinxit.serve.errors import truncate
from pinxit.serve.inference.requests import GenerationResult


def describe_image(result: GenerationResult) -> str:
    """Return what a user should know of an image that was made for them."""
    name = result.model.name
    made = f"This image was {'edited' if result.action == 'edit' else 'generated'} by {name}"
    if not result.reads_prompt:
        return f"{made}, which reads no prompt."
    sentences = [f"{made} from: {result.prompt_used}"]
    if result.unknown_words:
        sentences.append(f"Not in the training captions: {', '.join(result.unknown_words)}")
    if result.left_out:
        sentences.append(f"Too long for {name}, and left out: {truncate(result.left_out)}")
    return "\n".join(sentences)
