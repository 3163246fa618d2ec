"""What both stages share: image files, data sets, batches, metrics, checkpoints, the training step, processes."""
