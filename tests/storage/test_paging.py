"""Tests of sporeprint.storage.paging: every row of the gaps once, in order, and no page larger than it may be."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import URL, Column, Engine, Integer, MetaData, Table, Text

from sporeprint.storage import paging
from sporeprint.storage.engine import connect
from sporeprint.storage.oltp.read_progress import HIGHEST, Gap
from sporeprint.storage.paging import Page, pages

METADATA = MetaData()
TABLE = Table("letters", METADATA, Column("seq", Integer, primary_key=True), Column("count", Integer), Column("text", Text))
COLUMNS = ("seq", "count", "text")
ALL = Gap(1, HIGHEST, 0)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    path: Path = tmp_path_factory.mktemp("paging") / "letters.db"
    engine = connect(URL.create("sqlite", database=str(path)))
    METADATA.create_all(engine)
    yield engine
    engine.dispose()


def fill(engine: Engine, texts: dict[int, str | None]) -> list[tuple[int, int, str | None]]:
    rows = [(seq, seq * 2, text) for seq, text in sorted(texts.items())]
    with engine.begin() as connection:
        connection.execute(TABLE.delete())
        if rows:
            connection.execute(TABLE.insert(), [dict(zip(COLUMNS, row, strict=True)) for row in rows])
    return rows


def taken(found: list[Page]) -> list[tuple[object, ...]]:
    return [tuple(row) for page in found for row in page.rows]


def test_a_page_holds_so_many_rows(engine: Engine) -> None:
    rows = fill(engine, dict.fromkeys(range(1, 8), "x"))
    found = list(pages(engine, TABLE, COLUMNS, [ALL], rows=3))
    assert [page.numbers for page in found] == [[1, 2, 3], [4, 5, 6], [7]]
    assert [(page.first, page.last) for page in found] == [(1, 3), (4, 6), (7, HIGHEST)]
    assert {page.gap for page in found} == {ALL}
    assert taken(found) == rows


def test_where_the_last_page_is_full_an_empty_one_says_that_there_is_no_more(engine: Engine) -> None:
    fill(engine, dict.fromkeys(range(1, 7), "x"))
    found = list(pages(engine, TABLE, COLUMNS, [ALL], rows=3))
    assert [(page.first, page.last, page.numbers) for page in found] == [(1, 3, [1, 2, 3]), (4, 6, [4, 5, 6]), (7, HIGHEST, [])]


def test_a_gap_without_a_row_is_answered_for(engine: Engine) -> None:
    fill(engine, {1: "x", 9: "x"})
    gap = Gap(3, 5, 17)
    assert list(pages(engine, TABLE, COLUMNS, [gap], rows=3)) == [Page(gap, 3, 5, [])]


def test_nothing_is_read_where_no_gap_is_open(engine: Engine) -> None:
    fill(engine, {1: "x"})
    assert list(pages(engine, TABLE, COLUMNS, [], rows=3)) == []


def test_text_bounds_a_page_and_what_is_empty_weighs_nothing(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "READ_ROWS", 1)
    fill(engine, {1: "x" * 60, 2: None, 3: "x" * 40, 4: "x", 5: "x" * 500, 6: "x"})
    found = list(pages(engine, TABLE, COLUMNS, [ALL], rows=100, size=100))
    assert [page.numbers for page in found] == [[1, 2, 3], [4, 5], [6]]
    assert [(page.first, page.last) for page in found] == [(1, 3), (4, 5), (6, HIGHEST)]


def test_a_page_is_fetched_in_parts(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "FETCH_ROWS", 2)
    fill(engine, dict.fromkeys(range(1, 12), "x"))
    found = list(pages(engine, TABLE, COLUMNS, [ALL], rows=5))
    assert [page.numbers for page in found] == [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10], [11]]


def test_each_page_sees_what_was_written_before_it(engine: Engine) -> None:
    """No transaction stays open between pages: who reads slowly keeps nobody from writing."""
    fill(engine, {1: "x", 2: "x"})
    reading = pages(engine, TABLE, COLUMNS, [ALL], rows=1)
    assert next(reading).numbers == [1]
    with engine.begin() as connection:
        connection.execute(TABLE.delete().where(TABLE.c.seq == 2))
        connection.execute(TABLE.insert(), {"seq": 3, "count": 0, "text": "new"})
    assert [page.numbers for page in reading] == [[3], []]


@given(
    texts=st.dictionaries(st.integers(1, 40), st.one_of(st.none(), st.text("ab", max_size=30)), max_size=25),
    edges=st.lists(st.integers(1, 45), min_size=2, max_size=6, unique=True).map(sorted),
    rows=st.integers(1, 9),
    size=st.integers(1, 60),
    fetch=st.integers(1, 6),
    read=st.integers(1, 4),
)
def test_every_row_of_the_gaps_is_read_once_and_in_order(
    engine: Engine, texts: dict[int, str | None], edges: list[int], rows: int, size: int, fetch: int, read: int
) -> None:
    stored = fill(engine, texts)
    gaps = [Gap(first, last, 0) for first, last in zip(edges[::2], edges[1::2], strict=False)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paging, "FETCH_ROWS", fetch)
        patch.setattr(paging, "READ_ROWS", read)
        found = list(pages(engine, TABLE, COLUMNS, gaps, rows=rows, size=size))
    assert taken(found) == [row for gap in gaps for row in stored if gap.first <= row[0] <= gap.last]
    for gap in gaps:
        spans = [(page.first, page.last) for page in found if page.gap == gap]
        assert [first for first, _ in spans] == [gap.first, *(last + 1 for _, last in spans[:-1])]
        assert spans[-1][1] == gap.last
    for page in found:
        assert len(page.rows) <= rows
        assert all(page.first <= number <= page.last for number in page.numbers)
        # Only the part that was fetched last may pass the bound.
        assert sum(len(row[2] or "") for row in page.rows[:-read]) < size
