"""Datasets: pairs, folder layouts, splits, mixtures, whole scenes and training crops."""
