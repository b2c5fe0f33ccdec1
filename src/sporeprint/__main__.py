"""`python -m sporeprint`: the command line."""

from sporeprint.cli.app import main

main()
