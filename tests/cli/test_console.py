"""What is shown, where, and that nothing from outside can write on the terminal."""

import io
import json
import logging
import os
import pty
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sporeprint.cli.console import Screen, described
from sporeprint.cli.progress_display import BarSteps, LineSteps, clock, compact, seconds
from sporeprint.cli.table_display import plain_table
from sporeprint.cli.terminal import ReaderGoneError, has_colour, is_terminal, printable
from sporeprint.common.progress import SilentSteps
from sporeprint.common.text_table import Table
from sporeprint.errors import BusyError, DataError, StorageError

FACTS = Table("", ("", ""), (("source", "data/raw/x.csv"), ("rows", "61,069")))
SCORES = Table("Evaluated", ("model", "rows", "accuracy"), (("xgboost", "seen", "0.9999"), ("decision_tree", "unseen", "-")))


@dataclass(frozen=True)
class Found:
    """A result."""

    shown: tuple[Table, ...] = (FACTS, SCORES)
    values: Mapping[str, Any] = field(default_factory=lambda: {"rows": 61069})

    def to_dict(self) -> Mapping[str, Any]:
        return self.values

    def tables(self) -> Sequence[Table]:
        return self.shown


class Terminal(io.StringIO):
    """A stream with somebody in front of it."""

    def isatty(self) -> bool:
        return True


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


# --- text from outside -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mushrooms [red].csv", "mushrooms [red].csv"),
        ("grün, 茸, 🍄", "grün, 茸, 🍄"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\rb\nc\td", "a\\rb\\nc\\td"),
        ("\x9b2J", "\\x9b2J"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("caf\udce9.csv", "caf\\udce9.csv"),
    ],
)
def test_control_characters_are_shown_not_obeyed(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_line_ends_can_be_kept() -> None:
    assert printable("a\nb\x07", keep="\n") == "a\nb\\x07"


@given(st.text(st.characters(exclude_categories=())))
def test_what_is_printable_can_be_encoded_and_moves_no_cursor(text: str) -> None:
    shown = printable(text)
    assert printable(shown) == shown
    assert not any(byte < 32 or byte == 127 for byte in shown.encode())


# --- plain tables ----------------------------------------------------------------------------------------------------


def test_a_plain_table_has_a_line_a_row_and_numbers_to_the_right() -> None:
    table = Table("Models", ("model", "rows", "time"), (("xgboost", "9", "1.2 s"), ("tree", "1,000", "12.3 s")))
    assert plain_table(table) == "Models\nmodel     rows    time\nxgboost      9   1.2 s\ntree     1,000  12.3 s"


def test_columns_without_names_have_no_line_of_names() -> None:
    assert plain_table(FACTS) == "source  data/raw/x.csv\nrows    61,069"


def test_a_column_of_mixed_words_and_numbers_stays_left() -> None:
    assert plain_table(Table("", ("", ""), (("a", "1"), ("b", "words")))) == "a  1\nb  words"


def test_wide_and_combining_characters_take_the_place_they_take() -> None:
    table = Table("", ("", ""), (("茸", "x"), ("e\u0301", "x"), ("abcd", "x")))
    assert plain_table(table) == "茸    x\ne\u0301     x\nabcd  x"


def test_an_empty_table_is_its_names() -> None:
    assert plain_table(Table("Rejected", ("rule", "rows"), ())) == "Rejected\nrule  rows"


def test_a_cell_cannot_leave_its_line() -> None:
    assert plain_table(Table("", ("", ""), (("a\nb", "\x1b[2J"),))) == "a\\nb  \\x1b[2J"


# --- results ---------------------------------------------------------------------------------------------------------


def test_a_result_goes_to_stdout_in_plain_tables_without_empty_ones() -> None:
    out, err = io.StringIO(), io.StringIO()
    Screen(out, err).show(Found((FACTS, Table("Rejected", ("rule",), ()), SCORES)))
    assert out.getvalue() == (
        "source  data/raw/x.csv\nrows    61,069\n\n"
        "Evaluated\nmodel          rows    accuracy\nxgboost        seen      0.9999\ndecision_tree  unseen         -\n"
    )
    assert err.getvalue() == ""


def test_with_json_a_result_is_one_document() -> None:
    out = io.StringIO()
    Screen(out, io.StringIO(), json=True).show(Found(values={"word": "grün", "share": 0.1}))
    assert json.loads(out.getvalue()) == {"word": "grün", "share": 0.1}
    assert "grün" in out.getvalue()


def test_json_never_holds_what_json_does_not_know() -> None:
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        Screen(io.StringIO(), io.StringIO(), json=True).show(Found(values={"share": float("nan")}))


def test_on_a_terminal_text_is_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    out = Terminal()
    Screen(out, io.StringIO()).show(Found((Table("[b]T[/b]", ("[i]c[/i]", "d"), (("[red]x[/red]", "\x1b[5m:warning:"),)),)))
    for text in ("[b]T[/b]", "[i]c[/i]", "[red]x[/red]", "\\x1b[5m:warning:"):
        assert text in out.getvalue()


def test_on_a_terminal_there_is_colour_unless_it_is_unwanted(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Terminal()
    Screen(out, io.StringIO()).show(Found())
    assert "\x1b[36m" in out.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    out = Terminal()
    Screen(out, io.StringIO()).show(Found())
    assert "\x1b[36m" not in out.getvalue()


def test_a_table_fits_the_terminal_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    notes = "did not converge within 200 iterations " * 3
    table = Table("Trained", ("model", "time", "notes"), (("logistic_regression", "1.20 s", notes), ("tree", "0.10 s", "")))
    for width in (30, 60, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        out = Terminal()
        Screen(out, io.StringIO()).show(Found((table,)))
        text = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
        assert max(map(len, text.split("\n"))) <= width
        assert text.count("converge") == 3
        assert "logistic_regression" in text


def test_a_wide_table_of_numbers_says_which_columns_had_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    heads = ("version", "stands for", "accuracy, seen", "mcc, seen", "accuracy, unseen", "created")
    rows = tuple((f"tree/v{number}", "champion", "0.9959", "0.9916", "0.5480", "2026-11-29T10:10:14+00:00") for number in (1, 2))

    def lines(width: int) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(width))
        out = Terminal()
        Screen(out, io.StringIO()).show(Found((Table("Models", heads, rows),)))
        return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).strip().split("\n")]

    assert lines(120)[-1].endswith("2026-11-29 10:10")
    narrow = lines(60)
    assert max(map(len, narrow)) <= 60
    assert narrow[4].split() == ["tree/v1", "champion", "0.9959", "0.9916", "0.5480"]  # below the title, two lines of names, and a rule
    assert " ".join(narrow[6:]) == "more at a greater width, or with --json: created"
    assert len(lines(30)) > 10  # too narrow for half of it: one value a line


