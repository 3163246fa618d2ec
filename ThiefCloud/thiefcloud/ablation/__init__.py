"""What the cloud prior is worth: the same training with and without it, over folds of a data set, and the differences."""
