"""Engine: runs one complete recipe, or several in one denoising loop."""
