"""Code that both stages share: images, datasets, training, scoring, scripts, checkpoints."""
