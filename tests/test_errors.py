import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sporeprint import errors

EXIT_CODES = {
    "SporeprintError": 1,
    "UsageError": 2,
    "ConfigError": 3,
    "MissingExtraError": 3,
    "DataError": 4,
    "RegistryError": 5,
    "RefusedError": 5,
    "NotServableError": 5,
    "StorageError": 6,
    "RetryableError": 75,
    "SourceUnavailableError": 75,
    "StorageUnavailableError": 75,
    "BusyError": 75,
    "UndeliveredError": 75,
    "JournalError": 75,
    "JournalFullError": 75,
}


def tree() -> dict[str, type[errors.SporeprintError]]:
    return {name: kind for name, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.SporeprintError)}


def test_every_error_has_the_documented_exit_code() -> None:
    assert {name: kind.exit_code for name, kind in tree().items()} == EXIT_CODES


def test_every_error_is_caught_as_the_base() -> None:
    assert all(issubclass(kind, errors.SporeprintError) for kind in tree().values())


def test_only_exit_code_75_is_retryable() -> None:
    assert all(kind.retryable == (kind.exit_code == 75) for kind in tree().values())


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("sed", " (did you mean 'seed'?)"),
        ("tran", " (did you mean 'train'?)"),
        ("seed", " (did you mean 'seed'?)"),
        ("zebra", ""),
        ("", ""),
    ],
)
def test_nearest_names_what_is_near_and_nothing_else(word: str, hint: str) -> None:
    assert errors.nearest(word, ["seed", "train", "test"]) == hint


def test_nearest_of_nothing_is_nothing() -> None:
    assert errors.nearest("seed", []) == ""


@given(st.text(max_size=20), st.lists(st.text(max_size=20), max_size=5))
def test_nearest_only_ever_names_what_is_allowed(word: str, allowed: list[str]) -> None:
    hint = errors.nearest(word, iter(allowed))
    assert hint in {"", *(f" (did you mean {name!r}?)" for name in allowed)}
