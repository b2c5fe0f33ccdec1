"""The package `simulation`."""
