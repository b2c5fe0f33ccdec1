"""The package `warehouse`."""
