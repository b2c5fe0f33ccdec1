"""The package `ingestion`."""
