"""From a table of labelled observations to a classifier people can trust."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("sporeprint")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
