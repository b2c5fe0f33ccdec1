"""The package `reports`."""
