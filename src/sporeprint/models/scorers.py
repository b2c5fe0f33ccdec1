"""What gives the probabilities in production: small objects that are loaded from pickle-free files, and only score.

Three kinds. `xgboost` keeps a booster in XGBoost's own JSON and its trees as an ONNX graph,
`linear` the coefficients of a linear model in JSON,
`onnx` any other scikit-learn classifier as an ONNX graph. Each of them takes the encoder's matrix and gives P(positive).
The files say of themselves which bytes belong to them: parsers of binary models crash the process on altered ones.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt
import orjson

from sporeprint.common.optional_dependencies import Lazy, has
from sporeprint.errors import NotServableError, RegistryError, nearest
from sporeprint.models.encoder import Matrix
from sporeprint.models.onnx_export import first_line, to_onnx
from sporeprint.models.xgboost_onnx import trees_to_onnx
from sporeprint.stats.special import expit

Scores = npt.NDArray[np.float64]

#: Largest difference allowed between a served score and the estimator's own.
TOLERANCE = 1e-6

#: The file that names the others, with their digests.
SEAL = "scorer.json"
FORMAT = 1

#: Rows scored at a time where an intermediate result is larger than the matrix. A nearest-neighbour graph holds the
#: distances to every training row: 1,024 rows against 30,000 are 250 MB.
BLOCK_ROWS = 1024


class Scorer(Protocol):
    """A fitted model that scores."""

    @property
    def kind(self) -> str:
        """Name of the implementation: xgboost, linear or onnx."""

    @property
    def n_features(self) -> int:
        """Columns of the matrix it takes."""

    def score(self, X: Matrix) -> Scores:
        """Score rows.

        Args:
            X: float32 [n, n_features], finite. float64 and any memory layout are accepted and converted.

        Returns:
            float64 [n], P(positive), from 0 to 1.

        Raises:
            ValueError: if the shape or type is another, or a value is not finite.
        """

    def to_files(self) -> dict[str, bytes]:
        """File name -> bytes, for `load_scorer`. Equal models give equal bytes."""


@dataclass(frozen=True, eq=False)
class XGBoostScorer:
    """A booster with the objective binary:logistic.

    Attributes:
        model: the booster in XGBoost's JSON.
        n_features: columns of the matrix.
        threads: that it scores with.
        graph: the same trees as an ONNX graph; None where a graph cannot hold them.
    """

    model: bytes
    n_features: int
    threads: int = 1
    graph: bytes | None = None
    kind: ClassVar[str] = "xgboost"

    @classmethod
    def of(cls, booster: Any, *, threads: int = 1) -> Self:
        """A copy of a fitted booster, without the rounds after its best one.

        Raises:
            NotServableError: if it does not give the probability of a class.
        """
        learner = json.loads(booster.save_config())["learner"]
        objective, kind = learner["objective"]["name"], learner["gradient_booster"]["name"]
        if objective != "binary:logistic":
            raise NotServableError(f"xgboost with objective {objective!r} gives no probability of a class; use binary:logistic")
        if kind not in {"gbtree", "dart"}:
            raise NotServableError(f"xgboost with booster {kind!r} cannot score in place; use gbtree or dart")
        best = booster.attr("best_iteration")
        if best is not None and int(best) + 1 < booster.num_boosted_rounds():
            booster = booster[: int(best) + 1]
        booster = booster.copy()
        # Notes that training leaves are no part of the model: the same trees give the same bytes.
        booster.set_attr(**dict.fromkeys(booster.attributes()))
        model, features = bytes(booster.save_raw("json")), int(booster.num_features())
        return cls(model, features, threads, trees_to_onnx(orjson.loads(model), features))

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], threads: int) -> Self:
        """Load what `to_files` gave.

        Raises:
            RegistryError: if the bytes are no model.
        """
        if "model.ubj" in files:
            raise RegistryError(
                "model.ubj is of an earlier release, which kept boosters in binary JSON; train it again with: sporeprint etl"
            )
        # XGBoost's parser ends the process on much of what is no model, so what cannot be one must not reach it.
        try:
            features = int(orjson.loads(files["model.json"])["learner"]["learner_model_param"]["num_feature"])
        except (ValueError, TypeError, KeyError) as error:
            raise RegistryError(f"model.json is no XGBoost model: {error}") from error
        return cls(files["model.json"], features, threads, files.get("model.onnx"))

    @cached_property
    def booster(self) -> Any:
        """The same, loaded. Made when it is asked for: the library takes a second to import, and a server may do without it.

        Raises:
            RegistryError: if the bytes are no model.
        """
        xgboost = Lazy("xgboost")
        booster = xgboost.Booster({"nthread": self.threads, "verbosity": 0})
        try:
            booster.load_model(bytearray(self.model))
        except xgboost.core.XGBoostError as error:
            raise RegistryError(f"model.json is no XGBoost model: {first_line(error)}") from error
        return booster

    @cached_property
    def session(self) -> Any:
        """The same trees in ONNX Runtime, where XGBoost is not installed; None where it is, or where a graph cannot say them."""
        graph = None if has("xgboost") else self.graph
        return None if graph is None else OnnxScorer.of(graph, threads=self.threads).session

    def score(self, X: Matrix) -> Scores:
        """See `Scorer.score`. Without XGBoost to the last digits of single precision."""
        X = _checked(X, self.n_features)
        if self.session is not None:
            return session_probabilities(self.session, X)
        scores = self.booster.inplace_predict(X, validate_features=False)
        return np.asarray(scores, dtype=np.float64)

    def to_files(self) -> dict[str, bytes]:
        """See `Scorer.to_files`."""
        return _sealed(self, {"model.json": self.model, **({} if self.graph is None else {"model.onnx": self.graph})})


@dataclass(frozen=True, slots=True, eq=False)
class LinearScorer:
    """P(positive) = 1 / (1 + exp(-(X · coefficients + intercept))), in float64.

    Attributes:
        coefficients: float64 [n_features].
        intercept: the score of an all-zero row, as log odds.
    """

    coefficients: Scores
    intercept: float
    kind: ClassVar[str] = "linear"

    @property
    def n_features(self) -> int:
        """Columns of the matrix."""
        return len(self.coefficients)

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], threads: int) -> Self:  # noqa: ARG003  # one thread is all it uses
        """Load what `to_files` gave.

        Raises:
            RegistryError: if the bytes are no linear model.
        """
        try:
            raw = json.loads(files["linear.json"])
            scorer = cls(np.array(raw["coefficients"], dtype=np.float64), float(raw["intercept"]))
        except (ValueError, TypeError, KeyError) as error:
            raise RegistryError(f"linear.json is no linear model: {error}") from error
        if scorer.coefficients.ndim != 1 or not np.isfinite([*scorer.coefficients, scorer.intercept]).all():
            raise RegistryError("linear.json is no linear model: expected a list of finite numbers and an intercept")
        return scorer

    def score(self, X: Matrix) -> Scores:
        """See `Scorer.score`."""
        X = _checked(X, self.n_features)
        return _in_blocks(X, 16 * BLOCK_ROWS, lambda block: expit(block.astype(np.float64) @ self.coefficients + self.intercept))

    def to_files(self) -> dict[str, bytes]:
        """See `Scorer.to_files`."""
        # json writes the shortest text that reads back as the same float64.
        text = json.dumps({"coefficients": self.coefficients.tolist(), "intercept": self.intercept}, indent=1, allow_nan=False)
        return _sealed(self, {"linear.json": text.encode()})


@dataclass(frozen=True, slots=True, eq=False)
class OnnxScorer:
    """An ONNX graph with one input, the matrix, and one output, P(positive).

    Attributes:
        model: the graph.
        session: the same, loaded.
        n_features: columns of the matrix.
        dtype: the type in which the graph takes the matrix.
    """

    model: bytes
    session: Any
    n_features: int
    dtype: npt.DTypeLike
    kind: ClassVar[str] = "onnx"

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], threads: int) -> Self:
        """Load what `to_files` gave.

        Raises:
            RegistryError: if the bytes are no model.
        """
        try:
            return cls.of(files["model.onnx"], threads=threads)
        except _onnxruntime_errors() as error:
            raise RegistryError(f"model.onnx is no ONNX model: {first_line(error)}") from error

    @classmethod
    def of(cls, model: bytes, *, threads: int = 1) -> Self:
        """Load a graph.

        Raises:
            Exception: one of ONNX Runtime's.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # it would write to the terminal what it also raises
        # Threads that spin while they wait for rows take the processor from whoever makes the rows.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        taken = session.get_inputs()[0]
        dtype = np.float64 if taken.type == "tensor(double)" else np.float32
        return cls(model, session, int(taken.shape[1]), dtype)

    def score(self, X: Matrix) -> Scores:
        """See `Scorer.score`."""
        X = _checked(X, self.n_features)
        # A sum of single-precision votes can pass 1 by its last digit.
        return np.clip(_in_blocks(X, BLOCK_ROWS, self._run), 0.0, 1.0)

    def _run(self, X: Matrix) -> Scores:
        scores = self.session.run(["positive"], {"X": X.astype(self.dtype, copy=False)})[0]
        return np.asarray(scores, dtype=np.float64)

    def to_files(self) -> dict[str, bytes]:
        """See `Scorer.to_files`."""
        return _sealed(self, {"model.onnx": self.model})


