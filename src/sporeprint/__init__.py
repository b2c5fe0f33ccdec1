"""From a table of labelled observations to a classifier people can trust."""


def __getattr__(name: str) -> str:
    """`__version__`, looked up when it is asked for: the look-up takes longer than the command line's help."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("sporeprint")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0+unknown"
