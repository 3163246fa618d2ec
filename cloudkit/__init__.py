"""Code that every user of weights needs: images, files, checkpoints, scripts."""
