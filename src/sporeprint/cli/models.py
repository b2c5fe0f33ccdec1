"""`sporeprint models`: list, show, verify, import, promote and roll back versions."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sporeprint.cli.command import ALL, PLACE, Facts, Session, command, group, user
from sporeprint.cli.console import Result
from sporeprint.common.text_table import Table
from sporeprint.errors import RegistryError

if TYPE_CHECKING:  # slow to import, and `--help` does not need it
    from sporeprint.registry.registry import Registry

models = group(help="List, show, check and promote the registered models.")

_INSPECT, _PROMOTE = "Inspection", "Promotion"
PRODUCTION = "production"

#: What a list shows of a version's metrics, where it has them: on which rows, which.
LISTED = (("seen", "accuracy"), ("seen", "mcc"), ("unseen", "accuracy"), ("unseen", "mcc"))

Ref = Annotated[
    str,
    typer.Argument(metavar="REF", show_default=False, help="production, a model's name (its champion), name/v2, or a registered file."),
]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Reason, for the history.", show_default=False)]


def _registry(session: Session) -> "Registry":
    from sporeprint.common.workdir import Workdir
    from sporeprint.registry.registry import Registry

    return Registry(Workdir(session.workdir).registry)


def _filled(session: Session) -> "Registry":
    registry = _registry(session)
    if not registry.names():
        raise RegistryError(f"no model is registered in {registry.root}; sporeprint etl makes some, --workdir names another folder")
    return registry


# --- inspection -------------------------------------------------------------------------------------------------------------


@command(models, PLACE, name="list", panel=_INSPECT, examples="sporeprint models list\nsporeprint models list --json")
def list_models(session: Session) -> Result:
    """List every version with its aliases and metrics."""
    registry = _registry(session)
    pins = {alias: pin.ref for alias, pin in registry.aliases().pins.items()}
    listing = [_listed(registry, name, pins) for name in registry.names()]
    values = {"production": pins.get(PRODUCTION), "models": listing}
    if not listing:
        return Facts(values, (Table("", ("",), ((f"no model is registered in {registry.root}; sporeprint etl makes some",),)),))
    rows = [_row(version) for model in listing for version in model["versions"]]
    heads = ("version", "stands for", "note", *(f"{metric}, {on}" for on, metric in LISTED), "created")
    return Facts(values, (_without_empty("Registered models", heads, rows),))


def _listed(registry: "Registry", name: str, pins: Mapping[str, str]) -> dict[str, Any]:
    refs = [f"{name}/v{number}" for number in registry.versions(name)]
    champion = pins.get(name, refs[0])
    return {"name": name, "champion": champion, "versions": [_listed_version(registry, ref, champion, pins) for ref in refs]}


def _listed_version(registry: "Registry", ref: str, champion: str, pins: Mapping[str, str]) -> dict[str, Any]:
    stands = [PRODUCTION] * (pins.get(PRODUCTION) == ref) + ["champion"] * (champion == ref)
    entry: dict[str, Any] = {"ref": ref, "stands_for": stands, "created": None, "simulated": None, "metrics": {}, "problem": None}
    try:
        shown = registry.show(ref)
    except RegistryError as error:  # one damaged version must not hide the others
        return {**entry, "problem": str(error)}
    info = shown["info"]
    return {**entry, "created": info.get("created"), "simulated": bool(info.get("simulated")), "metrics": shown["metrics"]}


def _row(version: Mapping[str, Any]) -> tuple[str, ...]:
    values = (_metric(version["metrics"], on, metric) for on, metric in LISTED)
    note = "of SIMULATED data" if version["simulated"] else ""
    if version["problem"] is not None:
        note = f"DAMAGED: {version['problem']}"
    return (version["ref"], ", ".join(version["stands_for"]), note, *values, str(version["created"] or ""))


def _metric(metrics: Mapping[str, Any], on: str, name: str) -> str:
    """One metric for people; empty where the version has it not."""
    card = metrics.get(on)
    estimate = card.get(name) if isinstance(card, Mapping) else None
    value = estimate.get("value") if isinstance(estimate, Mapping) else estimate
    return f"{value:.4f}" if isinstance(value, float | int) else ""


def _without_empty(title: str, heads: Sequence[str], rows: Sequence[tuple[str, ...]]) -> Table:
    filled = [number for number in range(len(heads)) if any(row[number] for row in rows)]
    return Table(title, tuple(heads[number] for number in filled), tuple(tuple(row[number] for number in filled) for row in rows))


@command(models, PLACE, panel=_INSPECT, examples="sporeprint models show production\nsporeprint models show xgboost/v2 --json")
def show(session: Session, ref: Ref) -> Result:
    """Show a version: provenance, metrics and files."""
    description = _registry(session).show(ref)
    sizes = [record["size"] for record in description["files"].values()]
    facts = {
        "version": description["ref"],
        "stands for": ", ".join(PRODUCTION if alias == PRODUCTION else "champion" for alias in description["aliases"]),
        "scorer": description["scorer"],
        **{key: _in_a_line(value) for key, value in description["info"].items()},
        "identity": description["identity"],
        **{f"{on} {name}": f"{value['value']:.4g}" for on, name, value in _without_interval(description["metrics"])},
        "files": f"{len(sizes)}, {sum(sizes):,} B; sporeprint models verify checks them",
    }
    tables = (
        Table("", ("", ""), tuple((key, _cut(str(value))) for key, value in facts.items() if value not in ("", None))),
        _scores(description["metrics"]),
    )
    return Facts(description, tables)


def _cut(text: str) -> str:
    """A text, of which a hash says enough in 16 characters."""
    return text[:16] if re.fullmatch("[0-9a-f]{40,}", text) else text


def _in_a_line(value: Any) -> str:
    """A value for people: of what it holds, names and values."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_in_a_line(each)}" for key, each in _flat(value).items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _flat(values: Mapping[str, Any], within: str = "") -> dict[str, str]:
    """Nested values as lines: a.b -> text."""
    lines: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            lines |= _flat(value, f"{within}{key}.")
        else:
            lines[f"{within}{key}"] = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return lines


