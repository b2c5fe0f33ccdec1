"""`sporeprint serve`: the registered models over HTTP."""

from functools import partial
from typing import Annotated

import typer

from sporeprint.cli.command import ALL, Facts, Session, command
from sporeprint.cli.console import Result
from sporeprint.common.text_table import Table
from sporeprint.errors import RegistryError, UsageError


def add_serve_to(app: typer.Typer, panel: str) -> None:
    """Make `serve` a command of the application, in one of its panels."""
    command(
        app,
        ALL,
        panel=panel,
        examples="sporeprint serve\nsporeprint serve --port 8080 --workers 2\nsporeprint serve --model xgboost/v2\n"
        "sporeprint serve --host 0.0.0.0                    with API keys\n"
        "curl localhost:8000/predict -H 'Content-Type: application/json' -d '{\"cap-shape\": \"convex\"}'",
    )(serve)


def serve(
    session: Session,
    port: Annotated[int, typer.Option(min=1, max=65535, metavar="PORT", help="Port to listen on.")] = 8000,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on. One that others can reach needs API keys.")
    ] = "127.0.0.1",
    workers: Annotated[int, typer.Option(min=1, max=64, metavar="N", help="Number of worker processes.")] = 1,
    model: Annotated[str, typer.Option(metavar="NAME", help="production, a model's name, or one version of it as name/v2.")] = "production",
) -> Result:
    """Serve predictions over HTTP; documentation at /docs. Ctrl-C ends it."""
    from sporeprint.model_serving.database import DatabaseStart

    database = DatabaseStart(session.settings.storage, session.workdir)  # it is waited for while the rest is loaded
    from sporeprint.model_serving import server
    from sporeprint.model_serving.http.host import LOOPBACK

    exposed, start = host not in LOOPBACK, server.check(session.settings, session.workdir, model, database)
    if exposed and not start.has_keys:
        raise UsageError(
            f"--host {host}: there are no API keys, so that everybody who reaches the server could use it; make one first: "
            f"sporeprint keys create --name NAME --role predict. Without keys, expected one of {', '.join(LOOPBACK)}"
        )
    if start.ref is None:
        raise RegistryError(f"{start.problem}\nsporeprint etl makes a model and puts the best one into production") from start.problem
    where = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    to = "to those who have a key" if start.has_keys else "to this machine only (no API keys yet)"
    text = f"serving {start.ref} at {where}, documented at {where}/docs, {to}"
    server.serve(
        *(session.settings, session.workdir),
        model=model,
        host=host,
        port=port,
        workers=workers,
        exposed=exposed,
        ready=partial(session.screen.say, text),
    )
    return Facts({"served": start.ref}, (Table("", ("",), (("the server has ended; all predictions are stored",),)),))