def session_probabilities(session: Any, X: Matrix) -> Scores:
    """P(positive) of n rows from a graph that gives log odds: the logistic function is computed in double precision."""
    return np.asarray(expit(session.run(["margin"], {"X": X})[0][:, 0].astype(np.float64)))


_KINDS: dict[str, Callable[[Mapping[str, bytes], int], Scorer]] = {
    "linear": LinearScorer.from_files,
    "onnx": OnnxScorer.from_files,
    "xgboost": XGBoostScorer.from_files,
}


def load_scorer(kind: str, files: Mapping[str, bytes], threads: int = 1) -> Scorer:
    """Load a scorer from what `to_files` gave.

    Args:
        kind: the scorer's kind.
        files: file name -> bytes, all of them.
        threads: threads that one call of `score` may use.

    Raises:
        RegistryError: if the kind is unknown, or a file is missing, altered or not what its name says, naming it.
    """
    if kind not in _KINDS:
        raise RegistryError(f"unknown kind of scorer {kind!r}{nearest(kind, _KINDS)}; this version reads {', '.join(sorted(_KINDS))}")
    n_features = _unsealed(kind, files)
    scorer = _KINDS[kind](files, threads)
    if scorer.n_features != n_features:
        raise RegistryError(f"{SEAL} says {n_features} features, the model has {scorer.n_features}; register the model again")
    return scorer


