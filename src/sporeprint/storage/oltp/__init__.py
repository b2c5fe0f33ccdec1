"""The package `oltp`."""
