"""Pictures as values: taken in from anything, fitted, compared, and laid out on sheets."""
