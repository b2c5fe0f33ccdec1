"""`sporeprint config check` and `sporeprint version`."""

from typing import Annotated, Any

import typer

from sporeprint.cli.command import ALL, OUTPUT, Facts, Session, command, group
from sporeprint.cli.console import Result
from sporeprint.cli.panels import TOOLS
from sporeprint.common.text_table import Table

config = group(help="Check the configuration.")
tools = group()


@command(
    config,
    ALL,
    name="check",
    examples="sporeprint config check\nsporeprint config check --show --set split.seed=11",
)
def config_check(
    session: Session,
    show: Annotated[bool, typer.Option("--show", help="Show every setting as it will be used, defaults included.")] = False,
) -> Result:
    """Read and check the configuration, the environment and --set, as every run does first."""
    from sporeprint.storage import urls

    settings = session.settings
    urls.oltp(settings.storage, session.workdir)
    urls.olap(settings.storage, session.workdir)
    groups = settings.dataset.groups
    rows = (
        ("file", str(session.config)),
        ("dataset", settings.dataset.name),
        ("target", f"{settings.dataset.target.column}, positive: {settings.dataset.target.values[settings.dataset.target.positive]}"),
        ("features", f"{len(settings.dataset.numeric)} numeric, {len(settings.dataset.nominal)} nominal"),
        ("groups", "none" if groups is None else groups.name),
        ("models", ", ".join(settings.models)),
    )
    values: dict[str, Any] = {"ok": True, "config": str(session.config), "models": list(settings.models)}
    if show:
        values["settings"] = _masked(settings.model_dump(mode="json", exclude_none=True))
        if not session.screen.json:
            session.screen.write(_yaml(values["settings"]))
            return Facts(values, ())
    return Facts(values, (Table("The configuration is good", ("", ""), rows),))


def _masked(value: Any) -> Any:
    """Settings without the secrets of addresses."""
    from sporeprint.common.redaction import redacted

    if isinstance(value, dict):
        return {key: _masked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item) for item in value]
    return redacted(value) if isinstance(value, str) else value


def _yaml(value: Any) -> str:
    import io

    from ruamel.yaml import YAML

    text, yaml = io.StringIO(), YAML()  # the kind that keeps the order of keys
    yaml.width = 120
    yaml.dump(value, text)
    return text.getvalue().rstrip("\n")


@command(tools, OUTPUT, panel=TOOLS, examples="sporeprint version --json")
def version(session: Session) -> Result:  # noqa: ARG001 -- every command takes one
    """Show the version, and those of what it is built on."""
    import platform
    from importlib.metadata import version as installed

    from sporeprint import __version__

    libraries = {"python": platform.python_version()}
    libraries |= {name: installed(name) for name in ("polars", "scikit-learn", "onnxruntime", "numpy")}
    rows = (("sporeprint", __version__), *libraries.items())
    return Facts({"sporeprint": __version__, "libraries": libraries}, (Table("", ("", ""), rows),))
