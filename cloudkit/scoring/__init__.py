"""How good a restored image is: metrics, the protocols under which the field publishes them, and their uncertainty."""
