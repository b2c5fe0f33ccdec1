"""Fits one model: XGBoost, or any scikit-learn classifier that the configuration names."""

import importlib
import inspect
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from sporeprint.common.batches import Batches
from sporeprint.errors import ConfigError, NotServableError, nearest
from sporeprint.models.boosting import Boosting, message_of
from sporeprint.models.encoded_rows import EncodedRows
from sporeprint.models.encoder import Matrix
from sporeprint.models.newton import fit_newton, takes_newton
from sporeprint.models.scorers import Scorer, XGBoostScorer, scorer_from_estimator
from sporeprint.settings import ModelSettings, RuntimeSettings

Scores = npt.NDArray[np.float64]

#: scikit-learn's modules that work in float32 anyway. Everything else is given float64: Newton solvers do not converge in float32.
FLOAT32 = ("sklearn.tree", "sklearn.ensemble")

#: How a note ends of what was fitted on a part of the rows.
SAMPLED = "chosen by hash (runtime.most_rows)"
#: Names of the estimator that is fitted by Newton's method over batches, from how many rows on, and with how many it begins. Fewer
#: rows are scikit-learn's, which stops earlier: what was measured of them stays.
LOGISTIC = ("sklearn.linear_model.LogisticRegression",)
NEWTON_ROWS = START_ROWS = 100_000

#: Bytes of the rows, at the most, that XGBoost's bins are made of where its rows lie in several files.
BIN_BYTES = 12 * 2**20

#: What is said of a boosting that no second round improved.
EARLY_END = "boosting ended after 1 round: no further one lowered the log loss of the early-stopping rows; look at the parameters"


@dataclass(frozen=True)
class FittedModel:
    """A fitted model.

    Attributes:
        score: float32 [n, m] -> float64 [n], P(positive).
        estimator: the booster, or the scikit-learn classifier.
        rounds: boosting rounds kept; None where there are none.
        notes: what the fit warned of, a sentence each.
    """

    score: Callable[[Matrix], Scores]
    estimator: Any
    rounds: int | None
    notes: tuple[str, ...]


class TrainingRows(Batches[EncodedRows], Protocol):
    """Encoded training rows, in memory (`EncodedRows`) or in batches where they lie."""

    @property
    def count(self) -> int: ...  # noqa: D102

    def sample(self, most: int) -> EncodedRows: ...  # noqa: D102


def fit_model(
    model: ModelSettings,
    train: TrainingRows,
    stop: EncodedRows,
    *,
    seed: int,
    threads: int,
    most_rows: int = RuntimeSettings().most_rows,
    each_round: Callable[[int], None] = lambda _: None,
) -> FittedModel:
    """Fit a model.

    Args:
        model: what to fit.
        train: the rows to fit on.
        stop: the rows that tell XGBoost when to stop; without any it makes all its rounds. Other estimators do not see them.
        seed: seed of everything random.
        threads: threads the fit may use.
        most_rows: rows that an estimator is fitted on which has to hold them in memory; a note says where there are more.
        each_round: called with 1 after every boosting round.

    Raises:
        ConfigError: if the estimator does not exist, is no classifier, or does not take the parameters.
    """
    if model.estimator == "xgboost":
        return _fit_xgboost(model, train, stop, seed=seed, threads=threads, each_round=each_round)
    if train.count > min(NEWTON_ROWS, most_rows) and model.estimator in LOGISTIC and takes_newton(model.params):
        return _fit_newton(model, train, seed=seed, threads=threads)
    fitted = _fit_sklearn(model, rows := train.sample(most_rows), seed=seed, threads=threads)
    if rows.count == train.count:
        return fitted
    note = f"fitted on {rows.count:,} of {train.count:,} training rows, {SAMPLED}"
    return replace(fitted, notes=(*fitted.notes, note))


def importance(fitted: FittedModel, X: Matrix, sources: Sequence[str]) -> dict[str, float]:
    """Each dataset column's share of what the model uses, adding up to 1.

    XGBoost: total gain. Trees and forests: impurity decrease. Linear models: |coefficient| times the feature's standard
    deviation. Other estimators say nothing of it: an empty dict.

    Args:
        fitted: the model.
        X: float32 [n, m], rows for the standard deviations.
        sources: the dataset column of each of the m features.
    """
    estimator = fitted.estimator
    if fitted.rounds is not None:
        gains = estimator.get_score(importance_type="total_gain")
        weights = np.array([gains.get(f"f{number}", 0.0) for number in range(len(sources))])
    elif hasattr(estimator, "feature_importances_"):
        weights = np.asarray(estimator.feature_importances_)
    elif hasattr(estimator, "coef_"):
        weights = np.abs(np.ravel(estimator.coef_)) * X.std(axis=0)
    else:
        return {}
    shares: dict[str, float] = dict.fromkeys(sources, 0.0)
    for source, weight in zip(sources, weights.tolist(), strict=True):
        shares[source] += weight / (float(weights.sum()) or 1.0)
    return shares


def to_scorer(fitted: FittedModel, sample: Matrix, *, threads: int) -> Scorer:
    """The fitted model in the form that is served.

    Args:
        fitted: the model.
        sample: float32 [n, m], rows on which the served scores are held against the estimator's.
        threads: threads for scoring.

    Raises:
        NotServableError: with the reason, if there is no such form.
    """
    if fitted.rounds is not None:
        return XGBoostScorer.of(fitted.estimator, threads=threads)
    if not callable(getattr(fitted.estimator, "predict_proba", None)):
        raise NotServableError(f"{type(fitted.estimator).__name__} gives no probabilities")
    return scorer_from_estimator(fitted.estimator, sample.shape[1], sample)


