"""Everything a run writes lies below its work directory."""

from pathlib import Path

from sporeprint.workdir import Workdir


def test_every_place_is_below_the_root(tmp_path: Path) -> None:
    workdir = Workdir(tmp_path)
    names = [name for name, member in vars(Workdir).items() if isinstance(member, property)]
    places = [getattr(workdir, name) for name in names] + [workdir.rejected("run")]
    assert len(places) == len(set(places)) > 8
    assert all(place.is_relative_to(tmp_path) for place in places)


def test_a_path_of_the_configuration_is_relative_to_the_root_or_absolute(tmp_path: Path) -> None:
    assert Workdir(tmp_path).at("data/raw/t.csv") == tmp_path / "data/raw/t.csv"
    assert Workdir(tmp_path).at("/elsewhere/t.csv") == Path("/elsewhere/t.csv")


def test_paths_are_shown_short_where_they_can_be(tmp_path: Path) -> None:
    assert Workdir(tmp_path).shown(tmp_path / "data" / "t.csv") == "data/t.csv"
    assert Workdir(tmp_path).shown(Path("/elsewhere/t.csv")) == "/elsewhere/t.csv"
