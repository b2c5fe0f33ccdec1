"""What people and programs see of a command: results on stdout, progress and errors on stderr.

Colours, bars and rules are for terminals. Anything else gets plain lines, one row a line, that `grep` and `awk` can read.
Text from outside (names of files, values of tables, messages) is never read as markup, and its control characters are
shown, not obeyed. Rich is imported where something is drawn with it: it takes as long to load as all the rest of the help.
"""

import contextlib
import errno
import json
import logging
import os
import re
import sys
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from sporeprint.common.files import Progress
from sporeprint.common.text_table import SilentSteps, Steps, Table
from sporeprint.errors import SporeprintError, StorageError

if TYPE_CHECKING:  # rich loads for 0.1 s, which a plain run need not pay
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import ProgressColumn, TaskID

#: Seconds between two signs of life of a step that draws no bar.
HEARTBEAT_S = 30.0

#: Control characters, half characters (of undecodable file names), line and paragraph marks, and those that turn the
#: direction of writing: what could make a terminal show something that is not there.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
#: What a message of several lines is laid out with.
LAYOUT = "\n\t"
_NUMBER = re.compile(r"[-+]?\d[\d,]*(\.\d+)?(e[-+]?\d+)?( ?(%|[a-zA-Zµ]{1,3}(/s)?))?|-|", re.ASCII)


class ReaderGoneError(Exception):
    """Nobody reads stdout any more (`sporeprint ... | head`)."""


class Result(Protocol):
    """What a command found."""

    def to_dict(self) -> Mapping[str, Any]:
        """As JSON values, for programs."""

    def tables(self) -> Sequence[Table]:
        """In tables, for people."""


def printable(text: str, *, keep: str = "") -> str:
    r"""The text with its control characters escaped as in Python (`\x1b`), but for those to keep."""
    return _UNSAFE.sub(lambda found: found[0] if found[0] in keep else repr(found[0])[1:-1], text)


def is_terminal(stream: TextIO) -> bool:
    """Whether a person looks at the stream, through something that can move the cursor."""
    return stream.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"}


def has_colour(stream: TextIO) -> bool:
    """Whether to write colours: on terminals, unless NO_COLOR says no; elsewhere only if FORCE_COLOR says yes."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or is_terminal(stream)


def styled(text: str, codes: str, stream: TextIO) -> str:
    """The text in ANSI style (`1;31` is bold red) where the stream shows colours."""
    return f"\x1b[{codes}m{text}\x1b[0m" if has_colour(stream) else text


# --- tables ----------------------------------------------------------------------------------------------------------


def plain_table(table: Table) -> str:
    """A table in lines of text: title, names of the columns, rows; cells padded, two blanks apart. No names, no line of them."""
    lines = [[printable(cell) for cell in row] for row in (_head(table) + list(table.rows))]
    widths = [max(map(_width, cells)) for cells in zip(*lines, strict=True)]
    right = _right_aligned(table)
    text = [printable(table.title)] if table.title else []
    text += ["  ".join(map(_padded, line, widths, right)).rstrip() for line in lines]
    return "\n".join(text)


def _head(table: Table) -> list[tuple[str, ...]]:
    return [table.columns] if any(table.columns) else []


def _right_aligned(table: Table) -> list[bool]:
    """Columns of nothing but numbers (with a unit, or none at all) are easier to compare by their right ends."""
    cells = [[row[number] for row in table.rows] for number in range(len(table.columns))]
    return [any(column) and all(_NUMBER.fullmatch(cell) for cell in column) for column in cells]


def _padded(text: str, width: int, right: bool) -> str:
    blanks = " " * (width - _width(text))
    return blanks + text if right else text + blanks


def _width(text: str) -> int:
    """Columns that a text takes in a terminal."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _drawn_table(table: Table, width: int) -> Any:
    from rich import box
    from rich.table import Table as Drawn
    from rich.text import Text

    drawn = Drawn(
        title=Text(printable(table.title), style="bold") if table.title else None,
        title_justify="left",
        box=box.SIMPLE_HEAD if any(table.columns) else None,
        show_header=any(table.columns),
        show_edge=False,
        pad_edge=False,
        padding=(0, 1 if any(table.columns) else 2, 0, 0),
        header_style="dim",
        border_style="dim",
    )
    wraps = _wrapping(table)
    if len(table.columns) > 2 and _narrowest(table, wraps) > width:
        table, wraps = _records(table), [False, True]
        drawn.box, drawn.show_header, drawn.padding = None, False, (0, 2, 0, 0)
    for number, (name, right) in enumerate(zip(table.columns, _right_aligned(table), strict=True)):
        drawn.add_column(
            Text(printable(name)),
            justify="right" if right else "left",
            style=None if number else "cyan",
            no_wrap=not wraps[number],
            overflow="fold",
        )
    for row in table.rows:
        drawn.add_row(*(Text(printable(cell)) for cell in row))
    return drawn


