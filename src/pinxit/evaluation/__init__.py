"""How good a model is: likelihood, latents, reconstruction, sharpness and distances."""