def test_a_full_disk_is_a_storage_error() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        screen = Screen(full, io.StringIO())
        with pytest.raises(StorageError, match="cannot write to standard output: No space left on device"):
            screen.show(Found())


def test_a_reader_who_left_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as pipe, pytest.raises(ReaderGoneError):
        Screen(pipe, io.StringIO()).show(Found())


# --- errors and log --------------------------------------------------------------------------------------------------


def test_an_error_goes_to_stderr_as_it_is() -> None:
    out, err = io.StringIO(), io.StringIO()
    Screen(out, err).error("DataError", "[red]x.csv[/red]: bad\n  line 2\x1b[0m")
    assert err.getvalue() == "error: [red]x.csv[/red]: bad\n  line 2\\x1b[0m\n"
    assert out.getvalue() == ""


def test_an_error_is_red_on_a_terminal() -> None:
    err = Terminal()
    Screen(io.StringIO(), err).error("DataError", "bad")
    assert err.getvalue() == "\x1b[1;31merror:\x1b[0m bad\n"


def test_with_json_an_error_is_a_document_on_stdout() -> None:
    out, err = io.StringIO(), io.StringIO()
    Screen(out, err, json=True).error("BusyError", "another run", retryable=True)
    assert json.loads(out.getvalue()) == {"error": {"type": "BusyError", "message": "another run", "retryable": True}}
    assert err.getvalue() == ""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (DataError("no rows"), ("DataError", "no rows", False)),
        (BusyError("another run"), ("BusyError", "another run", True)),
        (PermissionError(13, "Permission denied", "x.csv"), ("StorageError", "Permission denied: x.csv", False)),
        (OSError(28, "No space left on device"), ("StorageError", "No space left on device; make room and run it again", False)),
        (KeyError("x"), ("KeyError", "'x'", False)),
    ],
)
def test_errors_are_described(error: Exception, expected: tuple[str, str, bool]) -> None:
    assert described(error) == expected


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({}, "warning: slow\\x07\n"),
        ({"verbose": True}, "warning: slow\\x07\ninfo: began\n"),
        ({"quiet": True}, "warning: slow\\x07\n"),
        ({"json": True, "verbose": True}, ""),
    ],
)
def test_the_log_is_for_the_verbose_and_warnings_for_all(options: dict[str, bool], shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    err = io.StringIO()
    monkeypatch.setattr("sys.stderr", err)
    Screen(io.StringIO(), err, **options).logging()
    logging.getLogger("sporeprint.ingestion.raw_table").warning("slow\x07")
    logging.getLogger("sporeprint").info("began")
    assert err.getvalue() == shown


def test_the_log_outlives_the_stream_it_began_with(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = io.StringIO(), io.StringIO()
    Screen(io.StringIO(), first).logging()
    first.close()
    monkeypatch.setattr("sys.stderr", second)
    logging.getLogger("sporeprint").warning("slow")
    assert second.getvalue() == "warning: slow\n"


def test_what_is_said_beside_the_result_is_for_people() -> None:
    for options, shown in (({}, "hello\n"), ({"quiet": True}, ""), ({"json": True}, "")):
        err = io.StringIO()
        Screen(io.StringIO(), err, **options).say("hello")
        assert err.getvalue() == shown


# --- steps -----------------------------------------------------------------------------------------------------------


def test_who_draws_the_steps() -> None:
    terminal, file = Terminal(), io.StringIO()
    assert isinstance(Screen(file, terminal).steps(), BarSteps)
    assert isinstance(Screen(terminal, file).steps(), LineSteps)
    assert isinstance(Screen(file, terminal, quiet=True).steps(), SilentSteps)
    assert isinstance(Screen(file, terminal, json=True).steps(), SilentSteps)


def test_without_a_terminal_a_step_is_a_line_when_it_ends() -> None:
    err, clock_ = io.StringIO(), Clock()
    with LineSteps(err, clock=clock_).step("transform") as progress:
        progress.total(10)
        progress.advance(10)
        clock_.now += 1.234
        assert err.getvalue() == ""
    assert err.getvalue() == "transform ... done 1.23 s\n"


@pytest.mark.parametrize(("error", "said"), [(DataError("x"), "failed"), (KeyboardInterrupt(), "interrupted")])
def test_a_step_that_ends_badly_says_so(error: BaseException, said: str) -> None:
    err, clock_ = io.StringIO(), Clock()
    with pytest.raises(type(error)), LineSteps(err, clock=clock_).step("train"):
        raise error
    assert err.getvalue() == f"train ... {said} after 0.00 s\n"


def test_a_long_step_gives_signs_of_life() -> None:
    err, clock_ = io.StringIO(), Clock()
    with LineSteps(err, clock=clock_).step("transform") as progress:
        progress.total(4_000_000)
        progress.text("checking \x1b[1mrows")
        for _ in range(4):
            clock_.now += 20
            progress.advance(1_000_000)
    assert err.getvalue() == (
        "transform ... 50%, checking \\x1b[1mrows after 40.0 s\n"
        "transform ... 100%, checking \\x1b[1mrows after 1 min 20 s\n"
        "transform ... done 1 min 20 s\n"
    )


def test_a_step_of_unknown_length_counts() -> None:
    err, clock_ = io.StringIO(), Clock()
    with LineSteps(err, clock=clock_).step("simulate") as progress:
        clock_.now += 31
        progress.advance(61_069)
    assert err.getvalue() == "simulate ... 61.1k after 31.0 s\nsimulate ... done 31.0 s\n"


def test_progress_that_nobody_reads_stops_nothing() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as pipe:
        with LineSteps(pipe).step("train") as progress:
            progress.advance(1)
        with LineSteps(pipe).step("evaluate"):
            pass


def test_on_a_terminal_a_step_leaves_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    steps = BarSteps(Console(file=terminal, width=100, force_terminal=True, no_color=True))
    with steps.step("train") as progress:
        progress.total(10)
        progress.text("[b]xgboost[/b]")
        progress.advance(5)
    with pytest.raises(DataError, match="one class"), steps.step("evaluate"):
        raise DataError("one class only")
    shown = terminal.getvalue()
    assert "50%  5/10" in shown
    assert "[b]xgboost[/b]" in shown
    drawn = re.split(r"[\r\n]", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown))
    assert max(map(len, drawn)) == 96, "the `^C` of an interrupt needs a place behind the bar"
    lines = [line for line in shown.splitlines() if "✓" in line or "✗" in line]
    assert len(lines) == 2
    assert lines[0].endswith(" s\x1b[0m")
    assert "✓ train " in lines[0]
    assert "✗ evaluate       failed after 0.0" in lines[1]


# --- terminals, numbers ----------------------------------------------------------------------------------------------


def test_a_real_terminal_is_one_unless_it_is_dumb(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as terminal:
        assert is_terminal(terminal)
        assert has_colour(terminal)
        monkeypatch.setenv("NO_COLOR", "1")
        assert not has_colour(terminal)
        monkeypatch.delenv("NO_COLOR")
        monkeypatch.setenv("TERM", "dumb")
        assert not is_terminal(terminal)
        assert not has_colour(terminal)
    os.close(master)


def test_colour_can_be_forced_but_no_colour_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not has_colour(io.StringIO())
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert has_colour(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not has_colour(io.StringIO())


@pytest.mark.parametrize(
    ("taken", "shown"),
    [
        (0.0, "0.00 s"),
        (9.99, "9.99 s"),
        (9.996, "10.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (3599.6, "1 h 00 min"),
        (7380, "2 h 03 min"),
    ],
)
def test_times_for_people(taken: float, shown: str) -> None:
    assert seconds(taken) == shown


@pytest.mark.parametrize(
    ("amount", "shown"),
    [(0, "0"), (999, "999"), (1000, "1k"), (61_069, "61.1k"), (999_600, "1M"), (12_300_000, "12.3M"), (3.4e9, "3.4G"), (5e13, "50T")],
)
def test_counts_in_few_characters(amount: float, shown: str) -> None:
    assert compact(amount) == shown


@pytest.mark.parametrize(("taken", "shown"), [(0, "0:00"), (7, "0:07"), (754, "12:34"), (3723, "1:02:03")])
def test_clocks(taken: float, shown: str) -> None:
    assert clock(taken) == shown
