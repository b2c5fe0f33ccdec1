"""Writing to a terminal, a pipe or nothing: colours, control characters, streams that nobody reads.

Text from outside (names of files, values of tables, messages) is never read as markup, and its control characters are
shown, not obeyed. Rich is imported where something is drawn with it: it takes as long to load as all the rest of the help.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from sporeprint.errors import StorageError

if TYPE_CHECKING:  # rich loads for 0.1 s, which a plain run need not pay
    from rich.console import Console

#: Control characters, half characters (of undecodable file names), line and paragraph marks, and those that turn the
#: direction of writing: what could make a terminal show something that is not there.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


#: What a message of several lines is laid out with.
LAYOUT = "\n\t"


class ReaderGoneError(Exception):
    """Nobody reads stdout any more (`sporeprint ... | head`)."""


def printable(text: str, *, keep: str = "") -> str:
    r"""The text with its control characters escaped as in Python (`\x1b`), but for those to keep."""
    return _UNSAFE.sub(lambda match: match[0] if match[0] in keep else repr(match[0])[1:-1], text)


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


def open_or_null(stream: TextIO | None) -> TextIO:
    """The stream; nothing (`/dev/null`) where it was closed before the start."""
    return Path(os.devnull).open("w", encoding="utf-8") if stream is None else stream


@contextlib.contextmanager
def flushed(stream: TextIO) -> Iterator[None]:
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


def write_line(stream: TextIO, text: str) -> None:
    """Write a line for people. That nobody reads it is no reason to stop what is being done."""
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except OSError:
        discard(stream)


def rich_console(stream: TextIO) -> "Console":
    """Rich's console on a stream, with no markup and no guesses about the text."""
    from rich.console import Console

    # Markup and highlighting off: what is printed is text. Its own colour logic knows NO_COLOR but not an empty TERM.
    return Console(file=stream, markup=False, highlight=False, emoji=False, no_color=not has_colour(stream))
