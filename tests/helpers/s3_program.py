"""Run in an environment with moto: a real S3 server on loopback that prints its port; what is put to /faults, its answers become.

A fault: {"path": what the object's path holds, "range": how the range begins, "status": 403, "code": S3's word, "times": how often}.
"""

import json
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

FAULTS: list[dict[str, Any]] = []
served = DomainDispatcherApplication(create_backend_app)


class Silent(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass


def answer(environ: dict[str, Any], start: Any) -> Any:
    path, part = environ["PATH_INFO"], environ.get("HTTP_RANGE", "")
    if path == "/faults":
        FAULTS[:] = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        start("200 OK", [("Content-Length", "0")])
        return []
    for fault in FAULTS:
        if fault["times"] and fault["path"] in path and part.startswith(fault["range"]):
            fault["times"] -= 1
            start(f"{fault['status']} {fault['code']}", [("Content-Type", "application/xml")])
            return [f"<Error><Code>{fault['code']}</Code><Message>{fault['code']}</Message></Error>".encode()]
    return served(environ, start)


if __name__ == "__main__":
    server = make_server("127.0.0.1", 0, answer, threaded=True, request_handler=Silent)
    print(server.port, flush=True)
    server.serve_forever()
