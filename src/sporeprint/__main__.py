"""`python -m sporeprint`: the command line."""

from sporeprint.cli import main

main()
