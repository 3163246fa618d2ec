"""Simulated thin clouds, and the opacity of real ones."""
