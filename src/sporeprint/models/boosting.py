"""XGBoost over batches of rows: in one process, or in several that add up their histograms by its collective."""

import json
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from sporeprint.errors import ConfigError, nearest
from sporeprint.models.encoded_rows import EncodedRows
from sporeprint.models.encoder import Matrix
from sporeprint.settings import ModelSettings

#: What XGBoost learns. Another objective gives no probability of a class.
OBJECTIVE = "binary:logistic"
BOOSTERS = ("gbtree", "dart")
#: What an error of XGBoost's names where another process is gone: the folder of its source.
COLLECTIVE = "/collective/"


@dataclass(frozen=True)
class BoostedTrees:
    """What XGBoost made: the booster, and how many rounds of it are kept."""

    booster: Any
    rounds: int


@dataclass(frozen=True)
class Boosting:
    """Fits XGBoost on the batches of this process, and of all others of its collective, where there is one.

    Attributes:
        model: what to fit.
        stop: the rows that tell when to stop, the same in every process; without any all rounds are made.
        bins_of: the rows whose values the bins are made of, the same in every process, so that how rows are shared out changes no bin;
            None: all rows that are fitted on, which are in this process.
        seed: of everything random.
        threads: of a process that is alone; of several each has one.
        each_round: called with 1 after every boosting round of a process that is alone.
    """

    model: ModelSettings
    stop: EncodedRows
    bins_of: EncodedRows | None
    seed: int
    threads: int
    each_round: Callable[[int], None] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Nobody looks at the rounds of another process."""
        return type(self), (self.model, self.stop, self.bins_of, self.seed, self.threads)

    def __call__(self, batches: Iterable[EncodedRows]) -> BoostedTrees:
        """Fit.

        Raises:
            ConfigError: XGBoost does not take the parameters.
            XGBoostError: another process of the collective was lost.
        """
        import xgboost as xgb

        class Batches(xgb.DataIter):
            """The rows as XGBoost asks for them, several times: it keeps a byte of each value."""

            def reset(self) -> None:
                self.batches = iter(batches)

            def next(self, input_data: Any) -> bool:
                rows = next(self.batches, None)
                if rows is not None:
                    input_data(data=rows.X, label=rows.y)
                return rows is not None

        class Round(xgb.callback.TrainingCallback):
            def after_iteration(inner, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ARG002, N805  # xgboost's signature
                if self.each_round is not None:
                    self.each_round(1)
                return False

        model, stop = self.model, self.stop
        threads = 1 if xgb.collective.is_distributed() else self.threads
        params = {
            "objective": OBJECTIVE,
            "eval_metric": "logloss",
            "tree_method": "hist",
            "seed": self.seed,
            "nthread": threads,
            "verbosity": 0,
            **model.params,
        }
        _refuse_unservable(params)
        patience = model.early_stopping_rounds if len(stop.y) else None
        bins = {"max_bin": model.params["max_bin"]} if "max_bin" in model.params else {}
        try:
            reference = None if self.bins_of is None else _alone(lambda X: xgb.QuantileDMatrix(X, nthread=threads, **bins), self.bins_of.X)
            data = xgb.QuantileDMatrix(Batches(), ref=reference, nthread=threads, **bins)
            _refuse_unused(params, data)
            watch = []
            if patience:
                # Weighed as the training rows are: else the loss grows from the first round on, and boosting stops at once.
                weights = np.where(stop.y == 1, float(model.params.get("scale_pos_weight", 1.0)), 1.0)
                watch = [(xgb.QuantileDMatrix(stop.X, stop.y, weight=weights, ref=data, nthread=threads, **bins), "stop")]
            booster = xgb.train(
                params,
                data,
                model.rounds,
                evals=watch,
                early_stopping_rounds=patience,
                verbose_eval=False,
                callbacks=[Round()],
            )
            rounds = booster.best_iteration + 1 if patience else booster.num_boosted_rounds()
            return BoostedTrees(booster[:rounds], rounds)
        except (xgb.core.XGBoostError, TypeError, ValueError) as error:
            if COLLECTIVE in str(error):
                raise
            raise ConfigError(f"xgboost refuses the parameters {model.params}: {message_of(error)}") from error


def _alone(make: Callable[[Matrix], Any], X: Matrix) -> Any:
    """What a function makes outside of this process's collective, which belongs to the thread: in it, bins would be merged."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(make, X).result()


def _refuse_unservable(params: Mapping[str, Any]) -> None:
    if params["objective"] != OBJECTIVE:
        raise ConfigError(f"xgboost with objective {params['objective']!r} gives no probability of a class; leave it at {OBJECTIVE}")
    if params.get("booster", "gbtree") not in BOOSTERS:
        raise ConfigError(f"xgboost with booster {params['booster']!r} cannot be served; expected one of {', '.join(BOOSTERS)}")


def _refuse_unused(params: Mapping[str, Any], data: Any) -> None:
    """XGBoost only warns of a parameter that it does not know, or that does nothing beside the others."""
    import xgboost as xgb

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        config = xgb.Booster({**params, "verbosity": 1}, cache=[data]).save_config()
    for entry in caught:
        if "are not used" in str(entry.message):
            wrong = str(entry.message).split('"')[1]
            raise ConfigError(f"xgboost has no use for the parameter {wrong!r}{nearest(wrong, _keys(json.loads(config)))}")


def _keys(config: Mapping[str, Any]) -> set[str]:
    """The names of all parameters in XGBoost's nested configuration."""
    inner = (_keys(value) for value in config.values() if isinstance(value, dict))
    return {key for key, value in config.items() if isinstance(value, str)}.union(*inner)


def message_of(error: Exception) -> str:
    """What an estimator's error says, without where in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith(("Stack trace", "  ["))]
    # XGBoost begins with the time, the place in its source and the condition that failed.
    return re.sub(r"^\[[\d:]+\] \S+: (Check failed: .*?: )?", "", lines[0]) if lines else type(error).__name__
