"""`sporeprint models import`: a model made elsewhere becomes a version, calibrated and guarded on the published table."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from sporeprint.common.child_process import ChildDiedError, run_in_child
from sporeprint.common.progress import Steps
from sporeprint.data.training_data import ModelInput, read_input
from sporeprint.errors import DataError, NotServableError, SporeprintError, UsageError
from sporeprint.evaluation.candidate import Candidate
from sporeprint.inference.attributions import Explainer, Unit, imported_booster_explainer, sampled_explainer
from sporeprint.inference.sampled_attributions import chosen_rows
from sporeprint.models import imported_model
from sporeprint.models.encoder import Encoder, Matrix
from sporeprint.models.imported_encoding import Places, encoder_for, feature_of, features_of, places_of, raw_input, serving_graph
from sporeprint.models.imported_model import ImportedModel, as_probabilities, positive_column
from sporeprint.models.onnx_export import first_line
from sporeprint.models.scorers import TOLERANCE, OnnxScorer, is_linear
from sporeprint.pipelines.engines import open_engine
from sporeprint.pipelines.etl import register_one
from sporeprint.pipelines.extract import extract
from sporeprint.pipelines.load import load
from sporeprint.pipelines.results import NewVersionResult
from sporeprint.pipelines.run_context import RunContext, open_run
from sporeprint.pipelines.train import decided, shared_parts
from sporeprint.pipelines.transform import transform
from sporeprint.settings import Settings
from sporeprint.stats.ranking import rank, roc_auc

#: ROC AUC below which the scores are of the other class, not merely of no use.
REVERSED = 0.4
#: Largest file that is read, in bytes.
LARGEST_FILE = 1 << 30
NOTE = "it was made elsewhere: whether it was fitted on rows of this table is not known, and if so its metrics and threshold are optimistic"


@dataclass(frozen=True)
class ImportOptions:
    """How a model's file is to be read.

    Attributes:
        features: names of what it takes, in order; None: those in the file.
        positive_label: its own label of the positive class; None: the table's code or word, or 1.
        missing_number: what it takes where a number is missing; None: NaN.
        missing_text: what it takes where a text is missing.
    """

    features: tuple[str, ...] | None = None
    positive_label: str | None = None
    missing_number: float | None = None
    missing_text: str = ""


#: No options: the file explains itself.
AS_THE_FILE_SAYS = ImportOptions()


def run_import(
    settings: Settings,
    root: Path,
    path: Path,
    name: str,
    options: ImportOptions = AS_THE_FILE_SAYS,
    *,
    source: str | None = None,
    steps: Steps | None = None,
) -> NewVersionResult:
    """Register a model made elsewhere as a version that is not promoted.

    Args:
        settings: the configuration, which describes the table.
        root: the work directory.
        path: the model: ONNX, XGBoost's JSON or UBJSON, or skops.
        name: the model's name in the registry.
        options: how the file is to be read.
        source: a table to publish first, as `sporeprint etl` does; None: the one that is published.
        steps: shows the progress.

    Raises:
        UsageError: the file is not there, or its inputs cannot be matched with the table's columns.
        NotServableError: it is a pickle or no model, or its outputs are no probabilities.
        DataError: no data is loaded.
    """
    if name in settings.models:
        raise UsageError(f"--name {name!r} is a model of the configuration, which sporeprint train makes; choose another name")
    data = _read(path)
    with open_run(settings, root, steps, "import") as run:
        if source is not None:
            raw = extract(run, source, None)
            with open_engine(settings, run.workdir) as engine:
                transform(run, raw, engine)
            load(run)
        table = read_input(settings, run.workdir)
        with run.log.step("import"):
            try:
                candidate = _candidate(run, table, data, path.name, name, options)
            except NotServableError as error:
                raise NotServableError(f"{path.name} cannot be imported: {error}") from error
            except UsageError as error:
                raise UsageError(f"{path.name}: {error}") from error
        return register_one(run, table, candidate)


def feature_names(text: str) -> tuple[str, ...]:
    """Names of features, from a list with commas, or from a file with one a line."""
    if "," not in text and Path(text).is_file():
        text = Path(text).read_text(encoding="utf-8").replace("\n", ",")
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise UsageError(f"{path} has {path.stat().st_size:,} bytes; at most {LARGEST_FILE:,} are read")
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}; name a file of skops (.skops) or ONNX (.onnx)") from error


def _candidate(run: RunContext, table: ModelInput, data: bytes, file: str, name: str, options: ImportOptions) -> Candidate:
    settings, schema = run.settings, run.settings.dataset
    began = time.perf_counter()
    form = imported_model.format_of(data)
    if form == "skops":
        scorer, encoder, reference, used, explainer = _sklearn(settings, table, data, options)
    else:
        read = imported_model.read_onnx if form == "onnx" else imported_model.read_xgboost
        model = _in_a_process(read, data)
        scorer, encoder, reference, used, explainer = _served(settings, table, model, options, _own_reference(model))
    auc = roc_auc(rank(table.test.y, reference))
    if auc < REVERSED:
        raise UsageError(
            f"on the test rows its probability of {schema.target.values[schema.target.positive]!r} is higher for the other class "
            f"(ROC AUC {auc:.3f}); name its label of that class with --positive-label, or check the order of its features"
        )
    return decided(
        settings,
        table,
        shared_parts(settings, run.workdir, table),
        name=name,
        encoder=encoder,
        scorer=scorer,
        score=scorer.score,
        reference=reference,
        fit_seconds=round(time.perf_counter() - began, 3),
        notes=(NOTE,),
        explainer=explainer,
        described={"estimator": f"imported:{form}", "file": file, "sha256": hashlib.sha256(data).hexdigest(), "features": used},
    )


_Reference = Callable[[Sequence[npt.NDArray[Any]]], npt.NDArray[Any]]
_Served = tuple[OnnxScorer, Encoder, npt.NDArray[np.float64], list[str], Explainer]


def _served(
    settings: Settings, table: ModelInput, model: ImportedModel, options: ImportOptions, ask: _Reference, unit: Unit = "probability"
) -> _Served:
    """The model in the form that is served, held against what its own library says of the test rows. `unit`: of its attributions."""
    schema = settings.dataset
    features = features_of(model, options.features, schema)
    flat = [feature for part in features for feature in part]
    encoder = encoder_for(flat, table.train.codes, schema, options.missing_number)
    places = [places_of(part, encoder, options.missing_text) for part in features]
    X = encoder.matrix(table.test.codes)
    raw = as_probabilities(_asked(ask, _inputs(model, X, places)), len(X))
    target = schema.target
    column = positive_column(model.labels, raw.shape[1], options.positive_label, target.positive, target.values[target.positive])
    graph = serving_graph(model, places, len(encoder.features), raw.shape[1], column)
    scorer, expected = OnnxScorer.of(graph, threads=settings.threads), np.clip(raw[:, column], 0.0, 1.0)
    difference = float(np.abs(scorer.score(X) - expected).max())
    if not difference <= TOLERANCE:
        raise NotServableError(f"its served scores differ from its own by up to {difference:.3g} (allowed: {TOLERANCE:g})")
    used = [f"{feature.column}={feature.value}" if feature.value else feature.column for feature in flat]
    if model.model:
        return scorer, encoder, expected, used, imported_booster_explainer(model.model, places[0])
    background = encoder.matrix(table.train.codes.take(chosen_rows(len(table.train.y))))
    return scorer, encoder, expected, used, sampled_explainer(unit, background, encoder.sources)


def _inputs(model: ImportedModel, X: Matrix, places: Sequence[Places]) -> list[npt.NDArray[Any]]:
    return [raw_input(X, item, place) for item, place in zip(model.inputs, places, strict=True)]


def _asked(ask: _Reference, inputs: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    try:
        return ask(inputs)
    except SporeprintError:
        raise
    except Exception as error:  # each library raises its own
        raise NotServableError(f"it does not score the test rows: {first_line(error)}") from error


def _own_reference(model: ImportedModel) -> _Reference:
    """What the model's own library says: XGBoost of a booster, ONNX Runtime of the graph as it was read."""
    if model.model:
        return lambda inputs: imported_model.booster_reference(model.model, inputs[0])
    import onnxruntime

    session = onnxruntime.InferenceSession(model.graph, providers=["CPUExecutionProvider"])

    def ask(inputs: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
        named = {item.name: values for item, values in zip(model.inputs, inputs, strict=True)}
        return np.asarray(session.run([model.output], named)[0])

    return ask


def _sklearn(settings: Settings, table: ModelInput, data: bytes, options: ImportOptions) -> _Served:
    """A scikit-learn classifier or pipeline: converted, and held against its own predict_proba."""
    estimator, schema = imported_model.read_skops(data), settings.dataset
    names = options.features or tuple(map(str, getattr(estimator, "feature_names_in_", ())))
    count = int(getattr(estimator, "n_features_in_", len(names)))
    if not names:
        raise UsageError(f"it takes {count} numbers a row and does not name them; name them in order with --features, as in a,b=x,b=y")
    if len(names) != count:
        raise UsageError(f"it takes {count} values a row, and {len(names)} features are named")
    texts = frozenset(name for name in names if hasattr(estimator, "steps") and feature_of(name, schema, text=True).kind == "text")

    def ask(inputs: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
        if not texts:
            X = inputs[0].astype(np.float64)
            named = hasattr(estimator, "feature_names_in_")  # it warns where it was fitted with names and gets none
            return np.asarray(estimator.predict_proba(pl.DataFrame(X, schema=list(names)) if named else X))
        columns = {
            name: pl.Series(values[:, 0].tolist(), dtype=pl.String) if name in texts else pl.Series(values[:, 0].astype(np.float64))
            for name, values in zip(names, inputs, strict=True)
        }
        return np.asarray(estimator.predict_proba(pl.DataFrame(columns)))

    unit: Unit = "log odds" if is_linear(imported_model.last_step(estimator)) else "probability"
    failed = []
    for make in imported_model.sklearn_graphs(estimator, names, texts):
        try:
            return _served(settings, table, make(), ImportOptions(None, *_rest(options)), ask, unit)
        except NotServableError as error:
            failed.append(str(error))
    raise NotServableError("; ".join(dict.fromkeys(failed)))


def _rest(options: ImportOptions) -> tuple[str | None, float | None, str]:
    return options.positive_label, options.missing_number, options.missing_text


def _in_a_process(read: Callable[[bytes], ImportedModel], data: bytes) -> ImportedModel:
    """Read in a process of its own: parsers of binary models end the process on much of what is none."""
    try:
        return run_in_child(read, data)
    except ChildDiedError as error:
        raise NotServableError("its library crashed when it read the file, so it is damaged") from error
    except MemoryError as error:
        raise DataError("it does not fit into memory") from error
