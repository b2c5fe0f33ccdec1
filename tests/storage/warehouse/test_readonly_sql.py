"""Tests of sporeprint.storage.warehouse.readonly_sql: what a user may ask of MariaDB."""

import pytest

from sporeprint.errors import UsageError
from sporeprint.storage.warehouse.readonly_sql import one_that_reads

READS = [
    ("SELECT 1;  ", "SELECT 1"),
    ("select 'into; outfile' -- into\n", "select 'into; outfile'"),
    ('SELECT "into" FROM t', 'SELECT "into" FROM t'),
    ("SELECT `load_file` FROM t # into", "SELECT `load_file` FROM t"),
    ("/* into */ WITH a AS (SELECT 1) SELECT * FROM a", "/* into */ WITH a AS (SELECT 1) SELECT * FROM a"),
    ("(SELECT 1) UNION (SELECT 2)", "(SELECT 1) UNION (SELECT 2)"),
    (r"SELECT 'a\'; DROP TABLE t'", r"SELECT 'a\'; DROP TABLE t'"),
    ("SELECT 5--1", "SELECT 5--1"),
    ("SHOW TABLES", "SHOW TABLES"),
    ("SELECT '\\' INTO OUTFILE ' AS x", "SELECT '\\' INTO OUTFILE ' AS x"),
    ("SELECT DATE'2026-01-01'", "SELECT DATE'2026-01-01'"),
]
REFUSED = [
    ("", "expected a statement"),
    ("-- nothing", "expected a statement"),
    ("DROP TABLE t", "not DROP"),
    ("SELECT 1; DROP TABLE t", "something after the first ';'"),
    ("SELECT 1 INTO OUTFILE '/tmp/x'", "INTO is not allowed"),
    ("SELECT 1 in/**/to outfile 'x' INTO/**/OUTFILE 'x'", "INTO is not allowed"),
    ("SELECT LOAD_FILE('/etc/passwd')", "LOAD_FILE is not allowed"),
    ("SELECT `load_file`('/etc/passwd')", "LOAD_FILE is not allowed"),
    ("SELECT `Load_File` /* a */\n('/etc/passwd')", "LOAD_FILE is not allowed"),
    ("SELECT \"load_file\"('/etc/passwd')", "LOAD_FILE is not allowed"),
    ("SELECT 1 /*! INTO OUTFILE '/tmp/x' */", "no comment for MariaDB"),
    ("SELECT 1 /*M!100000 INTO OUTFILE '/tmp/x' */", "no comment for MariaDB"),
    ("SELECT 'a", "does not end"),
    ("SELECT 1 /* a", "does not end"),
    ('SELECT "a\\" INTO OUTFILE \'/tmp/x\' -- "', "INTO is not allowed"),
    ("ANALYZE UPDATE t SET a = 1", "not ANALYZE"),
    ("SELECT 5-- INTO\nINTO OUTFILE 'x'", "INTO is not allowed"),
]


@pytest.mark.parametrize(("sql", "kept"), READS)
def test_what_reads_is_kept(sql: str, kept: str) -> None:
    assert one_that_reads(sql) == kept


@pytest.mark.parametrize(("sql", "said"), REFUSED)
def test_what_does_more_is_refused(sql: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        one_that_reads(sql)