def scorer_from_estimator(estimator: Any, n_features: int, sample: Matrix, *, threads: int = 1) -> Scorer:
    """The serving form of a fitted scikit-learn classifier, held against the classifier itself.

    Linear for logistic regression and its like; otherwise ONNX, in double precision where the runtime has it, in single
    precision where not. Whatever comes out must give the estimator's own scores on the sample.

    Args:
        estimator: fitted on the labels 0 and 1; 1 is the positive class.
        n_features: columns of the matrix.
        sample: float32 [n, n_features], n ≥ 1, rows like those it will score.
        threads: threads that one call of `score` may use.

    Raises:
        NotServableError: naming the estimator, what was tried and why it failed: no probabilities, no converter, or
            scores that differ, with the largest difference.
        ValueError: if the sample has no rows or another width.
    """
    sample = _checked(sample, n_features)
    if not len(sample):
        raise ValueError("the sample has no rows; nothing could be compared")
    name = type(estimator).__name__
    # Float64 holds every float32: the estimator answers the same question, without rounding of its own.
    expected = _positive_scores(estimator, sample.astype(np.float64))
    failed = []
    for form, make in _forms(estimator):
        try:
            scorer = make(estimator, n_features, threads)
            scores = scorer.score(sample)
        except NotServableError as error:
            failed.append(f"{form}: {error}")
            continue
        except _onnxruntime_errors() as error:
            failed.append(f"{form}: the runtime refuses it: {first_line(error)}")
            continue
        # The comparison is turned round so that a score that is no number fails it.
        differences = np.abs(scores - expected)
        if bool((differences <= TOLERANCE).all()):
            return scorer
        failed.append(
            f"{form}: scores differ from predict_proba by up to {differences.max():.3g} (allowed: {TOLERANCE:g}), "
            f"in {int((~(differences <= TOLERANCE)).sum())} of {len(sample)} rows"
        )
    raise NotServableError(f"{name} cannot be served; {'; '.join(failed)}")


def _positive_scores(estimator: Any, X: Scores) -> Scores:
    name = type(estimator).__name__
    if not callable(getattr(estimator, "predict_proba", None)):
        raise NotServableError(f"{name} cannot be served; it has no predict_proba, so it gives no probabilities")
    classes = np.asarray(getattr(estimator, "classes_", ())).tolist()
    if sorted(classes) != [0, 1]:
        raise NotServableError(f"{name} cannot be served; it was fitted on the classes {classes}, not on 0 and 1")
    return np.asarray(estimator.predict_proba(X)[:, classes.index(1)], dtype=np.float64)


