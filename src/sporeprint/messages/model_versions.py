"""Registered versions one by one: what they are, how two differ, what the gate says, and what the aliases stood for."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from sporeprint.messages.base import RequestMessage, response
from sporeprint.messages.version_details import Alias, MetricEstimate, Part, VersionDetails


@response
class VersionFile:
    """A file of a version.

    Attributes:
        name: its name.
        bytes: its size.
        sha256: its digest, as registered.
        readable: whether it can be read over HTTP: model cards, pictures and JSON.
    """

    name: str
    bytes: int
    sha256: str
    readable: bool


@response
class AliasChangeEntry:
    """One change of an alias.

    Attributes:
        number: of the change, from 1.
        when: ISO 8601.
        alias: production, or the model whose champion changed.
        before: the version that it stood for before; null the first time.
        ref: the version that it stands for since.
        by: who or what changed it.
        reason: why.
        undo: whether it is a rollback.
    """

    number: int
    when: str
    alias: str
    before: str | None
    ref: str
    by: str
    reason: str
    undo: bool


@response
class AliasHistory:
    """What the aliases stood for.

    Attributes:
        history: the changes, the latest first.
        next: for `before` of the next page; null on the last.
    """

    history: tuple[AliasChangeEntry, ...]
    next: int | None


@response
class VersionResponse(VersionDetails):
    """A registered version with all that is known of it.

    Attributes:
        manifest: sha256 of its manifest, which pins every file.
        identity: digest of what gives its predictions: the same for two fits of the same.
        scorer: kind of its scorer.
        info: where it comes from: run, parameters, library versions.
        promise: what its threshold promises, as numbers.
        notes: what is to be known about its promises.
        card: its model card, Markdown.
        files: its files.
        problems: what is not as it was registered; every file was read and its digest computed.
        history: the changes of aliases that it took part in, the latest first.
    """

    manifest: str
    identity: str
    scorer: str
    info: Mapping[str, Any]
    promise: Mapping[str, Any]
    notes: tuple[str, ...]
    card: str | None
    files: tuple[VersionFile, ...]
    problems: tuple[str, ...]
    history: tuple[AliasChangeEntry, ...]


@response
class MetricComparison:
    """One metric of two versions.

    Attributes:
        part: seen or unseen.
        name: of the metric.
        a: of the first version; null where it has none.
        b: of the second.
        difference: b minus a, from the two intervals (Zou and Donner 2008): too wide, never too narrow, where both were measured on the
            same rows; null where one has no value.
        better: which one is better, if the difference's interval leaves out 0; null otherwise.
    """

    part: Part
    name: str
    a: MetricEstimate | None
    b: MetricEstimate | None
    difference: MetricEstimate | None
    better: Literal["a", "b"] | None


@response
class ValueComparison:
    """One value of two versions.

    Attributes:
        name: what it is, with its section: parameters, data, guard, answers, libraries.
        section: that section.
        a: of the first version, null where it has none.
        b: of the second.
        differs: whether they differ.
    """

    section: Literal["parameters", "data", "guard", "answers", "libraries"]
    name: str
    a: Any
    b: Any
    differs: bool


@response
class ComparisonResponse:
    """Two versions side by side.

    Attributes:
        a: the first, as name/v1.
        b: the second.
        metrics: every metric of both.
        values: parameters, data, guard, answers and library versions.
        contract: what differs between the tables that they are for, as sentences; empty if nothing does.
    """

    a: VersionDetails
    b: VersionDetails
    metrics: tuple[MetricComparison, ...]
    values: tuple[ValueComparison, ...]
    contract: tuple[str, ...]


class CheckRequest(RequestMessage):
    """What would be promoted. In the query, or as JSON.

    Attributes:
        version: the version, as 2 or v2.
        alias: champion: of its model; production: that, and the version that serves.
    """

    version: Annotated[int, Field(ge=1)] | Annotated[str, Field(pattern=r"^v?[1-9][0-9]{0,8}$")] | None = None
    alias: Alias | None = None


@response
class GateCheckResult:
    """One check of the gate.

    Attributes:
        name: parity, contract, accuracy, or simulated: it was trained on invented rows, and needs an explicit yes.
        against: the version that it would replace; null where there is none.
        passes: whether it holds.
        value: what was measured; null where nothing is.
        limit: what is allowed; null where nothing is measured.
        says: the same as a sentence.
    """

    name: Literal["parity", "contract", "accuracy", "simulated"]
    against: str | None
    passes: bool
    value: float | None
    limit: float | None
    says: str


@response
class CheckResponse:
    """What the gate would say to a promotion. Nothing moves.

    Attributes:
        ref: the version, as name/v2.
        alias: champion or production.
        replaces: the versions that it would replace.
        passes: whether it would be promoted; with invented rows: if that is explicitly allowed.
        checks: what was checked.
        seconds: how long it took.
    """

    ref: str
    alias: Alias
    replaces: tuple[str, ...]
    passes: bool
    checks: tuple[GateCheckResult, ...]
    seconds: float
