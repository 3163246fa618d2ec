"""Scripts: options from the command line, and checks of them."""
