"""What `benchmarks/speed.py` measures, a module for each of its sections."""
