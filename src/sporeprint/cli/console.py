"""What people and programs see of a command: results on stdout, progress and errors on stderr.

Colours, bars and rules are for terminals. Anything else gets plain lines, one row a line, that `grep` and `awk` can read.
Text from outside (names of files, values of tables, messages) is never read as markup, and its control characters are
shown, not obeyed. Rich is imported where something is drawn with it: it takes as long to load as all the rest of the help.
"""

import contextlib
import errno
import json
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

from sporeprint.cli.progress_display import BarSteps, LineSteps
from sporeprint.cli.table_display import drawn_table, plain_table
from sporeprint.cli.terminal import (
    LAYOUT,
    ReaderGoneError,
    flushed,
    is_terminal,
    open_or_null,
    printable,
    rich_console,
    styled,
    write_line,
)
from sporeprint.common.progress import SilentSteps, Steps
from sporeprint.common.text_table import Table
from sporeprint.errors import SporeprintError, StorageError


class Result(Protocol):
    """The result of a command."""

    def to_dict(self) -> Mapping[str, Any]:
        """As JSON values, for programs."""

    def tables(self) -> Sequence[Table]:
        """In tables, for people."""


@dataclass(frozen=True, slots=True)
class Screen:
    """The output of a command: results, progress and errors.

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
        return cls(open_or_null(sys.stdout), open_or_null(sys.stderr), json, quiet, verbose)

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
        console = rich_console(self.out)
        with flushed(self.out):
            for table in tables:
                console.print()
                console.print(drawn_table(table, console.width))

    def write(self, text: str) -> None:
        """Write lines to `out`, as they are. Raises: see `show`."""
        if text:
            with flushed(self.out):
                self.out.write(f"{text}\n")

    def say(self, text: str) -> None:
        """Tell a person something beside the result, unless it is to be quiet."""
        if not self.quiet and not self.json:
            write_line(self.err, printable(text, keep=LAYOUT))

    def steps(self) -> Steps:
        """What draws the steps of a run here."""
        if self.quiet or self.json:
            return SilentSteps()
        return BarSteps(rich_console(self.err)) if is_terminal(self.err) else LineSteps(self.err)

    def busy(self, name: str) -> AbstractContextManager[object]:
        """What shows on a terminal that a command is at work whose steps nobody counts."""
        return self.steps().step(name) if is_terminal(self.err) else contextlib.nullcontext()

    def error(self, kind: str, message: str, *, retryable: bool = False) -> None:
        """Show an error: on `err` for people, on `out` as JSON for programs."""
        if self.json:
            with contextlib.suppress(ReaderGoneError, StorageError):  # no way is left to tell anybody
                self.write(json_text({"error": {"type": kind, "message": message, "retryable": retryable}}))
            return
        write_line(self.err, f"{styled('error:', '1;31', self.err)} {printable(message, keep=LAYOUT)}")

    def trace(self, lines: Iterable[str]) -> None:
        """Show a traceback on `err`."""
        for line in lines:
            write_line(self.err, printable(line))

    def logging(self) -> None:
        """Let warnings of the program through to `err`; with `verbose` whatever it logs."""
        logger = logging.getLogger("sporeprint")
        logger.handlers = [_Handler(self)]
        logger.setLevel(logging.INFO if self.verbose else logging.WARNING)
        logger.propagate = False


def json_text(value: Any) -> str:
    """A value as JSON, indented; NaN, which JSON does not know, is refused."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)


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
        stream = open_or_null(sys.stderr)
        shown = styled(f"{record.levelname.lower()}:", "33" if record.levelno >= logging.WARNING else "2", stream)
        write_line(stream, f"{shown} {printable(record.getMessage(), keep=LAYOUT)}")


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
