"""Metadata: what an image file says of how it was made, in our own format and in those of other tools."""
