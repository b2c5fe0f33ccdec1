"""Libraries that an installation may lack: loaded when first used; where one is missing, the error says what to install."""

import importlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from types import ModuleType
from typing import Any

from sporeprint.errors import MissingExtraError

#: Library, as it is imported -> the extra that brings it.
EXTRAS = {
    "apprise": "alerts",
    "distributed": "dask",
    "duckdb": "train",
    "fastapi": "serve",
    "httpx": "serve",
    "joblib": "train",
    "mlflow": "mlflow",
    "onnx": "train",
    "onnxruntime": "serve",
    "openlineage": "openlineage",
    "opentelemetry": "otel",
    "prometheus_client": "serve",
    "pyarrow": "train",
    "pyspark": "spark",
    "scipy": "train",
    "skl2onnx": "train",
    "sklearn": "train",
    "skops": "skops",
    "uvicorn": "serve",
    "xgboost": "train",
}


_left_out: dict[str, tuple[str, ...]] = {}


def leave_out(library: str, *others: str) -> None:
    """Let a library be imported, with the first look into it, as if others that it only uses if they are there were not.

    For a process that runs one command and knows that it needs none of what they add: XGBoost spends a second and 100 MiB
    on pandas and scikit-learn to offer classes beside its own.
    """
    _left_out[library] = others


@contextmanager
def _hidden(libraries: Iterable[str]) -> Iterator[None]:
    """Without those libraries that are not loaded yet."""
    hidden = [name for name in libraries if name not in sys.modules]
    # None marks a module that cannot be imported.
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # the documented way
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


class Lazy:
    """A module that is imported with the first look into it."""

    def __init__(self, name: str) -> None:
        self.__name = name

    @cached_property
    def __module(self) -> ModuleType:
        try:
            with _hidden(_left_out.get(self.__name, ())):
                return importlib.import_module(self.__name)
        except ModuleNotFoundError as error:
            raise missing(error) or error from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__module, name)


def has(library: str) -> bool:
    """Whether a library is installed."""
    try:
        return importlib.util.find_spec(library) is not None
    except ModuleNotFoundError:
        return False


def missing(error: ModuleNotFoundError) -> MissingExtraError | None:
    """What is to be installed; None where the module belongs to no extra."""
    library = (error.name or "").partition(".")[0]
    extra = EXTRAS.get(library)
    if extra is None:
        return None
    return MissingExtraError(f"this needs {library}, which is not installed here; install it with: pip install 'sporeprint[{extra}]'")
