"""The network of SCPM."""
