"""The package `cli`."""
