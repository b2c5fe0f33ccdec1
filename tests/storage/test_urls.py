"""Tests of sporeprint.storage.urls: where the databases are, and that no password shows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import URL

from sporeprint import settings
from sporeprint.errors import ConfigError
from sporeprint.settings import StorageSettings
from sporeprint.storage import urls

SERVER = "mysql+pymysql://user@localhost:3307/sporeprint"
SECRET = "sw0rdfish"


def test_without_any_word_both_are_embedded(tmp_path: Path) -> None:
    assert urls.oltp(StorageSettings(), tmp_path, {}) == URL.create("sqlite", database=str(tmp_path / "data/sporeprint.db"))
    assert urls.olap(StorageSettings(), tmp_path, {}) == tmp_path / "data/warehouse"


def test_the_environment_goes_before_the_settings(tmp_path: Path) -> None:
    configured = StorageSettings(oltp="mysql+pymysql://a@b/configured", olap="mysql+pymysql://a@b/configured")
    environ = {"SPOREPRINT_OLTP_URL": SERVER, "SPOREPRINT_OLAP_URL": SERVER}
    for read in (urls.oltp, urls.olap):
        kept, changed = read(configured, tmp_path, {}), read(configured, tmp_path, environ)
        assert isinstance(kept, URL)
        assert isinstance(changed, URL)
        assert (kept.database, changed.database) == ("configured", "sporeprint")


def test_an_sqlite_path_is_below_the_work_directory_or_absolute(tmp_path: Path) -> None:
    assert urls.oltp(StorageSettings(oltp="sqlite:///a/b.db"), tmp_path, {}).database == str(tmp_path / "a/b.db")
    assert urls.oltp(StorageSettings(oltp="sqlite:////a/b.db"), tmp_path, {}).database == "/a/b.db"


def password_file(tmp_path: Path, text: str = f"{SECRET}\n") -> str:
    (tmp_path / "password").write_text(text, encoding="utf-8")
    return str(tmp_path / "password")


@pytest.mark.parametrize("base", ["OLTP", "OLAP"])
@pytest.mark.parametrize("way", ["variable", "file", "address"])
def test_a_password_comes_from_the_environment_or_a_file(base: str, way: str, tmp_path: Path) -> None:
    address = SERVER.replace("user@", f"user:{SECRET}@") if way == "address" else SERVER
    environ = {f"SPOREPRINT_{base}_URL": address}
    environ |= {f"SPOREPRINT_{base}_PASSWORD": SECRET} if way == "variable" else {}
    environ |= {f"SPOREPRINT_{base}_PASSWORD_FILE": password_file(tmp_path)} if way == "file" else {}
    url = (urls.oltp if base == "OLTP" else urls.olap)(StorageSettings(), tmp_path, environ)
    assert isinstance(url, URL)
    assert url.password == SECRET
    assert SECRET not in repr(url) + urls.redacted(url)


LINES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), min_size=1)


@given(LINES.filter(lambda password: not password.lower().startswith("change-me")))
def test_any_password_arrives_as_it_is(password: str) -> None:
    url = urls.oltp(StorageSettings(oltp=SERVER), Path("/w"), {"SPOREPRINT_OLTP_PASSWORD": password})
    assert url.password == password
    assert url.username == "user"
    assert urls.redacted(url) == "mysql+pymysql://user:***@localhost:3307/sporeprint"


def test_tls_options_pass_through(tmp_path: Path) -> None:
    url = urls.oltp(StorageSettings(oltp=f"{SERVER}?ssl_ca=/etc/ca.pem&ssl_verify_identity=false"), tmp_path, {})
    assert dict(url.query) == {"ssl_ca": "/etc/ca.pem", "ssl_verify_identity": "false"}


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("nonsense", "SPOREPRINT_OLTP_URL: 'nonsense' is no address; expected sqlite:///path/to/file.db or mysql"),
        (f"mysql://user:{SECRET}@h/d", r"SPOREPRINT_OLTP_URL: 'mysql://user:\*\*\*@h/d' begins with 'mysql'"),
        (f"mysql+pymysql//user:{SECRET}@h/d", "is no address"),
        (f"user:{SECRET}@h:3306/d", "is no address"),
        (f"postgresql://u:{SECRET}@h/d", "begins with 'postgresql'; expected sqlite"),
        ("mysql+pymysql://h/d", "names no user"),
        (f"mysql+pymysql://u:{SECRET}@h", "names no database"),
        (f"{SERVER}?ssl_cb=x", r"unknown option 'ssl_cb' \(did you mean 'ssl_ca'\?\); allowed: ssl_ca, "),
        (f"{SERVER}?read_default_file=/etc/passwd", "unknown option 'read_default_file'"),
        (f"{SERVER}?password={SECRET}", "unknown option 'password'"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("mysql+pymysql://u:change-me-oltp-api@h/d", "the password is the placeholder"),
    ],
)
def test_what_is_no_address_is_refused_without_its_password(address: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        urls.oltp(StorageSettings(), tmp_path, {"SPOREPRINT_OLTP_URL": address})
    assert SECRET not in str(caught.value)


def test_the_warehouse_is_no_sqlite_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"SPOREPRINT_OLAP_URL: 'sqlite:///a.db' begins with 'sqlite'; expected mysql"):
        urls.olap(StorageSettings(), tmp_path, {"SPOREPRINT_OLAP_URL": "sqlite:///a.db"})


def test_two_passwords_are_one_too_many(tmp_path: Path) -> None:
    environ = {"SPOREPRINT_OLTP_URL": SERVER, "SPOREPRINT_OLTP_PASSWORD": SECRET, "SPOREPRINT_OLTP_PASSWORD_FILE": password_file(tmp_path)}
    with pytest.raises(ConfigError, match="more than once, by SPOREPRINT_OLTP_PASSWORD and by SPOREPRINT_OLTP_PASSWORD_FILE") as caught:
        urls.oltp(StorageSettings(), tmp_path, environ)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("read", [urls.oltp, urls.olap])
def test_a_password_without_an_address_is_a_mistake(read: Callable[..., Any], tmp_path: Path) -> None:
    base = read.__name__.upper()
    with pytest.raises(ConfigError, match=f"SPOREPRINT_{base}_PASSWORD is set, but .*; set SPOREPRINT_{base}_URL too"):
        read(StorageSettings(), tmp_path, {f"SPOREPRINT_{base}_PASSWORD": SECRET})


@pytest.mark.parametrize("text", ["", "\n", f"{SECRET}\nmore\n"])
def test_a_password_file_holds_one_line(text: str, tmp_path: Path) -> None:
    environ = {"SPOREPRINT_OLTP_URL": SERVER, "SPOREPRINT_OLTP_PASSWORD_FILE": password_file(tmp_path, text)}
    with pytest.raises(ConfigError, match="must hold the password on one line") as caught:
        urls.oltp(StorageSettings(), tmp_path, environ)
    assert SECRET not in str(caught.value)


def test_a_missing_password_file_is_named(tmp_path: Path) -> None:
    environ = {"SPOREPRINT_OLTP_URL": SERVER, "SPOREPRINT_OLTP_PASSWORD_FILE": str(tmp_path / "none")}
    with pytest.raises(ConfigError, match=r"SPOREPRINT_OLTP_PASSWORD_FILE: cannot read the password from .*none: No such file"):
        urls.oltp(StorageSettings(), tmp_path, environ)


@pytest.mark.parametrize("password", [SECRET, "a@b", "a:b/c?d#e", ""])
@pytest.mark.parametrize("key", ["oltp", "olap"])
def test_a_password_in_the_configuration_is_refused_and_not_shown(key: str, password: str, raw_config: dict[str, Any]) -> None:
    raw_config["storage"][key] = f"mysql+pymysql://user:{password}@host/d"
    says = f"storage.{key}: a password stands in the address; .* set SPOREPRINT_{key.upper()}_PASSWORD or"
    with pytest.raises(ConfigError, match=says) as caught:
        settings.parse(raw_config)
    assert not password or password not in str(caught.value)


def test_an_address_without_a_password_is_no_mistake(raw_config: dict[str, Any]) -> None:
    raw_config["storage"]["oltp"] = f"{SERVER}?ssl_ca=/etc/a:b.pem"
    assert settings.parse(raw_config).storage.oltp == f"{SERVER}?ssl_ca=/etc/a:b.pem"
