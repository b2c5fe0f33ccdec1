"""The package `endpoints`."""
