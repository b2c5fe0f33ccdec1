"""Scores for rows of groups that a model never saw: everything is fitted anew without them, fold by fold.

By the same recipe as the model that is released: on the other groups' rows of the `train` part, stopped by those of
`early_stop`. So the two evaluations differ in nothing but the groups.
"""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from sporeprint import train, transform
from sporeprint.observations import Observations
from sporeprint.schema import DatasetSchema
from sporeprint.settings import ModelSettings, TransformSettings

Scores = npt.NDArray[np.float64]


def held_out_scores(
    table: Observations,
    fold: npt.NDArray[np.int64],
    learn: npt.NDArray[np.bool_],
    stop: npt.NDArray[np.bool_],
    models: Mapping[str, ModelSettings],
    settings: TransformSettings,
    schema: DatasetSchema,
    *,
    seed: int,
    threads: int,
    each_fit: Callable[[str], None] = lambda _: None,
) -> dict[str, Scores]:
    """Score every row by models that were fitted without its fold.

    Args:
        table: n rows.
        fold: int [n], the fold of each row; whole groups share one.
        learn: bool [n], rows to fit on where they are not held out.
        stop: bool [n], rows that tell XGBoost when to stop where they are not held out.
        models: what to fit.
        settings: how columns are encoded; the encoder too is fitted without the fold.
        schema: the contract.
        seed: seed of every fit.
        threads: threads of a fit.
        each_fit: called with the model's name after every fit.

    Returns:
        model -> float64 [n], P(positive).
    """
    scores = {name: np.empty(len(fold), dtype=np.float64) for name in models}
    for number in np.unique(fold):
        out = fold == number
        mine, watch = learn & ~out, stop & ~out
        learn_codes, watch_codes, out_codes = (table.codes.take(rows) for rows in (mine, watch, out))
        for name, model in models.items():
            encoder = transform.fit(learn_codes, table.y[mine], transform.choices(settings, model, schema))
            fitted = train.fit(
                model,
                train.Encoded(encoder.matrix(learn_codes), table.y[mine]),
                train.Encoded(encoder.matrix(watch_codes), table.y[watch]),
                seed=seed,
                threads=threads,
            )
            scores[name][out] = fitted.score(encoder.matrix(out_codes))
            each_fit(name)
    return scores
