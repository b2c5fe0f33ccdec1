"""Sessions, and functions that become commands."""

import io
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from sporeprint.cli.command import ALL, OUTPUT, Facts, Session, command, group
from sporeprint.cli.console import Screen
from sporeprint.common.text_table import Table
from sporeprint.errors import ConfigError


def session(**given: Path | None) -> Session:
    return Session(Screen(io.StringIO(), io.StringIO()), **given)  # type: ignore[arg-type]  # the paths are all of one type


@pytest.fixture
def places(tmp_path: Path, config_file: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A work directory and a current one, with a configuration each."""
    for name in ("work", "here"):
        (tmp_path / name / "config").mkdir(parents=True)
        shutil.copy(config_file, tmp_path / name / "config" / "config.yaml")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "work", tmp_path / "here"


def test_the_configuration_is_looked_for_in_the_work_directory_then_here_then_in_the_project(
    places: tuple[Path, Path], config_file: Path
) -> None:
    work, here = places
    assert session(given_workdir=work).config == work / "config" / "config.yaml"
    (work / "config" / "config.yaml").unlink()
    assert session(given_workdir=work).config == here / "config" / "config.yaml"
    (here / "config" / "config.yaml").unlink()
    assert session(given_workdir=work).config == config_file


def test_a_named_configuration_is_the_one(places: tuple[Path, Path], tmp_path: Path) -> None:
    assert session(given_workdir=places[0], given_config=Path("mine.yaml")).config == Path("mine.yaml")


def test_without_a_configuration_the_error_names_the_places(
    places: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in places:
        (place / "config" / "config.yaml").unlink()
    monkeypatch.setattr("sporeprint.cli.command.SHIPPED", tmp_path / "installed" / "config.yaml")
    with pytest.raises(ConfigError, match=r"no configuration file: .*work/config/config\.yaml and .*/here/config/config\.yaml .*--config"):
        _ = session(given_workdir=places[0]).config


def test_the_work_directory_is_here_unless_it_is_named(places: tuple[Path, Path]) -> None:
    assert session().workdir == places[1]
    assert session(given_workdir=Path("../work")).workdir == places[1] / "../work"


def test_settings_are_read_with_what_set_says(places: tuple[Path, Path]) -> None:
    found = Session(Screen(io.StringIO(), io.StringIO()), overrides=("split.seed=11",)).settings
    assert found.split.seed == 11


@pytest.fixture
def app() -> typer.Typer:
    app = group()

    @command(app, ALL, examples="demo greet you")
    def greet(session: Session, name: Annotated[str, typer.Argument()], loud: Annotated[bool, typer.Option("--loud")] = False) -> Facts:
        """Say hello."""
        text = f"hello {name}{'!' * loud} {session.overrides} {session.given_config}"
        return Facts({"text": text}, (Table("", ("",), ((text,),)),), exit_code=5 if loud else 0)

    @command(app, OUTPUT, name="be-quiet")
    def hush(session: Session) -> Facts:
        """Say nothing."""
        return Facts({"quiet": session.screen.quiet}, ())

    return app


@pytest.mark.parametrize(
    ("arguments", "output", "code"),
    [
        (["greet", "you"], "hello you () None\n", 0),
        (["greet", "--set", "a=1", "you", "--set", "b=2", "--config", "c.yaml"], "hello you ('a=1', 'b=2') c.yaml\n", 0),
        (["greet", "you", "--loud"], "hello you! () None\n", 5),
        (["greet", "you", "--json"], '{\n  "text": "hello you () None"\n}\n', 0),
        (["be-quiet", "-q", "--json"], '{\n  "quiet": true\n}\n', 0),
        (["be-quiet"], "", 0),
    ],
)
def test_a_function_becomes_a_command(app: typer.Typer, arguments: Iterable[str], output: str, code: int) -> None:
    found = CliRunner().invoke(app, list(arguments))
    assert (found.output, found.exit_code) == (output, code)


def test_a_command_takes_only_the_options_it_shares(app: typer.Typer) -> None:
    found = CliRunner().invoke(app, ["be-quiet", "--set", "a=1"])
    assert found.exit_code == 2
    assert "No such option: --set" in found.output


def test_the_function_itself_stays_as_it_is(app: typer.Typer) -> None:
    other = group()

    @command(other, OUTPUT)
    def twice(session: Session, number: int = 2) -> Facts:
        """Double it."""
        return Facts({"twice": 2 * number}, ())

    assert twice(session(), number=4).to_dict() == {"twice": 8}