#: Columns of a terminal: a text up to the first is never broken, a longer one may be down to the second.
_UNBROKEN, _BROKEN = 24, 16


def _widths(table: Table) -> list[int]:
    cells = _head(table) + list(table.rows)
    return [max((_width(printable(row[number])) for row in cells), default=0) for number in range(len(table.columns))]


def _wrapping(table: Table) -> list[bool]:
    return [width > _UNBROKEN and not right for width, right in zip(_widths(table), _right_aligned(table), strict=True)]


def _narrowest(table: Table, wraps: Sequence[bool]) -> int:
    gaps = 2 * (len(table.columns) - 1)
    return gaps + sum(_BROKEN if wrap else width for width, wrap in zip(_widths(table), wraps, strict=True))


def _records(table: Table) -> Table:
    """The same with each row below the other, cell by cell: for terminals too narrow for the columns."""
    rows = [pair for row in table.rows for pair in [*zip(table.columns, row, strict=True), ("", "")]]
    return Table(table.title, ("", ""), tuple(rows[:-1]))


# --- the two streams -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Screen:
    """Where a command shows what it does and what it found.

    Attributes:
        out: for results.
        err: for progress and errors.
        json: results and errors go to `out` as JSON, nothing to `err`.
        quiet: no progress.
        verbose: the log goes to `err`; an error comes with its traceback.
    """

    out: TextIO
    err: TextIO
    json: bool = False
    quiet: bool = False
    verbose: bool = False

    @classmethod
    def standard(cls, *, json: bool = False, quiet: bool = False, verbose: bool = False) -> "Screen":
        """The standard streams. One that was closed before the start swallows what is written to it."""
        return cls(_open_or_null(sys.stdout), _open_or_null(sys.stderr), json, quiet, verbose)

    def show(self, result: Result) -> None:
        """Show a result: its tables, or as JSON.

        Raises:
            StorageError: if it cannot be written, to a full disk say.
            ReaderGoneError: if nobody reads it.
        """
        if self.json:
            self.write(json_text(result.to_dict()))
            return
        tables = [table for table in result.tables() if table.rows]
        if is_terminal(self.out):
            self._draw(tables)
        else:
            self.write("\n\n".join(map(plain_table, tables)))

    def _draw(self, tables: Sequence[Table]) -> None:
        console = _rich_console(self.out)
        with _written(self.out):
            for table in tables:
                console.print()
                console.print(_drawn_table(table, console.width))

    def write(self, text: str) -> None:
        """Write lines to `out`, as they are. Raises: see `show`."""
        if text:
            with _written(self.out):
                self.out.write(f"{text}\n")

    def say(self, text: str) -> None:
        """Tell a person something beside the result, unless it is to be quiet."""
        if not self.quiet and not self.json:
            _say(self.err, printable(text, keep=LAYOUT))

    def steps(self) -> Steps:
        """What draws the steps of a run here."""
        if self.quiet or self.json:
            return SilentSteps()
        return BarSteps(_rich_console(self.err)) if is_terminal(self.err) else LineSteps(self.err)

    def error(self, kind: str, message: str, *, retryable: bool = False) -> None:
        """Show an error: on `err` for people, on `out` as JSON for programs."""
        if self.json:
            with contextlib.suppress(ReaderGoneError, StorageError):  # no way is left to tell anybody
                self.write(json_text({"error": {"type": kind, "message": message, "retryable": retryable}}))
            return
        _say(self.err, f"{styled('error:', '1;31', self.err)} {printable(message, keep=LAYOUT)}")

    def trace(self, lines: Iterable[str]) -> None:
        """Show a traceback on `err`."""
        for line in lines:
            _say(self.err, printable(line))

    def logging(self) -> None:
        """Let warnings of the program through to `err`; with `verbose` whatever it logs."""
        logger = logging.getLogger("sporeprint")
        logger.handlers = [_Handler(self)]
        logger.setLevel(logging.INFO if self.verbose else logging.WARNING)
        logger.propagate = False


