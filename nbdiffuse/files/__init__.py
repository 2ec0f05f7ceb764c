"""Files: paths, writes that are whole or not at all, safe downloads, and hashes."""
