"""A real MariaDB for tests: Debian's mariadbd in a folder of its own, on a free port of the loopback interface."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import pymysql
from sqlalchemy import URL

from free_ports import free_port

#: Not on everybody's PATH: where Debian puts servers.
_SBIN = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
MARIADBD, INSTALL = shutil.which("mariadbd", path=_SBIN), shutil.which("mariadb-install-db", path=_SBIN)
ADMIN, ADMIN_PASSWORD = "admin", "admin-of-the-tests"

#: Small, because tests need no more; durable, because tests kill it.
SMALL = {"innodb-buffer-pool-size": "64M", "innodb-log-file-size": "32M", "innodb-flush-log-at-trx-commit": "1"}


class MariaDB:
    """One server: started on making, restarted and killed at will, always on the same port and data.

    `url()` is the administrator's, who may do everything; other accounts are made by `execute("CREATE USER ...")`.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str] = SMALL) -> None:
        self.folder, self.settings, self.port = folder, dict(settings), free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        assert MARIADBD is not None
        assert INSTALL is not None
        # Its clean-up as root would change the owner of the files; the server runs as whoever runs the tests.
        install = [INSTALL, "--no-defaults", f"--datadir={folder / 'data'}", "--auth-root-authentication-method=normal", "--skip-test-db"]
        done = subprocess.run([*install, *self._user()], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        (folder / "init.sql").write_text(
            f"CREATE USER IF NOT EXISTS {ADMIN}@'127.0.0.1' IDENTIFIED BY '{ADMIN_PASSWORD}';\n"
            f"GRANT ALL ON *.* TO {ADMIN}@'127.0.0.1' WITH GRANT OPTION;\n"
        )
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it and wait until it answers."""
        assert not self.running
        command = [
            *(str(MARIADBD), "--no-defaults", *self._user(), f"--datadir={self.folder / 'data'}", f"--socket={self.folder / 'socket'}"),
            *(f"--pid-file={self.folder / 'pid'}", "--bind-address=127.0.0.1", f"--port={self.port}", "--skip-name-resolve"),
            *(f"--init-file={self.folder / 'init.sql'}", *(f"--{name}={value}" for name, value in self.settings.items())),
        ]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.wait()

    def wait(self, seconds: float = 60) -> None:
        """Wait until it answers."""
        until = time.monotonic() + seconds
        while True:
            assert self.running, f"mariadbd ended:\n{self.log()[-3000:]}"
            try:
                self.connect().close()
            except pymysql.MySQLError:
                assert time.monotonic() < until, f"mariadbd does not answer:\n{self.log()[-3000:]}"
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """End it in an orderly way."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut does, kill -9. What it held open is cut."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop it, if it runs, and start it."""
        self.stop()
        self.start()

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self.process is not None and self.process.poll() is None

    def url(self, user: str = ADMIN, database: str | None = None, *, password: str | None = None) -> URL:
        """An address. The password is the administrator's, or the one given."""
        secret = ADMIN_PASSWORD if user == ADMIN and password is None else password
        return URL.create("mysql+pymysql", user, secret, "127.0.0.1", self.port, database)

    def connect(self, database: str | None = None) -> "pymysql.Connection[pymysql.cursors.Cursor]":
        """A connection of the administrator, without SQLAlchemy."""
        # Without TLS: the driver would read every certificate authority of the machine for each connection, and use none.
        options: dict[str, Any] = {"connect_timeout": 5, "autocommit": True, "ssl_disabled": True}
        return pymysql.connect(host="127.0.0.1", port=self.port, user=ADMIN, password=ADMIN_PASSWORD, database=database, **options)

    def execute(self, *statements: str, database: str | None = None) -> list[tuple[object, ...]]:
        """Run statements as the administrator; the rows of the last one."""
        connection = self.connect(database)
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return list(cursor.fetchall())
        finally:
            connection.close()

    def create_database(self) -> str:
        """A new, empty database of its own name."""
        self._databases += 1
        name = f"test_{self._databases}"
        self.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin")
        return name

    def log(self) -> str:
        """What it said."""
        return (self.folder / "log").read_text(errors="replace")

    def _user(self) -> list[str]:
        return ["--user=root"] if os.geteuid() == 0 else []

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None:
            if self.running:
                self.process.send_signal(number)
            self.process.wait(60)
            self.process = None
