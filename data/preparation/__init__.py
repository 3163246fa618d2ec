"""Preparation of datasets: download, verification, and audit for leaked test images."""
