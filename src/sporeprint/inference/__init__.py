"""The package `inference`."""
