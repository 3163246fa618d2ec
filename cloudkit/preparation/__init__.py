"""Data sets before they are used: fetched, unpacked, verified, searched for leakage from training into test."""
