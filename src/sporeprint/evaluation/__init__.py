"""The package `evaluation`."""
