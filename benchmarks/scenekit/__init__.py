"""Cost of whole scenes, for benchmarks/scenes.py."""
