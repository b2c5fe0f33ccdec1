"""The exception tree. A type says the exit code and whether trying again can help; no text has to be parsed.

Every message says what is wrong, which value, what is allowed and what to do. Secrets never enter a message.
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any


class SporeprintError(Exception):
    """Base of every error a user can meet. `exit_code` follows the table in the README; `retryable` is for orchestrators.

    >>> import sporeprint
    >>> try:
    ...     sporeprint.load("no_such_model", WORKDIR)
    ... except sporeprint.SporeprintError as error:
    ...     error.exit_code
    5
    """

    exit_code: int = 1
    retryable: bool = False


class UsageError(SporeprintError):
    """The command or call is wrong: an unknown option, a missing or contradicting argument."""

    exit_code = 2


class MissingExtraError(SporeprintError):
    """The operation needs a library that is not installed."""

    exit_code = 3


class ConfigError(SporeprintError):
    """The configuration is wrong: unknown key, wrong type, contradicting settings."""

    exit_code = 3


class DataError(SporeprintError):
    """The table cannot be used as it is: unreadable, wrong columns, too many rejected rows, one class only."""

    exit_code = 4


class RegistryError(SporeprintError):
    """A model or version is unknown, altered, refused by a gate, or not servable."""

    exit_code = 5


class NotServableError(RegistryError):
    """The estimator has no pickle-free serving form. It can be evaluated, never served."""


class RefusedError(RegistryError):
    """A gate refuses a version."""


class StorageError(SporeprintError):
    """A file or database cannot be read or written: permission, full disk, wrong schema."""

    exit_code = 6


class RetryableError(SporeprintError):
    """Nothing is wrong with the input; the same call may succeed later."""

    exit_code = 75
    retryable = True


class SourceUnavailableError(RetryableError):
    """The source did not answer in time, or answered that it cannot now."""


class StorageUnavailableError(RetryableError):
    """A database or journal does not answer, is locked, or has no room left now. Nothing was half written."""


class UndeliveredError(RetryableError):
    """A channel did not take a message."""


class BusyError(RetryableError):
    """Another run holds the lock on this work directory."""


class JournalError(StorageError, RetryableError):
    """A journal cannot be written or read now: the disk fails, or the journal is closed. Records may not be stored."""

    exit_code = 75
    retryable = True


class JournalFullError(JournalError):
    """A journal takes nothing more for now: too many are waiting, the database has been away too long, or the disk is full."""


def nearest(word: str, allowed: Iterable[str]) -> str:
    """A hint for a mistyped word: ` (did you mean 'x'?)`, or an empty string where nothing is near."""
    close = difflib.get_close_matches(word, list(allowed), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""


_KINDS = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    "string_type": "a text",
    "finite_number": "a finite number",
}
_BOUNDS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}


def expectation(error: Mapping[str, Any]) -> str:
    """What pydantic expected at the place of a fault: `expected a whole number`, `expected at least 0`, `expected one of a, b`.

    Args:
        error: one of the faults of a `ValidationError`.
    """
    kind, context, message = str(error["type"]), error.get("ctx", {}), str(error["msg"]).removeprefix("Value error, ")
    if kind in _BOUNDS:
        word, key = _BOUNDS[kind]
        return f"expected {word} {context[key]:g}"
    if kind in {"literal_error", "enum"}:
        return f"expected one of {context['expected'].replace(' or ', ', ').replace(chr(39), '')}"
    if kind == "string_pattern_mismatch":
        return f"expected a text that matches {context['pattern']}"
    return f"expected {_KINDS[kind]}" if kind in _KINDS else message
