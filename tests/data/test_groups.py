"""Names of groups for reports: read where they fit, left out where they do not."""

from pathlib import Path

import pytest

from sporeprint.data.groups import GroupName, read_group_names
from sporeprint.schema import Groups

GROUPS = Groups(name="species", block_rows=2, name_column="name", family_column="family")
PLAIN = Groups(name="species", block_rows=2)


def table(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("separator", [";", ",", "\t", "|"])
def test_names_with_their_families_in_block_order(separator: str, tmp_path: Path) -> None:
    rows = ("family,name,class", "Amanita,Fly Agaric,p", "Bolete,Cep,e")
    path = table(tmp_path / "names.csv", *(row.replace(",", separator) for row in rows))
    assert read_group_names(path, GROUPS, 2) == (GroupName("Fly Agaric", "Amanita"), GroupName("Cep", "Bolete"))
    assert read_group_names(path, PLAIN, 2) == (GroupName("Fly Agaric"), GroupName("Cep"))


def test_a_family_or_a_name_may_be_missing(tmp_path: Path) -> None:
    path = table(tmp_path / "names.csv", "family;name", ";Fly Agaric", "Bolete;")
    assert read_group_names(path, GROUPS, 2) == (GroupName("Fly Agaric"), GroupName("unnamed", "Bolete"))
    assert read_group_names(table(tmp_path / "names.csv", "name;x", "Fly Agaric;1"), GROUPS, 1) == (GroupName("Fly Agaric"),)


@pytest.mark.parametrize(
    ("rows", "count"),
    [
        (("family;name", "a;b"), 2),
        (("family;called", "a;b"), 1),
        ((), 0),
        (("name", 'a"b;c', '"x'), 2),
    ],
    ids=["other groups", "no such column", "empty", "damaged"],
)
def test_a_table_that_does_not_fit_is_left_out(rows: tuple[str, ...], count: int, tmp_path: Path) -> None:
    assert read_group_names(table(tmp_path / "names.csv", *rows), GROUPS, count) is None


def test_no_table_no_names(tmp_path: Path) -> None:
    assert read_group_names(tmp_path / "names.csv", GROUPS, 2) is None
    assert read_group_names(tmp_path, GROUPS, 2) is None


def test_the_real_names(real_data: Path) -> None:
    groups = Groups(name="species", block_rows=353, name_column="name", family_column="family")
    names = read_group_names(real_data.with_name("primary_data.csv"), groups, 173)
    assert names is not None
    assert str(names[0]) == "Fly Agaric (Amanita Family)"
    assert len(names) == 173
