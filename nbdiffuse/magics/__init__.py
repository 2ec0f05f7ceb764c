"""The magics: `%%img2img`, `%%txt2img` and `%diffuse`."""
