"""Files: where they lie, written whole, fetched safely, known by their hashes."""
