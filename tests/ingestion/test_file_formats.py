"""What arrives from outside: how it is named, told apart, checked and put in its place."""

from pathlib import Path

import pytest

from sporeprint.common.redaction import redacted
from sporeprint.errors import DataError, StorageError
from sporeprint.ingestion.file_formats import check_sha256, kind_of, publish, workspace


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("data/t.csv", "data/t.csv"),
        ("https://host/t.csv?v=1", "https://host/t.csv?v=1"),
        ("https://me:secret@host:80/t.csv", "https://me:***@host:80/t.csv"),
        ("https://me:s:cr@t@host/t@b.csv", "https://me:***@host/t@b.csv"),
        ("https://:secret@host/t.csv", "https://:***@host/t.csv"),
        ("https://token@host/t.csv", "https://***@host/t.csv"),
        ("https://host/a:b@c/t.csv", "https://host/a:b@c/t.csv"),
        ("https://host/t?a=1&X-Amz-Signature=abc&API_KEY=d#e", "https://host/t?a=1&X-Amz-Signature=***&API_KEY=***#e"),
        ("mysql+pymysql://me:secret@host/db?password=p", "mysql+pymysql://me:***@host/db?password=***"),
    ],
)
def test_secrets_are_masked(source: str, shown: str) -> None:
    assert redacted(source) == shown


@pytest.mark.parametrize(
    ("head", "kind"), [(b"PK\x03\x04rest", "zip"), (b"PK\x05\x06", "zip"), (b"PAR1rest", "parquet"), (b"a;b\n", "csv"), (b"\n", "csv")]
)
def test_kinds(head: bytes, kind: str, tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(head)
    assert kind_of(tmp_path / "t", "it") == kind


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"", "it is empty"),
        (b"\n <!DOCTYPE html><html>", "it is an HTML or XML page, no table; expected CSV, Parquet, or a zip that holds one"),
        (b"\xef\xbb\xbf<?xml", "it is an HTML or XML page"),
        (b'{"error": 1}', "it is JSON, no table"),
        (b"%PDF-1.7", "it is a PDF document"),
        (b"\x1f\x8b\x08", "it is a gzip file; unpack it first"),
        (b"SQLite format 3\0", r"it is an SQLite database; name it as sqlite:///PATH and set source\.query"),
    ],
)
def test_what_is_no_table_is_refused(head: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(head)
    with pytest.raises(DataError, match=message):
        kind_of(tmp_path / "t", "it")


def test_the_expected_sha256_is_held_against_the_file(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"abc")
    found = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    check_sha256(tmp_path / "t", "t.csv", {"t.csv": found, "other.csv": "0" * 64})
    with pytest.raises(DataError, match=rf"t\.csv has the sha256 {found}, source\.download\.sha256 expects 0+; it is not the file"):
        check_sha256(tmp_path / "t", "t.csv", {"t.csv": "0" * 64})


def test_what_is_under_way_is_cleared_away_whatever_happens(tmp_path: Path) -> None:
    (tmp_path / ".download").mkdir()
    (tmp_path / ".download" / "left by a killed run").touch()
    with workspace(tmp_path) as place:
        assert list(place.iterdir()) == []
        (place / "t").write_text("new")
        publish(place / "t", tmp_path / "deep" / "t")
    assert (tmp_path / "deep" / "t").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    with pytest.raises(KeyboardInterrupt):
        _interrupted(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]


def _interrupted(folder: Path) -> None:
    with workspace(folder) as place:
        (place / "half").touch()
        raise KeyboardInterrupt


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = r"cannot write to .*file/raw: Not a directory; nothing was replaced"
    with pytest.raises(StorageError, match=message), workspace(tmp_path / "file" / "raw"):
        pass