def json_text(value: Any) -> str:
    """A value as JSON, indented; NaN, which JSON does not know, is refused."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)


def _open_or_null(stream: TextIO | None) -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8") if stream is None else stream


@contextlib.contextmanager
def _written(stream: TextIO) -> Iterator[None]:
    """Write and flush, so that a failure is met here and not when the interpreter ends."""
    try:
        yield
        stream.flush()
    except BrokenPipeError:
        discard(stream)
        raise ReaderGoneError from None
    except OSError as error:
        discard(stream)
        raise StorageError(f"cannot write to standard output: {error.strerror or error}") from error


def discard(stream: TextIO) -> None:
    """Point a stream that cannot be written at nothing, or the interpreter would complain of it at its end."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def _say(stream: TextIO, text: str) -> None:
    """Write a line for people. That nobody reads it is no reason to stop what is being done."""
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except OSError:
        discard(stream)


class _Handler(logging.Handler):
    """Log records as lines beside the progress."""

    def __init__(self, screen: Screen) -> None:
        super().__init__()
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        if self._screen.json or (self._screen.quiet and record.levelno < logging.WARNING):
            return
        # sys.stderr, not the screen's: while a bar is drawn, rich puts itself there to print above the bar.
        stream = _open_or_null(sys.stderr)
        shown = styled(f"{record.levelname.lower()}:", "33" if record.levelno >= logging.WARNING else "2", stream)
        _say(stream, f"{shown} {printable(record.getMessage(), keep=LAYOUT)}")


# --- steps without a terminal ----------------------------------------------------------------------------------------


class LineSteps:
    """Steps as plain lines: one when a step ends, and now and then one while a long one goes on."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[Progress]:
        """Say how the step ended, and what it took."""
        progress = _Beats(name, self._stream, self._clock)
        outcome = "failed after"
        try:
            yield progress
            outcome = "done"
        except KeyboardInterrupt:
            outcome = "interrupted after"
            raise
        finally:
            _say(self._stream, f"{printable(name)} ... {outcome} {seconds(progress.elapsed())}")


class _Beats:
    """Progress that writes a line every `HEARTBEAT_S` seconds."""

    def __init__(self, name: str, stream: TextIO, clock: Callable[[], float]) -> None:
        self._name = name
        self._stream = stream
        self._clock = clock
        self._began = self._spoke = clock()
        self._total: int | None = None
        self._done = 0
        self._text = ""

    def elapsed(self) -> float:
        return self._clock() - self._began

    def total(self, amount: int | None) -> None:
        self._total = amount

    def advance(self, amount: int) -> None:
        self._done += amount
        self._beat()

    def text(self, text: str) -> None:
        self._text = text
        self._beat()

    def _beat(self) -> None:
        if (now := self._clock()) - self._spoke < HEARTBEAT_S:
            return
        self._spoke = now
        how_far = f"{min(self._done / self._total, 1):.0%}" if self._total else compact(self._done) if self._done else ""
        parts = [part for part in (how_far, self._text) if part]
        _say(self._stream, f"{printable(self._name)} ... {printable(', '.join(parts))} after {seconds(self.elapsed())}")


def seconds(taken: float) -> str:
    """A time for people: 0.42 s, 12.3 s, 4 min 05 s, 2 h 03 min."""
    if taken < 9.995:
        return f"{taken:.2f} s"
    if taken < 59.95:
        return f"{taken:.1f} s"
    minutes, rest = divmod(round(taken), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def compact(amount: float) -> str:
    """A count in a few characters: 999, 61.1k, 1.22M, 3.4G."""
    for unit in ("", "k", "M", "G"):
        if abs(amount) < 999.5:
            return f"{amount:.0f}" if not unit else f"{amount:.3g}{unit}"
        amount /= 1000
    return f"{amount:.3g}T"


# --- steps on a terminal ---------------------------------------------------------------------------------------------


def _rich_console(stream: TextIO) -> "Console":
    from rich.console import Console

    # Markup and highlighting off: what is printed is text. Its own colour logic knows NO_COLOR but not an empty TERM.
    return Console(file=stream, markup=False, highlight=False, emoji=False, no_color=not has_colour(stream))


class BarSteps:
    """Steps on a terminal: a bar while one goes on, a line with its time when it has ended."""

    def __init__(self, console: "Console") -> None:
        self._console = console

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[Progress]:
        """Draw the step."""
        began = time.monotonic()
        outcome, mark, style = "failed after ", "✗", "red"
        try:
            with _bars(self._console) as bars:
                yield _Bar(bars, bars.add_task(printable(name), total=None, said=""))
            outcome, mark, style = "", "✓", "green"
        except KeyboardInterrupt:
            outcome = "interrupted after "
            raise
        finally:
            self._ended(name, mark, style, f"{outcome}{seconds(time.monotonic() - began)}")

    def _ended(self, name: str, mark: str, style: str, said: str) -> None:
        from rich.text import Text

        if self._console.options.ascii_only:
            mark = {"✓": "+", "✗": "x"}[mark]
        line = Text.assemble((mark, style), f" {printable(name):<14} ", (said, "dim" if style == "green" else style))
        with contextlib.suppress(OSError):
            self._console.print(line)


class _Bar:
    """One step's progress in its bar."""

    def __init__(self, bars: "Bars", task: "TaskID") -> None:
        self._bars = bars
        self._task = task

    def total(self, amount: int | None) -> None:
        self._bars.update(self._task, total=amount)

    def advance(self, amount: int) -> None:
        self._bars.advance(self._task, amount)

    def text(self, text: str) -> None:
        self._bars.update(self._task, said=printable(text))


