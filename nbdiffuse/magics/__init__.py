"""Magics: `%%img2img`, `%%txt2img`, `%%chain`, `%%loopback` and `%diffuse`."""
