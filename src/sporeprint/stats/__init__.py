"""Statistics: pure functions over arrays and counts. Knows no file, clock, environment or database."""
