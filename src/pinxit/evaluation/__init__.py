"""How good a model is: likelihood, latents, reconstruction, sharpness and distances."""

from pinxit.evaluation.assessment import evaluate

__all__ = ["evaluate"]
