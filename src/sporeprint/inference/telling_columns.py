"""Which columns say most about a row, by the model's own attributions."""

import numpy as np

from sporeprint.errors import MissingExtraError
from sporeprint.inference.attributions import Explainer
from sporeprint.inference.model_bundle import Bundle


def telling_columns(bundle: Bundle) -> tuple[str, ...]:
    """The columns, the most important first: mean absolute attribution (SHAP) over the golden rows.

    In the schema's order where the model cannot be explained, or not with what is installed here.
    """
    columns = tuple(bundle.schema.columns)
    if not bundle.golden.rows:
        return columns
    matrix = np.stack([bundle.encoder.encode_row(row) for row in bundle.golden.rows])
    try:
        moved = Explainer.from_files(bundle.parts).contributions(matrix, bundle.scorer)
    except (MissingExtraError, ModuleNotFoundError):
        return columns
    if moved is None:
        return columns
    importance = dict.fromkeys(columns, 0.0)
    for source, effect in zip(bundle.encoder.sources, np.abs(moved[0]).mean(axis=0).tolist(), strict=True):
        importance[source] += effect
    return tuple(sorted(columns, key=lambda name: -importance[name]))
