"""Training: the step, the state, the folder of a run."""
