"""The package `journal`."""
