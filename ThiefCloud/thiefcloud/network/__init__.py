"""The network of ThiefCloud: pure tensors, no files."""
