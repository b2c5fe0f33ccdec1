"""The package `pipelines`."""
