"""Search for seams at the edges of tiles, for benchmarks/seams.py."""
