"""Tables out of zips: the right one, all of it, and never more bytes than allowed."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from sporeprint.errors import DataError
from sporeprint.ingestion.zip_archive import names_in, unpack


def zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def unpacked(tmp_path: Path, content: bytes, *wanted: str, max_mb: float = 1.0) -> dict[str, bytes]:
    (tmp_path / "t.zip").write_bytes(content)
    files = unpack(tmp_path / "t.zip", tmp_path / "out", wanted, max_mb=max_mb, where="the zip")
    assert all(path.parent == tmp_path / "out" for path in files.values())
    return {name: path.read_bytes() for name, path in files.items()}


@pytest.mark.parametrize("name", ["t.csv", "a/b/T.CSV", "t.parquet", "t.tsv", "t.data", "a\\t.csv", "../../t.csv", "/etc/t.csv"])
def test_the_only_table(name: str, tmp_path: Path) -> None:
    files = {"readme.txt": b"", "a/": b"", name: b"a;b\n", "__MACOSX/._t.csv": b"", "b/.hidden.csv": b""}
    (found,) = unpacked(tmp_path, zipped(files)).items()
    assert found[0].lower().startswith("t.")
    assert found[1] == b"a;b\n"


def test_a_zip_in_the_zip_is_looked_into(tmp_path: Path) -> None:
    inner = zipped({"folder/one.csv": b"1", "folder/two.csv": b"2"})
    content = zipped({"inner.zip": inner, "note.txt": b""})
    assert unpacked(tmp_path, content, "two.csv", "one.csv") == {"one.csv": b"1", "two.csv": b"2"}
    assert names_in(tmp_path / "t.zip", tmp_path / "out", max_mb=1, where="t") == {"inner.zip", "note.txt", "one.csv", "two.csv"}


def test_but_not_deeper(tmp_path: Path) -> None:
    content = zipped({"t.zip": zipped({"t.zip": zipped({"t.csv": b"1"})})})
    with pytest.raises(DataError, match=r"the zip holds no table \(.*\); it holds t\.zip, t\.zip"):
        unpacked(tmp_path, content)


@pytest.mark.parametrize(
    ("files", "wanted", "message"),
    [
        ({}, (), r"the zip holds no table \(\.csv, .*\); it holds nothing"),
        ({"a.txt": b"", "b.doc": b""}, (), r"the zip holds no table \(.*\); it holds a\.txt, b\.doc"),
        ({f"{n}.txt": b"" for n in range(12)}, (), "8.txt, 9.txt|and 2 more"),
        ({"x/a.csv": b"1", "b.csv": b"2"}, (), r"the zip holds 2 tables: b\.csv, x/a\.csv; say which under source\.download\.members"),
        ({"a.csv": b"1"}, ("b.csv",), r"the zip holds no 'b\.csv'; it holds a\.csv; change source\.download\.members"),
        ({"x/a.csv": b"1", "y/a.csv": b"2"}, ("a.csv",), r"the zip holds 2 files named 'a\.csv'; it holds x/a\.csv, y/a\.csv"),
    ],
)
def test_what_is_wrong_is_said(files: dict[str, bytes], wanted: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        unpacked(tmp_path, zipped(files), *wanted)


@pytest.mark.parametrize("nested", [False, True])
def test_a_bomb_is_refused_while_it_expands(nested: bool, tmp_path: Path) -> None:
    bomb = zipped({"t.csv": bytes(100_000_000)})
    assert len(bomb) < 200_000
    with pytest.raises(DataError, match=r"the zip expands to more than 1 MB; if that is right, raise source\.download\.max_mb"):
        unpacked(tmp_path, zipped({"inner.zip": bomb}) if nested else bomb)
    assert sum(path.stat().st_size for path in (tmp_path / "out").iterdir()) <= 1_000_000


def test_a_size_that_is_not_true_is_not_believed(tmp_path: Path) -> None:
    bomb = zipped({"t.csv": bytes(100_000_000)})
    lie = bomb.replace((100_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    with pytest.raises(DataError, match="the zip is a damaged or unusual zip: Bad CRC-32"):
        unpacked(tmp_path, lie)


@pytest.mark.parametrize("cut", [slice(0, -30), slice(0, 200), slice(0, 4)])
def test_a_cut_zip_is_refused(cut: slice, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the zip is a damaged or unusual zip: File is not a zip file"):
        unpacked(tmp_path, zipped({"t.csv": bytes(range(256)) * 10})[cut])


def test_a_damaged_zip_is_refused(tmp_path: Path) -> None:
    content = bytearray(zipped({"t.csv": bytes(range(256)) * 10}))
    content[60:80] = bytes(20)
    with pytest.raises(DataError, match="the zip is a damaged or unusual zip: "):
        unpacked(tmp_path, bytes(content))


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    content = bytearray(zipped({"t.csv": b"1"}))
    content[6] |= 1  # the flag in the file's own header
    content[content.index(b"PK\x01\x02") + 8] |= 1  # and in the directory
    with pytest.raises(DataError, match=r"t\.csv in the zip is encrypted; unpack it by hand and name the table with --source FILE"):
        unpacked(tmp_path, bytes(content))
