"""Which answers an evaluation looks at: a period of time or the newest n, of one model or arm, with certain values."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from sporeprint.common.counts import number_of
from sporeprint.errors import UsageError, nearest
from sporeprint.monitoring.evaluation import minute, moment
from sporeprint.schema import DatasetSchema, Kind, day_number

SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US
UNITS = {"s": SECOND_US, "m": 60 * SECOND_US, "h": HOUR_US, "d": 24 * HOUR_US, "w": 7 * 24 * HOUR_US}
#: Most rows of a window by count, and hours of one by time: ten years.
MOST_ROWS, MOST_HOURS = 10_000_000, 87_660
#: Lower and upper end of a slice of numbers.
_RANGE = re.compile(r"^\s*(?P<low>[-+.0-9eE]*)\s*\.\.\s*(?P<high>[-+.0-9eE]*)\s*$")


@dataclass(frozen=True)
class SliceCondition:
    """What one column of a slice may be.

    Attributes:
        column: its name.
        values: nominal: codes; `None` among them is a missing one.
        between: numeric: lower and upper end, both included.
    """

    column: str
    values: tuple[str | None, ...] = ()
    between: tuple[float, float] | None = None

    @property
    def description(self) -> str:
        """In words."""
        if self.between is not None:
            low, high = self.between
            return f"{self.column}={low:g}" if low == high else f"{self.column}={low:g}..{high:g}"
        return f"{self.column}={'|'.join(value or '' for value in self.values)}"


@dataclass(frozen=True)
class WindowRequest:
    """The window that a caller requests.

    Attributes:
        last_us: length of a window that ends now, in microseconds.
        begin_us: begin of the window, microseconds since 1970.
        end_us: its end, not part of it; None: now.
        rows: the newest so many answers.
        reference_us: length of the reference period before the window, in microseconds; None: the rows the model was validated on.
        test: name of an A/B test.
        arm: a or b of it.
        where: texts of a slice, column=value.
    """

    last_us: int | None = None
    begin_us: int | None = None
    end_us: int | None = None
    rows: int | None = None
    reference_us: int | None = None
    test: str | None = None
    arm: str | None = None
    where: tuple[str, ...] = ()


@dataclass(frozen=True)
class Window:
    """A period of time, or the newest n answers up to its end.

    Attributes:
        kind: in words, the same for every evaluation of a stream: "last 24h", "from to", "newest 1,000".
        begin_us: its begin, microseconds since 1970; 0 for a window by count.
        end_us: its end, not part of it.
        rows: the newest so many; None: all.
    """

    kind: str
    begin_us: int
    end_us: int
    rows: int | None = None

    @property
    def whole(self) -> bool:
        """Whether it is of whole hours, for which there are counts."""
        return self.rows is None and self.begin_us % HOUR_US == 0 and self.end_us % HOUR_US == 0

    @property
    def length_us(self) -> int:
        """How long it is."""
        return self.end_us - self.begin_us

    @property
    def description(self) -> str:
        """In words."""
        if self.rows is not None:
            return f"the newest {number_of(self.rows, 'answer')} before {minute(self.end_us / SECOND_US)}"
        return f"answers from {minute(self.begin_us / SECOND_US)} to {minute(self.end_us / SECOND_US)}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        begin = None if self.rows is not None else moment(self.begin_us / SECOND_US)
        return {"kind": self.kind, "begin": begin, "end": moment(self.end_us / SECOND_US), "rows": self.rows}


@dataclass(frozen=True)
class Slice:
    """Rows that meet all conditions; without any, all rows."""

    conditions: tuple[SliceCondition, ...] = field(default_factory=tuple)

    def __bool__(self) -> bool:
        return bool(self.conditions)

    def renamed(self, names: Mapping[str, str]) -> "Slice":
        """The same, with other names for some columns."""
        return Slice(tuple(replace(each, column=names.get(each.column, each.column)) for each in self.conditions))

    @property
    def description(self) -> str:
        """In words; the same for the same conditions."""
        return ", ".join(condition.description for condition in self.conditions)


def parse_duration(text: str, option: str) -> int:
    """Microseconds of a text such as 90m, 24h, 30d or 4w.

    Raises:
        UsageError: it is no such text.
    """
    match = re.fullmatch(r"\s*([0-9]{1,9})\s*([smhdw])\s*", text)
    if not match or not int(match[1]):
        raise UsageError(f"{option} is {text!r}; expected a number with s, m, h, d or w: 90m, 24h, 30d, 4w")
    length = int(match[1]) * UNITS[match[2]]
    if length > MOST_HOURS * HOUR_US:
        raise UsageError(f"{option} is {text!r}; expected ten years at most")
    return length


def parse_instant(text: str, option: str) -> int:
    """Microseconds since 1970 of an ISO 8601 time with a zone, such as 2026-03-29T01:00:00Z or 2026-03-29T03:00+02:00.

    Raises:
        UsageError: it is no such text. A time without a zone is one of several: at which of them a clock is put back, nobody can tell.
    """
    try:
        instant = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(f"{option} is {text!r}; expected a time as in 2026-03-29T01:00Z or 2026-03-29T03:00+02:00") from None
    if instant.tzinfo is None:
        raise UsageError(f"{option} is {text!r}, without a time zone; add Z for UTC, or the offset: {text.strip()}Z, {text.strip()}+02:00")
    try:
        since = instant.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    except OverflowError:
        raise UsageError(f"{option} is {text!r}; expected a year from 1970 to 9999") from None
    micros = (since.days * 86_400 + since.seconds) * SECOND_US + since.microseconds
    if micros < 0:
        raise UsageError(f"{option} is {text!r}; expected a time after 1970")
    return micros


def requested_window(request: WindowRequest, now_us: int, usual_us: int) -> Window:
    """The window that somebody asks for.

    Args:
        request: time span, arm and filters.
        now_us: what time it is.
        usual_us: how long a window is that nothing is said of.

    Raises:
        UsageError: it is none, or more than one.
    """
    kinds = {"--last": request.last_us, "--from": request.begin_us, "--rows": request.rows}
    if len(named := [name for name, value in kinds.items() if value is not None]) > 1:
        raise UsageError(f"{' and '.join(named)} each say what the window is; give one")
    if request.end_us is not None and request.begin_us is None:
        raise UsageError("--to needs --from")
    if request.rows is not None:
        if not 1 <= request.rows <= MOST_ROWS:
            raise UsageError(f"--rows is {request.rows}; expected 1 to {MOST_ROWS:,}")
        return Window(f"newest {request.rows:,}", 0, now_us, request.rows)
    if request.begin_us is not None:
        end = now_us - now_us % HOUR_US if request.end_us is None and request.begin_us % HOUR_US == 0 else request.end_us or now_us
        if end <= request.begin_us:
            begin = minute(request.begin_us / SECOND_US)
            raise UsageError(f"the window ends at {minute(end / SECOND_US)}, not after it begins at {begin}")
        if end > now_us:
            raise UsageError(
                f"the window ends at {minute(end / SECOND_US)}, and it is {minute(now_us / SECOND_US)}: nobody knows the future"
            )
        return Window("from to", request.begin_us, end)
    length = request.last_us or usual_us
    # The hour that is not over yet has no place in a window that is compared with others.
    end = now_us if length % HOUR_US else now_us - now_us % HOUR_US
    return Window(f"last {_shown(length)}", end - length, end)


def _shown(length_us: int) -> str:
    unit = next(unit for unit in "hms" if length_us % UNITS[unit] == 0)
    return f"{length_us // UNITS[unit]}{unit}"


def parse_slice(texts: Sequence[str], schema: DatasetSchema) -> Slice:
    """The slice that texts such as column=value name. A column may be given several times: any of the values will do.

    Args:
        texts: of nominal columns a code or a word, nothing for a missing one; of numeric columns a number, or low..high.
        schema: the contract.

    Raises:
        UsageError: there is no such column or value.
    """
    conditions: dict[str, SliceCondition] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            raise UsageError(f"--where {text!r}: expected column=value")
        column = schema.columns.get(name)
        if column is None:
            raise UsageError(f"--where {text!r}: no column {name!r}{nearest(name, schema.columns)}; there are {', '.join(schema.columns)}")
        if column.is_number:
            if name in conditions:
                raise UsageError(f"--where {text!r}: {name} is given twice; name one range, as in {name}=1..5")
            conditions[name] = SliceCondition(name, between=_between(text, _without_dates(value) if column.kind is Kind.DATE else value))
            continue
        code = _code(text, name, value, column.values)
        before = conditions.get(name, SliceCondition(name))
        conditions[name] = SliceCondition(name, tuple(dict.fromkeys((*before.values, code))))
    return Slice(tuple(conditions[name] for name in sorted(conditions)))


def _code(text: str, name: str, value: str, values: Mapping[str, str] | None) -> str | None:
    if not value:
        return None
    if values is None or value in values:
        return value
    for code, word in values.items():
        if word == value:
            return code
    known = ", ".join(f"{code} ({word})" for code, word in values.items())
    raise UsageError(f"--where {text!r}: {name} has no value {value!r}{nearest(value, [*values, *values.values()])}; there are {known}")


def _without_dates(value: str) -> str:
    """A range of dates as one of day numbers."""
    return re.sub(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", lambda match: f"{day_number(match[0]):.0f}", value)


def _between(text: str, value: str) -> tuple[float, float]:
    matched = _RANGE.match(value)
    try:
        if matched is None:
            low = high = float(value)
        else:
            low = float(matched["low"]) if matched["low"] else float("-inf")
            high = float(matched["high"]) if matched["high"] else float("inf")
    except ValueError:
        low, high = float("nan"), float("nan")
    if not low <= high or (matched is None and low in (float("inf"), float("-inf"))):
        raise UsageError(f"--where {text!r}: expected a number or a range of numbers, as in 5, 5..10 or 5..")
    return low, high
