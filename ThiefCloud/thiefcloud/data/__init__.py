"""Images of ThiefCloud: options, datasets, training batches."""
