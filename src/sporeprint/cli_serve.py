"""`sporeprint serve`: the registered models over HTTP."""

from typing import Annotated

import typer

from sporeprint.command import ALL, Facts, Session, command
from sporeprint.console import Result
from sporeprint.errors import RegistryError, UsageError
from sporeprint.table import Table

#: Addresses that only this machine can reach.
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def add_to(app: typer.Typer, panel: str) -> None:
    """Make `serve` a command of the application, in one of its panels."""
    command(
        app,
        ALL,
        panel=panel,
        examples="sporeprint serve\nsporeprint serve --port 8080 --workers 2\nsporeprint serve --model xgboost/v2\n"
        "curl localhost:8000/predict -H 'Content-Type: application/json' -d '{\"cap-shape\": \"convex\"}'",
    )(serve)


def serve(
    session: Session,
    port: Annotated[int, typer.Option(min=1, max=65535, metavar="PORT", help="Port to listen on.")] = 8000,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on: one that only this machine can reach.")] = "127.0.0.1",
    workers: Annotated[int, typer.Option(min=1, max=64, metavar="N", help="Processes that answer.")] = 1,
    model: Annotated[str, typer.Option(metavar="NAME", help="production, a model's name, or one version of it as name/v2.")] = "production",
) -> Result:
    """Answer over HTTP: one observation, a batch, earlier answers, outcomes. Documented at /docs. Ctrl-C ends it."""
    from sporeprint.model_serving import server

    if host not in LOOPBACK:
        raise UsageError(
            f"--host {host}: there are no API keys yet, so that everybody who reaches the server may use it; "
            f"expected one of {', '.join(LOOPBACK)}. A proxy on this machine can let others in"
        )
    try:
        ref = server.check(session.settings, session.workdir, model)
    except RegistryError as error:
        raise RegistryError(f"{error}\nsporeprint etl makes a model and puts the best one into production") from error
    where = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    session.screen.say(f"serving {ref} at {where}, documented at {where}/docs, to this machine only (no API keys yet)")
    server.serve(session.settings, session.workdir, model=model, host=host, port=port, workers=workers)
    return Facts({"served": ref}, (Table("", ("",), (("the server has ended; every answer given is kept",),)),))
