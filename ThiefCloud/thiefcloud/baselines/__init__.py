"""Other methods, to compare ThiefCloud with."""
