"""Tables in an object store: which files an address names, what the store refuses, and what is left of a failure."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from s3_server import Fault, S3Server
from sporeprint.common.progress import SilentProgress
from sporeprint.errors import DataError, SourceUnavailableError
from sporeprint.ingestion.object_store import BLOCK, Store, fetch_all, is_store, local_path

PARTS = {"b 2.csv": b"a;b\n2;y\n", "a.csv": b"a;b\n1;x\n", "_SUCCESS": b"", ".hidden": b"x", "deeper/c.csv": b"a;b\n"}


@pytest.fixture
def parts(object_store: S3Server) -> Iterator[str]:
    for name, data in PARTS.items():
        object_store.put(f"parts/{name}", data)
    yield "s3://tables/parts"
    object_store.bucket.delete_dir("tables/parts")


@pytest.mark.parametrize(
    ("named", "names"),
    [
        ("", ["a.csv", "b 2.csv"]),
        ("/", ["a.csv", "b 2.csv"]),
        ("/*.csv", ["a.csv", "b 2.csv"]),
        ("/?.csv", ["a.csv"]),
        ("/b 2.csv", ["b 2.csv"]),
    ],
)
def test_an_address_names_files_in_the_order_of_their_names(parts: str, named: str, names: list[str]) -> None:
    files = Store(parts + named).files()
    assert [(file.name, file.size) for file in files] == [(name, len(PARTS[name])) for name in names]
    assert files[0].address == f"{parts}/{names[0]}"


def test_files_arrive_whole(parts: str, tmp_path: Path) -> None:
    paths, addresses = fetch_all(parts, tmp_path, SilentProgress())
    assert [path.read_bytes() for path in paths] == [PARTS["a.csv"], PARTS["b 2.csv"]]
    assert addresses == (f"{parts}/a.csv", f"{parts}/b 2.csv")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("s3://tables/nothing.csv", "no such file: s3://tables/nothing.csv"),
        ("s3://nowhere/x.csv", "no such file: s3://nowhere/x.csv"),
        ("s3://tables/parts/z*", r"no file is called s3://tables/parts/z\*"),
        ("s3://me:secret@tables/x.csv", r"s3://me:\*\*\*@tables/x.csv: a key is no part of the address"),
        ("s3:///x.csv", "s3:///x.csv: Missing bucket name"),
    ],
)
def test_what_names_no_file_is_said_to(parts: str, address: str, message: str) -> None:
    with pytest.raises(DataError, match=f"^{message}"):
        Store(address).files()


@pytest.mark.parametrize("named", ["", "/b 2.csv"])
def test_what_may_not_be_read_is_named(parts: str, named: str, object_store: S3Server) -> None:
    with (
        object_store.failing(Fault(403, "AccessDenied")),
        pytest.raises(DataError, match=rf"^{parts}{named} may not be read with the rights of this environment: .*ACCESS_DENIED"),
    ):
        Store(parts + named).files()


def test_an_error_in_the_middle_of_a_file_is_tried_again_then_named(object_store: S3Server, tmp_path: Path) -> None:
    data, later = b"a;b\n" + b"1;x\n" * (BLOCK // 2), f"bytes={BLOCK}-"
    address = object_store.put("long.csv", data)
    with object_store.failing(Fault(503, "SlowDown", "long", later, times=2)):
        (path,), _ = fetch_all(address, tmp_path, SilentProgress())
    assert path.read_bytes() == data
    with object_store.failing(Fault(403, "AccessDenied", "long", later)), pytest.raises(DataError, match=rf"^{address} may not be read"):
        fetch_all(address, tmp_path, SilentProgress())
    with (
        object_store.failing(Fault(404, "NoSuchKey", "long", later)),
        pytest.raises((DataError, SourceUnavailableError), match=rf"^{address} "),
    ):
        fetch_all(address, tmp_path, SilentProgress())


def test_which_names_are_addresses() -> None:
    assert [is_store(name) for name in ("s3://b/k", "HDFS://n/f", "abfss://c@a/f", "file:///t", "sqlite:///t", "s3/k")] == [True] * 3 + [
        False
    ] * 3
    assert (local_path("file:///a%20b?.csv"), local_path("/a%20b.csv")) == ("/a b?.csv", "/a%20b.csv")
    with pytest.raises(DataError, match="names the machine 'host'"):
        local_path("file://host/t.csv")
