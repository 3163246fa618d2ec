"""Image files, padding and panels."""
