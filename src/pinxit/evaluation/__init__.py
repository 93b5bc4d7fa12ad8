"""How good a model is: likelihood, latents, reconstruction, sharpness and distances."""

from pinxit.evaluation.runner import evaluate

__all__ = ["evaluate"]
