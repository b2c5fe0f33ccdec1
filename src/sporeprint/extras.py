"""Libraries that an installation may lack: loaded when first used; where one is missing, the error says what to install."""

import importlib
import importlib.util
from functools import cached_property
from types import ModuleType
from typing import Any

from sporeprint.errors import MissingExtraError

#: Library, as it is imported -> the extra that brings it.
EXTRAS = {
    "apprise": "alerts",
    "duckdb": "train",
    "fastapi": "serve",
    "httpx": "serve",
    "joblib": "train",
    "matplotlib": "train",
    "onnx": "train",
    "onnxruntime": "serve",
    "prometheus_client": "serve",
    "pyarrow": "train",
    "scipy": "train",
    "skl2onnx": "train",
    "sklearn": "train",
    "uvicorn": "serve",
    "xgboost": "train",
}


class Lazy:
    """A module that is imported with the first look into it."""

    def __init__(self, name: str) -> None:
        self.__name = name

    @cached_property
    def __module(self) -> ModuleType:
        try:
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