_Form = tuple[str, Callable[[Any, int, int], Scorer]]


def _forms(estimator: Any) -> list[_Form]:
    """The serving forms to try, best first."""
    onnx: list[_Form] = [
        ("ONNX in double precision", lambda e, m, threads: OnnxScorer.of(to_onnx(e, m, np.float64), threads=threads)),
        ("ONNX in single precision", lambda e, m, threads: OnnxScorer.of(to_onnx(e, m, np.float32), threads=threads)),
    ]
    return [("linear", lambda e, _m, _threads: _linear(e)), *onnx] if is_linear(estimator) else onnx


def is_linear(estimator: Any) -> bool:
    """Whether it is one of the classifiers whose probability is the logistic function of a weighted sum."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import LogisticRegression, LogisticRegressionCV

    # The exact types: a subclass may do anything.
    return type(estimator) in {LogisticRegression, LogisticRegressionCV, LinearDiscriminantAnalysis}


def _linear(estimator: Any) -> LinearScorer:
    sign = 1.0 if int(estimator.classes_[1]) == 1 else -1.0
    coefficients = np.asarray(estimator.coef_, dtype=np.float64)
    if coefficients.shape[0] != 1 or not np.isfinite(coefficients).all():
        raise NotServableError(f"expected one row of finite coefficients, found shape {coefficients.shape}")
    return LinearScorer(sign * coefficients[0], sign * float(np.ravel(estimator.intercept_)[0]))


def _checked(X: Matrix, n_features: int) -> Matrix:
    """The matrix as float32, C-contiguous.

    Raises:
        ValueError: see `Scorer.score`.
    """
    if X.ndim != 2 or X.shape[1] != n_features:
        raise ValueError(f"expected a matrix [n, {n_features}], a column for each feature of the encoder; got shape {list(X.shape)}")
    if X.dtype not in (np.float32, np.float64):
        raise ValueError(f"expected a matrix of float32, got {X.dtype}")
    with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is refused by that
        X = np.ascontiguousarray(X, dtype=np.float32)
    if not np.isfinite(X).all():
        row, column = np.argwhere(~np.isfinite(X))[0].tolist()
        raise ValueError(f"row {row}, column {column} of the matrix is {X[row, column]}; encode missing values before scoring")
    return X


def _in_blocks(X: Matrix, rows: int, score: Callable[[Matrix], Scores]) -> Scores:
    scores = np.empty(len(X), dtype=np.float64)
    for start in range(0, len(X), rows):
        scores[start : start + rows] = score(X[start : start + rows])
    return scores


def _sealed(scorer: Scorer, files: dict[str, bytes]) -> dict[str, bytes]:
    """The files, and the one that says what they are."""
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    seal = {"format": FORMAT, "kind": scorer.kind, "n_features": scorer.n_features, "sha256": digests}
    return {SEAL: json.dumps(seal, indent=1).encode(), **files}


def _unsealed(kind: str, files: Mapping[str, bytes]) -> int:
    """Hold the files against their seal; the number of features it states."""
    if SEAL not in files:
        raise RegistryError(f"{SEAL} is missing beside {', '.join(sorted(files)) or 'nothing'}; register the model again")
    try:
        seal = json.loads(files[SEAL])
        version, stated, n_features, digests = seal["format"], seal["kind"], int(seal["n_features"]), dict(seal["sha256"])
    except (ValueError, TypeError, KeyError) as error:
        raise RegistryError(f"{SEAL} is not readable: {error!r}; register the model again") from error
    if version != FORMAT or stated != kind:
        raise RegistryError(f"{SEAL} is of format {version} and kind {stated!r}; expected format {FORMAT} and kind {kind!r}")
    if wrong := sorted({*digests, SEAL} ^ set(files)):
        raise RegistryError(f"{wrong[0]} is {'not named in ' + SEAL if wrong[0] in files else 'missing'}; register the model again")
    for name, digest in digests.items():
        if (actual := hashlib.sha256(files[name]).hexdigest()) != digest:
            raise RegistryError(f"{name} was altered: its sha256 is {actual}, {SEAL} says {digest}")
    return n_features


def _onnxruntime_errors() -> tuple[type[Exception], ...]:
    """Everything ONNX Runtime raises; its exceptions have no base of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as runtime

    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel", "NoSuchFile", "NotImplemented", "RuntimeException")
    return tuple(getattr(runtime, name) for name in names)
