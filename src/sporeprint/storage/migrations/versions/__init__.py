"""One module a revision. Written once, and not changed after it was released."""
