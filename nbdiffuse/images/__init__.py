"""Images: pictures as values, read from anything, fitted to a size, compared, and laid out on sheets."""
