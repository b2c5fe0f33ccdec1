"""From a table of labelled observations to a classifier people can trust.

Every name is imported when it is first used, so that `import sporeprint` takes no time and loads no library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names, for editors and type checkers
    from sporeprint.ab_testing.design import Design
    from sporeprint.ab_testing.power import AssumedRates, plan_ab_test
    from sporeprint.ab_testing.simulation import simulate_ab_test
    from sporeprint.client import AsyncClient, Client
    from sporeprint.errors import SporeprintError
    from sporeprint.inference.model import Model
    from sporeprint.inference.sklearn_estimator import SporeprintClassifier
    from sporeprint.pipelines.etl import run_etl as etl
    from sporeprint.pipelines.fit import fit
    from sporeprint.pipelines.results import EtlResult
    from sporeprint.pipelines.run import Run, load_run
    from sporeprint.registry.loading import load
    from sporeprint.registry.registry import Registry
    from sporeprint.schema import DatasetSchema
    from sporeprint.settings import Settings, load_settings
    from sporeprint.simulation.generator import simulate_table

    __version__: str

__all__ = [
    "AssumedRates",
    "AsyncClient",
    "Client",
    "DatasetSchema",
    "Design",
    "EtlResult",
    "Model",
    "Registry",
    "Run",
    "Settings",
    "SporeprintClassifier",
    "SporeprintError",
    "__version__",
    "etl",
    "fit",
    "load",
    "load_run",
    "load_settings",
    "plan_ab_test",
    "simulate_ab_test",
    "simulate_table",
]

#: Name -> the module that defines it, and the name there.
_HOMES = {
    "AssumedRates": "ab_testing.power:AssumedRates",
    "AsyncClient": "client:AsyncClient",
    "Client": "client:Client",
    "DatasetSchema": "schema:DatasetSchema",
    "Design": "ab_testing.design:Design",
    "EtlResult": "pipelines.results:EtlResult",
    "Model": "inference.model:Model",
    "Registry": "registry.registry:Registry",
    "Run": "pipelines.run:Run",
    "Settings": "settings:Settings",
    "SporeprintClassifier": "inference.sklearn_estimator:SporeprintClassifier",
    "SporeprintError": "errors:SporeprintError",
    "etl": "pipelines.etl:run_etl",
    "fit": "pipelines.fit:fit",
    "load": "registry.loading:load",
    "load_run": "pipelines.run:load_run",
    "load_settings": "settings:load_settings",
    "plan_ab_test": "ab_testing.power:plan_ab_test",
    "simulate_ab_test": "ab_testing.simulation:simulate_ab_test",
    "simulate_table": "simulation.generator:simulate_table",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("sporeprint")
        except PackageNotFoundError:  # a source tree that was never installed
            return "0+unknown"
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    value = getattr(import_module(f"sporeprint.{module}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
