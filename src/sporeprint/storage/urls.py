"""Where the two databases are: environment, then settings, then the embedded default below the work directory.

A password comes from the environment or from a file, and only from there: what stands in the configuration or on a
command line can be read by others. Nothing here, and no error of it, shows one.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import URL, exc, make_url

from sporeprint.errors import ConfigError, nearest
from sporeprint.settings import StorageSettings

#: The embedded databases, below the work directory.
EMBEDDED_OLTP, EMBEDDED_OLAP = Path("data/sporeprint.db"), Path("data/warehouse")
SQLITE, MARIADB = "sqlite", "mysql"
#: What an address may begin with. The dialect is stated: without one, SQLAlchemy takes a driver that is not installed here.
SCHEMES = ("mysql+pymysql", "mariadb+pymysql")
#: What may follow the '?' of a MariaDB address. Anything else is refused: the driver has options that name files or secrets.
TLS_OPTIONS = ("ssl_ca", "ssl_cert", "ssl_key", "ssl_verify_cert", "ssl_verify_identity")
OPTIONS = (*TLS_OPTIONS, "connect_timeout", "read_timeout", "write_timeout", "unix_socket")
#: How the passwords of docker/.env.example begin. They are in a public file.
PLACEHOLDER = "change-me"


def oltp(settings: StorageSettings, workdir: Path, environ: Mapping[str, str] | None = None) -> URL:
    """The address of the OLTP database: an SQLite file or a MariaDB, its password in it.

    Raises:
        ConfigError: it is no such address, its password is missing a source, given twice, or a placeholder.
    """
    environ = os.environ if environ is None else environ
    text, where = _address("OLTP", settings.oltp, environ)
    if text is None:
        _no_password("OLTP", environ, "the embedded SQLite file has none")
        return _sqlite(workdir / EMBEDDED_OLTP)
    url = _parsed(text, where, allowed=(SQLITE, *SCHEMES))
    if url.get_backend_name() != SQLITE:
        return _server(url, where, "OLTP", environ)
    _no_password("OLTP", environ, "an SQLite file has none")
    if not url.database or url.database == ":memory:" or url.query or url.host:
        raise ConfigError(f"{where}: {redacted(url)!r} names no file; expected sqlite:///path/to/file.db")
    return _sqlite(workdir / url.database)


def olap(settings: StorageSettings, workdir: Path, environ: Mapping[str, str] | None = None) -> URL | Path:
    """Where the warehouse is: the address of a MariaDB, its password in it, or the folder of the embedded one.

    Raises:
        ConfigError: see `oltp`.
    """
    environ = os.environ if environ is None else environ
    text, where = _address("OLAP", settings.olap, environ)
    if text is None:
        _no_password("OLAP", environ, "the embedded warehouse has none")
        return workdir / EMBEDDED_OLAP
    return _server(_parsed(text, where, allowed=SCHEMES), where, "OLAP", environ)


def redacted(address: URL | Path) -> str:
    """An address as it may be shown: without its password."""
    if isinstance(address, Path):
        return str(address)
    return address.database or "" if address.get_backend_name() == SQLITE else address.render_as_string(hide_password=True)


def _address(base: str, configured: str | None, environ: Mapping[str, str]) -> tuple[str | None, str]:
    """The address as it is written, and where it stands."""
    variable = f"SPOREPRINT_{base}_URL"
    if text := environ.get(variable):
        return text, variable
    return configured, f"storage.{base.lower()}"


def _parsed(text: str, where: str, *, allowed: tuple[str, ...]) -> URL:
    hidden = re.sub("(?s):(?!//).*@", ":***@", text)  # whatever it is, what may be a password is not shown
    try:
        url = make_url(text)
    except (exc.ArgumentError, ValueError):
        raise ConfigError(f"{where}: {hidden!r} is no address; expected {_expected(allowed)}") from None
    if url.drivername not in allowed:
        near = nearest(url.drivername, allowed)
        raise ConfigError(f"{where}: {hidden!r} begins with {url.drivername!r}{near}; expected {_expected(allowed)}")
    return url


def _expected(allowed: tuple[str, ...]) -> str:
    return " or ".join(["sqlite:///path/to/file.db"] * (SQLITE in allowed) + ["mysql+pymysql://user@host:port/database"])


def _sqlite(path: Path) -> URL:
    return URL.create(SQLITE, database=str(path))


def _server(url: URL, where: str, base: str, environ: Mapping[str, str]) -> URL:
    for what, value in (("user", url.username), ("database", url.database)):
        if not value:
            raise ConfigError(f"{where}: {redacted(url)!r} names no {what}; expected {_expected(SCHEMES)}")
    for option in url.query:
        if option not in OPTIONS:
            raise ConfigError(f"{where}: unknown option {option!r}{nearest(option, OPTIONS)}; allowed: {', '.join(OPTIONS)}")
    return url.set(password=_password(url, where, base, environ))


def _password(url: URL, where: str, base: str, environ: Mapping[str, str]) -> str | None:
    """The one password that is given, or None: a server may know its client by a certificate or a socket."""
    variable = f"SPOREPRINT_{base}_PASSWORD"
    sources = {name: environ[name] for name in (variable, f"{variable}_FILE") if environ.get(name)}
    if url.password is not None:
        sources[where] = str(url.password)
    if len(sources) > 1:
        raise ConfigError(f"the password of {redacted(url)} is given more than once, by {' and by '.join(sources)}; leave one")
    for name, value in sources.items():
        password = _read(name, value) if name.endswith("_FILE") else value
        if password.lower().startswith(PLACEHOLDER):
            raise ConfigError(
                f"{name}: the password is the placeholder of docker/.env.example, which everybody can read; set one of your own"
            )
        return password
    return None


def _read(name: str, path: str) -> str:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{name}: cannot read the password from {path}: {reason}") from None
    password = text.rstrip("\r\n")
    if not password or "\n" in password:
        raise ConfigError(f"{name}: {path} must hold the password on one line, and nothing else")
    return password


def _no_password(base: str, environ: Mapping[str, str], reason: str) -> None:
    """A password for nobody is an address forgotten: what it was meant for would go to a file."""
    for name in (f"SPOREPRINT_{base}_PASSWORD", f"SPOREPRINT_{base}_PASSWORD_FILE"):
        if environ.get(name):
            raise ConfigError(f"{name} is set, but {reason}; set SPOREPRINT_{base}_URL too, or unset {name}")
