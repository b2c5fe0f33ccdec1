"""The package `models`."""