def _scores(metrics: Mapping[str, Any]) -> Table:
    """Every metric with its interval, on each kind of rows beside the other."""
    cards = {on: card for on, card in metrics.items() if isinstance(card, Mapping) and any(map(_has_interval, card.values()))}
    names = dict.fromkeys(name for card in cards.values() for name, estimate in card.items() if _has_interval(estimate))
    rows = tuple((name, *(_with_interval(card.get(name)) for card in cards.values())) for name in names)
    return Table("Metrics", ("", *(f"{on} rows" for on in cards)), rows)


def _without_interval(metrics: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Numbers that were chosen and not estimated: the threshold."""
    for on, card in metrics.items():
        for name, value in card.items() if isinstance(card, Mapping) else ():
            if isinstance(value, Mapping) and isinstance(value.get("value"), float | int) and not _has_interval(value):
                yield on, name, value


def _has_interval(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(value.get(key), float | int) for key in ("value", "low", "high"))


def _with_interval(estimate: Any) -> str:
    if not _has_interval(estimate):
        return ""
    return f"{estimate['value']:.4f} ({estimate['low']:.4f} to {estimate['high']:.4f})"


@command(models, PLACE, panel=_INSPECT, examples="sporeprint models verify\nsporeprint models verify xgboost/v2 || echo altered")
def verify(
    session: Session,
    ref: Annotated[str | None, typer.Argument(metavar="[REF]", show_default=False, help="Only this version. Default: all.")] = None,
) -> Result:
    """Check every file against its hash; exit code 5 if one was altered."""
    registry = _filled(session)
    refs = [f"{name}/v{number}" for name in registry.names() for number in registry.versions(name)] if ref is None else [ref]
    problems = registry.verify_all() if ref is None else tuple(f"{ref}: {problem}" for problem in registry.verify(ref))
    values = {"ok": not problems, "checked": refs, "problems": list(problems)}
    if problems:
        return Facts(values, (Table("Not as registered", ("",), tuple((problem,) for problem in problems)),), RegistryError.exit_code)
    return Facts(values, (Table("", ("",), ((f"as registered: {', '.join(refs)}",),)),))


@command(models, PLACE, panel=_INSPECT, examples="sporeprint models history\nsporeprint models history production")
def history(
    session: Session,
    alias: Annotated[str | None, typer.Argument(metavar="[NAME]", show_default=False, help="production or a model. Default: all.")] = None,
) -> Result:
    """Show every promotion and rollback, with its reason."""
    registry = _registry(session)
    moves = registry.aliases().history if alias is None else registry.history(alias)
    if not moves and alias is not None and alias != PRODUCTION:
        registry.champion(alias)  # says so where there is no such model
    rows = tuple((move.when, move.alias, move.origin or "", move.to, move.by, f"{'undone: ' * move.undo}{move.reason}") for move in moves)
    shown = Table("History", ("when", "what", "from", "to", "by", "why"), rows)
    return Facts({"history": [asdict(move) for move in moves]}, (shown if rows else Table("", ("",), (("nothing was moved yet",),)),))


AllowSimulated = Annotated[bool, typer.Option("--allow-simulated", help="Permit a version that was trained on simulated data.")]

# --- import -----------------------------------------------------------------------------------------------------------------


@command(
    models,
    ALL,
    name="import",
    panel=_PROMOTE,
    examples="sporeprint models import forest.skops --name partner\n"
    "sporeprint models import booster.ubj --name partner --source ours.csv\n"
    "sporeprint models import net.onnx --name net --features features.txt --positive-label p",
)
def import_model(
    session: Session,
    path: Annotated[Path, typer.Argument(metavar="FILE", show_default=False, help="ONNX, XGBoost JSON or UBJSON, or skops; no pickle.")],
    name: Annotated[str, typer.Option(metavar="NAME", show_default=False, help="The model's name in the registry.")],
    source: Annotated[
        str | None, typer.Option(metavar="FILE|URL", help="Publish this table first. Default: the published one.", show_default=False)
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(metavar="NAMES|FILE", help="What it takes, in order: a,b=x,b=y, or a file with a name a line.", show_default=False),
    ] = None,
    positive_label: Annotated[
        str | None, typer.Option(metavar="LABEL", help="The model's own label of the positive class.", show_default=False)
    ] = None,
    missing_number: Annotated[
        float | None, typer.Option(metavar="X", help="What the model takes for a missing number. Default: NaN.", show_default=False)
    ] = None,
    missing_text: Annotated[str, typer.Option(metavar="TEXT", help="What the model takes for a missing text.")] = "",
) -> Result:
    """Register a model made elsewhere, calibrated and guarded on the published table; it is not promoted."""
    from sporeprint.pipelines.model_import import ImportOptions, feature_names, run_import

    options = ImportOptions(None if features is None else feature_names(features), positive_label, missing_number, missing_text)
    return run_import(session.settings, session.workdir, path, name, options, source=source, steps=session.screen.steps())


# --- promotion --------------------------------------------------------------------------------------------------------------


@command(
    models,
    ALL,
    panel=_PROMOTE,
    examples="sporeprint models promote xgboost/v2\nsporeprint models promote xgboost/v2 --production --reason 'more species in training'",
)
def promote(
    session: Session,
    ref: Ref,
    production: Annotated[bool, typer.Option("--production", help="Make it the version that is served, too.")] = False,
    reason: Reason = "promoted by hand",
    allow_simulated: AllowSimulated = False,
) -> Result:
    """Make a version its model's champion, if it passes the gate: parity, schema, not worse than the one before."""
    from sporeprint.pipelines.register import run_promote

    return run_promote(
        session.settings,
        session.workdir,
        ref,
        production=production,
        reason=reason,
        allow_simulated=allow_simulated,
        steps=session.screen.steps(),
    )


@command(models, PLACE, panel=_PROMOTE, examples="sporeprint models rollback\nsporeprint models rollback xgboost --reason 'complaints'")
def rollback(
    session: Session,
    alias: Annotated[str, typer.Argument(metavar="[NAME]", help="production, or a model for its champion.")] = PRODUCTION,
    reason: Reason = "rolled back by hand",
    allow_simulated: AllowSimulated = False,
) -> Result:
    """Undo the last promotion; repeated, the one before."""
    registry = _filled(session)
    before = registry.aliases().pins.get(alias)
    restored = registry.rollback(alias, reason=reason, now=datetime.now(UTC), by=user(), allow_simulated=allow_simulated)
    values = {"alias": alias, "from": None if before is None else before.ref, "to": restored.ref}
    return Facts(values, (Table("", ("", ""), (("moved", alias), ("from", str(values["from"])), ("to", restored.ref))),))
