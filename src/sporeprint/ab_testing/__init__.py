"""A/B tests of two model versions: who gets which, what the totals say, and what follows from it. Pure: no disk, clock or database."""
