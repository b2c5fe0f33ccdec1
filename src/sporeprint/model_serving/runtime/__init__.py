"""The package `runtime`."""
