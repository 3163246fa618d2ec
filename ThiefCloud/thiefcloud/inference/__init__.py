"""Use of trained networks: files of weights, and images restored with them."""