def _bars(console: "Console") -> "Bars":
    from rich.console import ConsoleRenderable
    from rich.constrain import Constrain
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
    from rich.table import Column

    narrow = console.width < 80
    ascii_only = console.options.ascii_only
    rest = Column(ratio=1, no_wrap=True, overflow="crop" if ascii_only else "ellipsis")
    columns: list[ProgressColumn] = [
        SpinnerColumn("line" if ascii_only else "dots"),
        TextColumn("{task.description:<14}", markup=False, table_column=Column(no_wrap=True)),
        BarColumn(bar_width=12 if narrow else 24),
        _counts(brief=narrow),
        # What is said takes the place that is left, and no more.
        TextColumn("{task.fields[said]}", style="dim", markup=False, table_column=rest),
    ]

    class Narrower(Progress):
        """Leaves the end of the line free: the `^C` of an interrupt would wrap there, and the bar stay behind."""

        def get_renderable(self) -> ConsoleRenderable:
            return Constrain(super().get_renderable(), max(20, console.width - 4))

    return Narrower(*columns, console=console, transient=True, expand=True)


def _counts(*, brief: bool) -> "ProgressColumn":
    from rich.progress import ProgressColumn, Task
    from rich.table import Column
    from rich.text import Text

    class Counts(ProgressColumn):
        """How much is done, of how much, how much a second, and how long the rest takes; or how long it has taken."""

        def render(self, task: Task) -> Text:
            parts = []
            if task.total:
                parts.append(f"{min(task.completed / task.total, 1):4.0%}")
            if task.completed and not brief:
                parts.append(f"{compact(task.completed)}/{compact(task.total)}" if task.total else compact(task.completed))
                parts += [f"{compact(task.speed)}/s"] if task.speed and task.speed >= 1 else []
            left = task.time_remaining if task.total else None
            parts.append(f"{clock(task.elapsed or 0)}" if left is None else f"{clock(left)} left")
            return Text("  ".join(parts))

    return Counts(Column(no_wrap=True))


def clock(taken: float) -> str:
    """A time that ticks: 0:07, 12:34, 1:02:03."""
    minutes, rest = divmod(round(taken), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


def causes(error: BaseException) -> Iterable[str]:
    """The lines of a traceback, for `--verbose`."""
    import traceback

    for chunk in traceback.format_exception(error):
        yield from chunk.rstrip("\n").split("\n")


def described(error: BaseException) -> tuple[str, str, bool]:
    """An error's type, message and whether trying again can help, as it is shown."""
    if isinstance(error, SporeprintError):
        return type(error).__name__, str(error), error.retryable
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename is not None else ""
        full = "; make room and run it again" if error.errno in {errno.ENOSPC, errno.EDQUOT} else ""
        return "StorageError", f"{error.strerror or error}{where}{full}", False
    return type(error).__name__, str(error), False
