"""Answers over HTTP: the only place that knows requests, status codes and headers."""
