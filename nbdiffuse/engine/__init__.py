"""The engine: one complete recipe, or several through one denoising loop."""
