"""The package `http`."""
