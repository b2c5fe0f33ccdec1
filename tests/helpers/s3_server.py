"""A real S3 server on loopback, in a process of its own, whose answers can be made to fail."""

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
from pyarrow import fs


@dataclass(frozen=True)
class Fault:
    """An answer in place of an object: see s3_program.py."""

    status: int
    code: str
    path: str = ""
    range: str = ""
    times: int = 1 << 30


@dataclass(frozen=True)
class S3Server:
    """A bucket called `tables`."""

    url: str

    @property
    def bucket(self) -> fs.FileSystem:
        return fs.FileSystem.from_uri("s3://tables/?allow_bucket_creation=true")[0]

    def put(self, key: str, data: bytes) -> str:
        """Write an object; its address."""
        with self.bucket.open_output_stream(f"tables/{key}") as stream:
            stream.write(data)
        return f"s3://tables/{key}"

    @contextmanager
    def failing(self, *faults: Fault) -> Iterator[None]:
        self._set(faults)
        try:
            yield
        finally:
            self._set(())

    def _set(self, faults: tuple[Fault, ...]) -> None:
        body = json.dumps([asdict(fault) for fault in faults]).encode()
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/faults", body, method="PUT"), timeout=60).close()


@contextmanager
def s3_server(python: Path) -> Iterator[S3Server]:
    """One, with its address and keys in the environment as long as the block runs.

    Args:
        python: of an environment with moto.
    """
    program = [str(python), str(Path(__file__).with_name("s3_program.py"))]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            server = S3Server(f"http://127.0.0.1:{int(process.stdout.readline())}")
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("AWS_ENDPOINT_URL", server.url)
                patch.setenv("AWS_ACCESS_KEY_ID", "reader")
                patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
                patch.setenv("AWS_REGION", "us-east-1")
                patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
                server.bucket.create_dir("tables")
                yield server
        finally:
            process.terminate()
