"""The package `safety`."""
