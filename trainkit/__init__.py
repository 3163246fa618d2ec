"""Code that both stages share for training and evaluation: datasets, training, scoring."""
