"""The package `registry`."""
