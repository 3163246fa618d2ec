"""Measurements of `benchmarks/speed.py`, one module for each section."""
