"""A registered version behind MLflow's interface for Python functions: a pandas frame in, a pandas frame out.

MLflow imports this module by its name, which stands in the MLmodel file of an exported version.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sporeprint.inference.model_bundle import Bundle

#: Column of an answer -> its type in MLflow's signature.
OUTPUTS: Mapping[str, str] = {
    "verdict": "string",
    "probability": "double",
    "prediction": "string",
    "novelty_p": "double",
    "unseen": "string",
    "outside": "string",
    "reason": "string",
    "unknown": "string",
    "look_at": "string",
}


class MlflowModel:
    """One version. MLflow calls `predict`."""

    def __init__(self, bundle: "Bundle") -> None:
        self.bundle = bundle

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> Any:  # noqa: ARG002 -- MLflow's signature
        """Answer the rows of a pandas frame.

        Args:
            model_input: n rows; a column of the schema that is not there is missing in every row.
            params: there are none.

        Returns:
            A pandas frame of n rows with the columns of `OUTPUTS`; `verdict` is what to rely on.
        """
        import pandas as pd  # type: ignore[import-untyped]  # its stubs are not needed for one call

        from sporeprint.pipelines.batch_prediction import score_frame

        frame = score_frame(_features(model_input, self.bundle), self.bundle)
        # Not `to_pandas`, which needs PyArrow.
        return pd.DataFrame(frame.select(list(OUTPUTS)).to_dict(as_series=False))


def _features(model_input: Any, bundle: "Bundle") -> Any:
    import narwhals as nw
    import polars as pl

    table = nw.from_native(model_input, eager_only=True)
    frame: pl.DataFrame = table.select([name for name in bundle.schema.columns if name in table.columns]).to_polars()
    absent = [pl.lit(None, dtype=pl.String).alias(name) for name in bundle.schema.columns if name not in frame.columns]
    return frame.with_columns(pl.col(pl.Float32, pl.Float64).fill_nan(None), *absent)


def _load_pyfunc(data_path: str) -> MlflowModel:
    """What MLflow calls with the folder `registry` of an exported model, which holds one version."""
    from sporeprint.registry.registry import Registry
    from sporeprint.registry.version_files import read_bundle

    registry = Registry(Path(data_path))
    (name,) = registry.names()
    (version,) = registry.versions(name)
    return MlflowModel(read_bundle(registry.resolve(f"{name}/v{version}")))