def _fit_xgboost(
    model: ModelSettings, train: TrainingRows, stop: EncodedRows, *, seed: int, threads: int, each_round: Callable[[int], None]
) -> FittedModel:
    import xgboost as xgb

    # Rows in memory are all in one process. Others may be in several, and a small sample of them goes to each.
    bins_of = None if isinstance(train, EncodedRows) else train.sample(BIN_BYTES // (stop.X.shape[1] * stop.X.itemsize))
    trees = train.together(Boosting(model, stop, bins_of, seed, threads, each_round))

    def score(X: Matrix) -> Scores:
        return np.asarray(trees.booster.predict(xgb.DMatrix(X, nthread=threads)), dtype=np.float64)

    notes = (EARLY_END,) if len(stop.y) and model.early_stopping_rounds and trees.rounds == 1 < model.rounds else ()
    return FittedModel(score, trees.booster, trees.rounds, notes)


def _fit_sklearn(model: ModelSettings, train: EncodedRows, *, seed: int, threads: int) -> FittedModel:
    estimator = make_estimator(model, seed=seed, threads=threads)
    wide = not type(estimator).__module__.startswith(FLOAT32)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            estimator.fit(train.X.astype(np.float64) if wide else train.X, train.y)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{model.estimator} with {model.params}: {message_of(error)}") from error
    notes = tuple(dict.fromkeys(f"{entry.category.__name__}: {message_of(Exception(entry.message))}" for entry in caught))

    def score(X: Matrix) -> Scores:
        wide_X = X.astype(np.float64) if wide else X
        if hasattr(estimator, "predict_proba"):
            return np.asarray(estimator.predict_proba(wide_X)[:, 1], dtype=np.float64)
        # No probabilities: the decision as 0 or 1 is all that can honestly be reported.
        return np.asarray(estimator.predict(wide_X), dtype=np.float64)

    return FittedModel(score, estimator, None, notes)


def _fit_newton(model: ModelSettings, train: TrainingRows, *, seed: int, threads: int) -> FittedModel:
    """Logistic regression by Newton's method over batches, begun where a sample of the rows ends."""
    sample, estimator = train.sample(START_ROWS), make_estimator(model, seed=seed, threads=threads)
    features = sample.X.shape[1]
    with threadpool_limits(1, "blas"):  # small sums: further threads would only wait for each other, at full speed
        fit = fit_newton(train, features, model.params, fit_newton(sample, features, model.params).w)
    estimator.classes_ = np.array([0, 1], dtype=np.int8)
    estimator.coef_, estimator.intercept_ = fit.w[np.newaxis, :-1], fit.w[-1:]
    estimator.n_features_in_, estimator.n_iter_ = features, np.array([fit.steps], dtype=np.int32)
    notes = () if fit.has_converged else (f"Newton's method did not converge in {fit.steps} steps; raise max_iter",)
    return FittedModel(lambda X: np.asarray(estimator.predict_proba(X.astype(np.float64))[:, 1]), estimator, None, notes)


def make_estimator(model: ModelSettings, *, seed: int, threads: int) -> Any:
    """The scikit-learn classifier a model names, with its parameters, not fitted.

    Raises:
        ConfigError: naming what does not exist or fit.
    """
    module_name, _, class_name = model.estimator.rpartition(".")
    if module_name.partition(".")[0] != "sklearn":
        raise ConfigError(
            f"estimator {model.estimator!r}: expected 'xgboost' or the import path of a scikit-learn classifier, "
            "as in sklearn.ensemble.RandomForestClassifier"
        )
    try:
        module = importlib.import_module(module_name)
    except ImportError:
        raise ConfigError(f"estimator {model.estimator!r}: scikit-learn has no module {module_name!r}") from None
    kind = getattr(module, class_name, None)
    if not inspect.isclass(kind):
        classes = [name for name in dir(module) if inspect.isclass(getattr(module, name, None))]
        raise ConfigError(f"estimator {model.estimator!r}: {module_name} has no class {class_name!r}{nearest(class_name, classes)}")
    from sklearn.base import ClassifierMixin

    if not issubclass(kind, ClassifierMixin) or not hasattr(kind, "fit"):
        raise ConfigError(f"estimator {model.estimator!r} is not a classifier")
    parameters = inspect.signature(kind).parameters
    if wrong := next((name for name in model.params if name not in parameters), None):
        raise ConfigError(
            f"{model.estimator} has no parameter {wrong!r}{nearest(wrong, parameters)}; it has: {', '.join(sorted(parameters))}"
        )
    defaults = {name: value for name, value in {"random_state": seed, "n_jobs": threads}.items() if name in parameters}
    if kind.__name__ == "LogisticRegression":  # its n_jobs does nothing for two classes, and warns
        defaults.pop("n_jobs", None)
    try:
        return kind(**{**defaults, **model.params})
    except TypeError as error:  # a parameter without a default, as in VotingClassifier
        raise ConfigError(f"{model.estimator} with {model.params}: {message_of(error)}") from error
