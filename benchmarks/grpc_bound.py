"""What a gRPC server in Python that does nothing can answer at most, beside `/v2` of a running server with everything.

    PYTHON_WITH_GRPCIO benchmarks/grpc_bound.py [--url http://127.0.0.1:8000 --body FILE] [--seconds 3]

Both sides get one row as JSON bytes over eight connections of threads of this process. Without --url only the bound is measured. The gRPC
server takes and gives bytes unread, and so does an HTTP server beside it: parsing, scoring, journal, keys and limits would come on top.
"""

import argparse
import asyncio
import http.client
import json
import multiprocessing
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

METHOD = "/inference.GRPCInferenceService/ModelInfer"
THREADS = 8


def serve(ready: Any) -> None:
    import grpc

    async def answer(request: bytes, _context: Any) -> bytes:
        return request

    async def main() -> None:
        server = grpc.aio.server()
        handler = grpc.unary_unary_rpc_method_handler(answer)
        service, method = METHOD.strip("/").split("/")
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
        ready.put(server.add_insecure_port("127.0.0.1:0"))
        await server.start()
        await server.wait_for_termination()

    asyncio.run(main())


def serve_http(ready: Any) -> None:
    import uvicorn

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            body = (await receive())["body"]
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
            await send({"type": "http.response.body", "body": body})

    listening = socket.create_server(("127.0.0.1", 0))
    ready.put(listening.getsockname()[1])
    uvicorn.Server(uvicorn.Config(answer, log_level="error", lifespan="off")).run([listening])


def rate(connect: Callable[[], Callable[[], None]], seconds: float) -> float:
    """Calls a second of all threads."""
    counts, end = [0] * THREADS, time.perf_counter() + seconds

    def work(number: int) -> None:
        call = connect()
        while time.perf_counter() < end:
            call()
            counts[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - begin)


def grpc_call(port: int, body: bytes) -> Callable[[], None]:
    import grpc

    call = grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]).unary_unary(METHOD)
    return lambda: call(body)


def http_call(url: str, body: bytes) -> Callable[[], None]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)

    def call() -> None:
        connection.request("POST", "/v2/models/mushroom/infer", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read()
        if response.status != 200:
            raise SystemExit(text.decode())

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url")
    parser.add_argument("--body", type=Path)
    parser.add_argument("--seconds", type=float, default=3)
    options = parser.parse_args()
    row = {"inputs": [{"name": "rows", "datatype": "BYTES", "shape": [1], "data": ['{"cap-shape": "convex"}']}]}
    body = options.body.read_bytes() if options.body else json.dumps(row).encode()
    ready: Any = multiprocessing.Queue()
    processes = [multiprocessing.Process(target=target, args=(ready,), daemon=True) for target in (serve, serve_http)]
    ports = []
    for process in processes:
        process.start()
        ports.append(ready.get(timeout=30))
    port, echo = ports[0], f"http://127.0.0.1:{ports[1]}"
    rates: dict[str, list[int]] = {"grpc, nothing done": [], "http, nothing done": [], "http /v2, everything": []}
    for _ in range(3):
        rates["grpc, nothing done"].append(round(rate(lambda: grpc_call(port, body), options.seconds)))
        rates["http, nothing done"].append(round(rate(lambda: http_call(echo, body), options.seconds)))
        if options.url:
            rates["http /v2, everything"].append(round(rate(lambda: http_call(options.url, body), options.seconds)))
    for process in processes:
        process.terminate()
    print(json.dumps(rates, indent=1))


if __name__ == "__main__":
    main()
