"""Drafts a configuration for a table that nothing is known of: what its columns are, its target, a split, models, a guard.

Everything is a proposal, written with the reason beside it; what cannot be known is asked for.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sporeprint.common.progress import SilentProgress
from sporeprint.common.text_table import Table
from sporeprint.errors import DataError, UsageError
from sporeprint.ingestion.column_inference import ColumnForm, ColumnRole, infer_column
from sporeprint.ingestion.object_store import is_store, local_path
from sporeprint.ingestion.raw_table import local_table
from sporeprint.ingestion.table_sample import TableSample, read_sample
from sporeprint.pipelines.target_draft import TargetDraft, draft_target
from sporeprint.schema import RESERVED
from sporeprint.settings import Settings, load_settings, parse

#: The draft's split, largest part first.
SHARES = {"train": 0.5, "early_stop": 0.1, "calibration": 0.1, "threshold": 0.15, "test": 0.15}
#: The promise where the positive class is frequent enough: at most this share of the negative answers is wrong.
LARGEST_ALPHA = 0.1

#: Texts that YAML reads as something else.
_YAML_WORDS = frozenset({"true", "false", "null", "none", "yes", "no", "on", "off", "y", "n"})
#: Settings of a table of which nothing is known: for reading it.
_UNKNOWN = {
    "dataset": {
        "name": "table",
        "target": {"column": "target", "positive": "1", "values": {"0": "negative", "1": "positive"}},
        "columns": {"feature": {"kind": "numeric"}},
    },
    "source": {"path": "table.csv"},
    "models": {"logistic_regression": {"estimator": "sklearn.linear_model.LogisticRegression"}},
}


@dataclass(frozen=True)
class Draft:
    """A drafted configuration.

    Attributes:
        text: the configuration, commented YAML.
        target: the target.
        columns: feature -> its form.
        left_out: column -> why it is no feature.
        group: the column that names the groups; None without one.
        sample: what was read.
        source: where the table is.
        path: where the configuration was written; None while it is not.
    """

    text: str
    target: TargetDraft
    columns: Mapping[str, ColumnForm]
    left_out: Mapping[str, str]
    group: str | None
    sample: TableSample
    source: str
    path: Path | None = field(default=None)

    def to_dict(self) -> dict[str, object]:
        """As JSON values."""
        return {
            "path": None if self.path is None else str(self.path),
            "source": self.source,
            "rows": self.sample.rows,
            "target": {"column": self.target.column, "positive": self.target.positive, "values": dict(self.target.values)},
            "columns": {name: str(form.role) for name, form in self.columns.items()},
            "left_out": dict(self.left_out),
            "group": self.group,
            "configuration": self.text,
        }

    def tables(self) -> list[Table]:
        """As people read it."""
        sample, target = self.sample, self.target
        words = ", ".join(f"{code} ({word})" if code != word else code for code, word in target.values.items())
        about = [
            ("table", self.source),
            ("rows", f"{sample.rows:,}" + ("" if sample.is_whole else ", about: a sample was read")),
            *((("separator", repr(sample.separator)), ("encoding", _encoding_text(sample))) if sample.format == "csv" else ()),
            ("header", _header_text(sample)),
            ("target", f"{target.column}: {words}; positive {target.positive}, {target.positive_share:.1%} of the rows ({target.reason})"),
            ("groups", self.group or "none"),
        ]
        features = tuple((name, str(form.role), _form_text(form)) for name, form in self.columns.items())
        shown = [Table("Seen", ("", ""), tuple(about)), Table("Features", ("column", "kind", "written"), features)]
        if self.left_out:
            shown.append(Table("Left out", ("column", "because"), tuple(self.left_out.items())))
        if self.path is not None:
            named = "" if self.path.parts[-2:] == ("config", "config.yaml") else f" --config {self.path}"
            shown.append(Table("Written", ("file", "next"), ((str(self.path), f"sporeprint etl{named}"),)))
        return shown


def _header_text(sample: TableSample) -> str:
    if not sample.header:
        return "none: columns are named c1, c2, ..."
    return f"yes, after {sample.skipped} lines" if sample.skipped else "yes"


def _encoding_text(sample: TableSample) -> str:
    return (
        f"{sample.encoding}, guessed: if letters look wrong, set source.csv.encoding" if sample.encoding_guessed else str(sample.encoding)
    )


def _form_text(form: ColumnForm) -> str:
    parts = [
        *([f"{form.missing_share:.0%} missing"] if form.missing_share > 0.001 else []),
        *([f"missing: {', '.join(form.missing)}"] if form.missing else []),
        *([f"decimal {form.decimal}"] if form.decimal != "." else []),
        *([f"thousands {form.thousands}"] if form.thousands else []),
        *([f"without {', '.join(form.strip)}"] if form.strip else []),
        *([f"written {form.date_format or 'as in ISO 8601'}"] if form.role is ColumnRole.DATE else []),
        *(["day or month first cannot be told"] if form.ambiguous else []),
        *([f"{form.distinct} values"] if form.role is ColumnRole.NOMINAL else []),
    ]
    return "; ".join(parts)


def draft_configuration(
    source: str, workdir: Path, *, target: str | None = None, positive: Sequence[str] = (), query: str | None = None
) -> Draft:
    """Draft the configuration of a table.

    Args:
        source: a file, folder, pattern, address or database, as `source.path` takes it.
        workdir: the work directory, for what has to be unpacked or downloaded meanwhile.
        target: the target column; None: the likeliest one.
        positive: the code or codes of the positive class; empty: the likeliest one.
        query: the SQL query, where the source is a database.

    Raises:
        DataError: there is no table, or it has no column that can be a target.
        UsageError: it cannot be known which column is the target, or which class is the positive one.
        SporeprintError: see `sporeprint.ingestion.raw_table.open_raw_table`.
    """
    if "://" in local_path(source) and not is_store(source) and not re.match(r"https?://", source, re.IGNORECASE):
        sample = _from_database(source, query, workdir)
    else:
        plain = parse(_UNKNOWN)
        with local_table(plain, workdir, source, progress=SilentProgress(), now=lambda: datetime.now(UTC)) as (path, where):
            sample = read_sample(path, where)
    return draft(sample, source, target=target, positive=positive, query=query)


def _from_database(source: str, query: str | None, workdir: Path) -> TableSample:
    from sporeprint.ingestion.sql_query import database, read_query, shown_address  # loads SQLAlchemy

    address = database(source)
    if query is None:
        raise UsageError(f"{shown_address(address)} is a database; say what to read from it with --query 'select ...'")
    place = workdir / "data/raw/.init.parquet"
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        read_query(address, query, place, None, SilentProgress())
        return read_sample(place, shown_address(address))
    finally:
        place.unlink(missing_ok=True)


def draft(sample: TableSample, source: str, *, target: str | None, positive: Sequence[str], query: str | None = None) -> Draft:
    """Draft the configuration of a table from a sample of it. Args and raises: see `draft_configuration`."""
    names = sample.names
    places = {name: place for place, name in enumerate(names) if name and names.count(name) == 1}
    left_out = {
        name or f"(column {place + 1})": "it has no name" if not name else "another column has the same name"
        for place, name in enumerate(names)
        if name not in places
    }
    left_out |= {name: f"it holds {what}" for name, what in sample.foreign.items()}
    places = {name: place for name, place in places.items() if name not in sample.foreign}
    forms = {name: infer_column(name, sample.frame[str(place)]) for name, place in places.items()}
    chosen = draft_target(sample, places, target, positive)
    forms.pop(chosen.column)
    columns: dict[str, ColumnForm] = {}
    groups = [name for name, form in forms.items() if form.role is ColumnRole.GROUP]
    group = max(groups, key=lambda name: forms[name].distinct, default=None)
    folded: dict[str, str] = {}
    for name, form in forms.items():
        if name == group:
            continue
        if name in RESERVED:
            left_out[name] = "its name is one that the pipeline adds"
        elif (other := folded.setdefault(name.replace("-", "_"), name)) != name:
            left_out[name] = f"its name differs from {other!r} only in '-' and '_'"
        elif form.role in {ColumnRole.NUMERIC, ColumnRole.NOMINAL, ColumnRole.DATE}:
            columns[name] = form
        else:
            left_out[name] = _why(form)
    if not columns:
        reasons = "; ".join(f"{name}: {why}" for name, why in list(left_out.items())[:5])
        raise DataError(f"{source} has no column beside the target that a model could learn from ({reasons})")
    text = _yaml(
        sample, source, query, chosen, columns, left_out, group, without_group=group is not None and forms[group].missing_share > 0
    )
    return Draft(text, chosen, columns, left_out, group, sample, source)


def _why(form: ColumnForm) -> str:
    return {
        ColumnRole.ID: f"{form.distinct:,} different values: it identifies the row",
        ColumnRole.TEXT: f"{form.distinct:,} different values: text",
        ColumnRole.GROUP: "it names groups, as another column does",
        ColumnRole.EMPTY: "it holds no value",
        ColumnRole.CONSTANT: "it holds one value only",
    }.get(form.role, str(form.role))


# --- the file --------------------------------------------------------------------------------------------------------


def _yaml(
    sample: TableSample,
    source: str,
    query: str | None,
    target: TargetDraft,
    columns: Mapping[str, ColumnForm],
    left_out: Mapping[str, str],
    group: str | None,
    *,
    without_group: bool,
) -> str:
    q = _quoted
    values = ", ".join(f"{q(code)}: {q(word)}" for code, word in target.values.items())
    missing = f"\n    missing: {_list(target.missing)}    # rows without a label" if target.missing else ""
    lines = [
        "# Drafted by sporeprint init from the table itself. Everything here is a proposal: read it, change it, run sporeprint etl.",
        "# Every other setting has a default; all of them are in the documentation.",
        "",
        "dataset:",
        f"  name: {_dataset_name(source)}",
        "  target:",
        f"    column: {q(target.column)}    # {target.reason}",
        f"    positive: {q(target.positive)}    # the class that must not be missed: {target.positive_share:.1%} of the rows",
        f"    values: {{{values}}}{missing}",
        "  columns:",
        *(f"    {q(name)}: {{{_column(form)}}}{_date_note(form)}" for name, form in columns.items()),
    ]
    if group is not None:
        own = ", missing: own" if without_group else ""
        lines += [f"  groups: {{name: {q(_word_of(group))}, column: {q(group)}{own}}}    # rows of one {_word_of(group)} belong together"]
    lines += ["  extra_columns: ignore"]
    lines += [f"  #   left out: {name} ({why})" for name, why in list(left_out.items())[:200]]
    lines += ["", "source:", f"  path: {q(_source_path(source))}"]
    if query is not None:
        lines.append(f"  query: {q(query)}")
    if sample.format == "csv":
        lines += ["  csv:", f"    separator: {q(str(sample.separator))}"]
        lines += [f"    encoding: {sample.encoding}" + "    # guessed" * sample.encoding_guessed]
        if not sample.header:
            lines += ["    header: false", f"    columns: {_list(sample.names)}"]
    if target.unlabelled > 0:
        lines += ["", "validation:", f"  unlabelled: drop    # {target.unlabelled:.1%} of the rows have no label"]
    lines += ["", "split:", *_split(group), *(f"  {part}: {share:.2f}" for part, share in SHARES.items())]
    indicators = [name for name, form in columns.items() if form.role is ColumnRole.NUMERIC and form.missing_share > 0.01]
    if indicators:
        lines += ["", "transform:", "  columns:    # a missing number may say something by itself"]
        lines += [f"    {q(name)}: {{indicator: true}}" for name in indicators]
    lines += [
        "",
        "models:",
        "  logistic_regression:",
        "    estimator: sklearn.linear_model.LogisticRegression",
        "    params: {max_iter: 1000}",
        "  xgboost:",
        "    estimator: xgboost",
        "    nominal: ordinal",
        "    numeric: none",
        "    rounds: 500",
        "    early_stopping_rounds: 30",
        "    params: {max_depth: 4, learning_rate: 0.1, min_child_weight: 3, subsample: 0.9, colsample_bytree: 0.9}",
        "",
        "selection: {metric: roc_auc, on: seen}",
        "gate: {margin: 0.02}",
        "",
        *_guard(sample, target),
        "",
    ]
    return "\n".join(lines)


def _split(group: str | None) -> list[str]:
    if group is None:
        return ["  by: rows    # for rows in time, the latest to test on: time, with column: the one that holds the time"]
    what = _word_of(group)
    return [f"  by: rows    # for a model that is to answer for new {what}s: groups"]


def _guard(sample: TableSample, target: TargetDraft) -> list[str]:
    alpha, share = draft_alpha(target.positive_share), target.positive_share
    train = sample.rows * SHARES["train"]
    return [
        "guard:",
        "  coverage: 0.95    # share of rows like the training rows that are answered; the others are unknown",
        f"  alpha: {alpha:g}    # promised: at most this share of the negative answers is wrong; {share:.1%} would be if all were negative",
        f"  calibration: {'platt' if sample.rows < 5000 else 'isotonic'}",
        f"  clusters: {max(2, min(100, round(train / 100)))}",
    ]


def draft_alpha(positive_share: float) -> float:
    """A promise that says something: well below the share of positives, which always answering with the negative class keeps."""
    alpha = min(LARGEST_ALPHA, positive_share / 3)
    digits = -math.floor(math.log10(alpha))
    return round(alpha, digits)


def _dataset_name(source: str) -> str:
    stem = re.split(r"[/\\]", re.sub(r"[?#].*", "", source).rstrip("/*"))[-1].partition(".")[0]
    name = re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_")
    return name if re.match("[a-z]", name) else f"table_{name}".rstrip("_")


def _source_path(source: str) -> str:
    return source if "://" in source else str(Path(source).absolute())


def _word_of(group: str) -> str:
    return re.sub(r"(?i)[_ ]?(id|no|nr|number)$", "", group).strip("_ ").lower() or "group"


def _column(form: ColumnForm) -> str:
    parts = [f"kind: {form.role}"]
    parts += [f"missing: {_list(form.missing)}"] if form.missing else []
    parts += [f"decimal: {_quoted(form.decimal)}"] if form.decimal != "." else []
    parts += [f"thousands: {_quoted(form.thousands)}"] if form.thousands else []
    parts += [f"strip: {_list(form.strip)}"] if form.strip else []
    parts += [f"minus: {_quoted(form.minus)}"] if form.minus != "-" else []
    parts += [f"format: {_quoted(form.date_format)}"] if form.date_format else []
    return ", ".join(parts)


def _date_note(form: ColumnForm) -> str:
    """What a person has to look at in a column of dates, as a comment."""
    if form.role is not ColumnRole.DATE:
        return ""
    doubt = "day or month first cannot be told from the values; " if form.ambiguous else ""
    return f"    # {doubt}later dates than these are new to the model; for an age or a duration add since: DATE or COLUMN"


def _quoted(text: str) -> str:
    """A text in YAML: plain where that reads back as the same text."""
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*( [A-Za-z0-9_.]+)*", text)
    return text if plain and text.lower() not in _YAML_WORDS else json.dumps(text, ensure_ascii=False)


def _list(texts: Sequence[str]) -> str:
    return f"[{', '.join(map(_quoted, texts))}]"


def write_draft(drafted: Draft, path: Path) -> Settings:
    """Write a drafted configuration, and the settings that it says. A file that is there is never replaced.

    Raises:
        UsageError: there is one already.
        StorageError: it cannot be written.
    """
    from sporeprint.common.files import atomic_write

    if path.exists():
        raise UsageError(f"{path} exists, and is not replaced; move it away, or name another file with --out")
    atomic_write(path, drafted.text)
    return load_settings(path, environ={})
