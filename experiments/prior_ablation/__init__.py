"""Ablation of the cloud prior: equal trainings with and without it, and their differences."""
