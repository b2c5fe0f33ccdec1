"""The package `common`."""
