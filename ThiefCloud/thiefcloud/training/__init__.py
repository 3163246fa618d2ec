"""Training of ThiefCloud: losses, phases, options."""
