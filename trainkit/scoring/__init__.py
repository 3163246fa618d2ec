"""Scores of restored images: metrics, the protocols of the field, and intervals of the means."""
