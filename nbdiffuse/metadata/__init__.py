"""What files say of how they were made, in our own words and in those of other tools."""
