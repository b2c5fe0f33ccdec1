"""The package `data`."""
