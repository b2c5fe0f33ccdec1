"""What every command shares: its options, its session, and how a function becomes a command."""

import functools
import getpass
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from sporeprint.cli.console import Result, Screen
from sporeprint.cli.help import Command, Group
from sporeprint.common.text_table import Table
from sporeprint.errors import ConfigError

if TYPE_CHECKING:  # slow to import, and `--help` does not need it
    from sporeprint.settings import Settings

CONFIG = Path("config/config.yaml")
#: The folder of the project, where the package runs from its source tree.
PROJECT = Path(__file__).resolve().parents[3]
#: The configuration of the project, which an installed package has within it.
SHIPPED = PROJECT / CONFIG if (PROJECT / "run_etl.sh").is_file() else Path(__file__).parents[1] / CONFIG.name


@dataclass(frozen=True)
class Facts:
    """A result with nothing to compute: values for programs, tables for people.

    Attributes:
        values: JSON values.
        shown: the same, for people.
        exit_code: what the command ends with.
    """

    values: Mapping[str, Any]
    shown: tuple[Table, ...]
    exit_code: int = 0

    def to_dict(self) -> Mapping[str, Any]:
        """As JSON values."""
        return self.values

    def tables(self) -> Sequence[Table]:
        """As people read it."""
        return self.shown


@dataclass(frozen=True)
class Session:
    """What the options that commands share say.

    Attributes:
        screen: where to show things.
        given_config: the configuration file, where one was named.
        overrides: `key=value` over the configuration.
        given_workdir: the work directory, where one was named.
    """

    screen: Screen
    given_config: Path | None = None
    overrides: tuple[str, ...] = ()
    given_workdir: Path | None = None

    @cached_property
    def workdir(self) -> Path:
        """The folder that everything written goes below."""
        return (self.given_workdir or Path()).absolute()

    @cached_property
    def config(self) -> Path:
        """The configuration file.

        Raises:
            ConfigError: if no file was named and no default exists.
        """
        if self.given_config is not None:
            return self.given_config
        places = list(dict.fromkeys([self.workdir / CONFIG, CONFIG.absolute(), SHIPPED]))
        for place in places:
            if place.is_file():
                return place
        raise ConfigError(f"no configuration file: {' and '.join(map(str, places))} are not there; name one with --config")

    @cached_property
    def settings(self) -> "Settings":
        """The checked configuration. Raises: ConfigError."""
        from sporeprint import settings

        return settings.load_settings(self.config, overrides=self.overrides)


# --- the options that commands share -----------------------------------------------------------------------------------

_COMMON = "Common options"
_SHARED: dict[str, tuple[Any, Any]] = {
    "config": (
        Annotated[
            Path | None,
            typer.Option(
                metavar="FILE",
                envvar="SPOREPRINT_CONFIG",
                show_envvar=False,
                rich_help_panel=_COMMON,
                help=f"Configuration file. Default: {CONFIG} in the work directory, else in this folder, else the one in the package.",
            ),
        ],
        None,
    ),
    "set": (
        Annotated[
            list[str] | None,
            typer.Option(
                "--set",
                metavar="KEY=VALUE",
                rich_help_panel=_COMMON,
                help="Change one setting, as in split.seed=11. Repeatable.",
            ),
        ],
        None,
    ),
    "workdir": (
        Annotated[
            Path | None,
            typer.Option(
                metavar="DIR",
                envvar="SPOREPRINT_WORKDIR",
                show_envvar=False,
                rich_help_panel=_COMMON,
                help="Folder for everything that is written. Default: this folder.",
            ),
        ],
        None,
    ),
    "json": (
        Annotated[bool, typer.Option("--json", rich_help_panel=_COMMON, help="Print the result or error as JSON.")],
        False,
    ),
    "quiet": (Annotated[bool, typer.Option("--quiet", "-q", rich_help_panel=_COMMON, help="No progress, only the result.")], False),
    "verbose": (
        Annotated[bool, typer.Option("--verbose", "-v", rich_help_panel=_COMMON, help="Show the log, and the traceback of an error.")],
        False,
    ),
}
#: The shared options as they are written.
COMMON = frozenset({*(f"--{name}" for name in _SHARED), "-q", "-v"})
OUTPUT = ("json", "quiet", "verbose")
PLACE = ("workdir", *OUTPUT)
SETTINGS = ("config", "set", *OUTPUT)
ALL = ("config", "set", *PLACE)


def _session(options: Mapping[str, Any]) -> Session:
    screen = Screen.standard(json=options["json"], quiet=options["quiet"], verbose=options["verbose"])
    screen.logging()
    return Session(screen, options.get("config"), tuple(options.get("set") or ()), options.get("workdir"))


_KEYWORD = inspect.Parameter.KEYWORD_ONLY

#: A function from a session, and its command's own options, to a result.
Work = TypeVar("Work", bound=Callable[..., Result])


#: Options that only fill the fields of one request: field -> its type and its help.
FieldOptions = Mapping[str, tuple[type, str]]


def command(
    group: typer.Typer,
    shared: Sequence[str],
    *,
    name: str | None = None,
    panel: str = "",
    examples: str = "",
    fields: FieldOptions = MappingProxyType({}),
) -> Callable[[Work], Work]:
    """Make a command of a function from a session and its own options to a result.

    Args:
        group: what the command belongs to.
        shared: names of the shared options it takes.
        name: the command's, where it is not the function's.
        panel: where it stands on the group's help page.
        examples: lines for its own help page.
        fields: further options; the function's last argument, `values`, is the mapping of those that are set.
    """

    def register(work: Work) -> Work:
        own = [
            each for each in list(inspect.signature(work, eval_str=True).parameters.values())[1:] if not (fields and each.name == "values")
        ]
        own += [inspect.Parameter(key, _KEYWORD, default=None, annotation=_field_option(key, *fields[key])) for key in fields]
        common = [inspect.Parameter(key, _KEYWORD, default=_SHARED[key][1], annotation=_SHARED[key][0]) for key in shared]
        parameters = [parameter.replace(kind=_KEYWORD) for parameter in own] + common

        @functools.wraps(work)
        def run(**options: Any) -> None:
            session = _session({key: options.pop(key) for key in shared})
            if fields:
                options["values"] = {key: value for key in fields if (value := options.pop(key)) is not None}
            result = work(session, **options)
            session.screen.show(result)
            raise typer.Exit(getattr(result, "exit_code", 0))

        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what typer reads; functions take any attribute
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        group.command(name, cls=Command, rich_help_panel=panel or None, epilog=examples)(run)
        return work

    return register


def _field_option(name: str, kind: type, text: str) -> Any:
    option = name.replace("_", "-")
    declared = (f"--{option}/--no-{option}",) if kind is bool else (f"--{option}",)
    metavar = None if kind is bool else name.rpartition("_")[2].upper()
    return Annotated[kind | None, typer.Option(*declared, metavar=metavar, help=text, show_default=False)]


def user() -> str:
    """Who runs the command, for histories."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "unknown"


def group(**options: Any) -> typer.Typer:
    """A group of commands, with its own help page; `options` are those of `typer.Typer`."""
    return typer.Typer(
        cls=Group,
        rich_markup_mode=None,
        invoke_without_command=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
        **options,
    )
