"""Magics: `%%img2img`, `%%txt2img`, `%%edit`, `%%chain`, `%%loopback` and `%diffuse`."""
