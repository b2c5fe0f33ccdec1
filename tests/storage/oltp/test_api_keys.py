"""API keys on both kinds of database: made once, hashed, revoked, and every change in the audit trail."""

import pytest
from sqlalchemy import Engine, select

from sporeprint.common.timestamps import DAY_US
from sporeprint.errors import UsageError
from sporeprint.storage.oltp import api_keys
from sporeprint.storage.oltp.api_keys import Role, create, digest_of, id_of, last_use, listed, note_use, revoke, roles_of
from sporeprint.storage.oltp.audit_log import Change, changes, note
from sporeprint.storage.oltp.tables import api_key, metadata

BOTH = frozenset({Role.PREDICT, Role.READ})


@pytest.fixture
def engine(empty: Engine) -> Engine:
    metadata.create_all(empty)
    return empty


def test_only_the_hash_is_kept(engine: Engine) -> None:
    key, secret = create(engine, "shop", BOTH, now_us=7, actor="cli:ada")
    assert listed(engine) == (key,)
    assert (key.digest, key.key_id) == (digest_of(secret), id_of(secret))
    with engine.connect() as connection:
        row = connection.execute(select(api_key)).one()
    assert secret.rsplit("_", 1)[1] not in str(row)
    assert len(secret) > 50


def test_two_keys_have_nothing_in_common(engine: Engine) -> None:
    (first, one), (second, two) = (create(engine, name, BOTH, now_us=1, actor="a") for name in ("a", "b"))
    assert len({first.key_id, second.key_id, one, two}) == 4


def test_it_ends(engine: Engine) -> None:
    key, _ = create(engine, "shop", BOTH, expires_days=2, now_us=10, actor="a")
    assert key.expires_us == 10 + 2 * DAY_US
    assert key.is_valid(key.expires_us - 1)
    assert not key.is_valid(key.expires_us)
    done = revoke(engine, "shop", now_us=11, actor="a")
    assert done.name == "shop"
    assert listed(engine) == ()
    assert [(item.name, item.revoked_us) for item in listed(engine, revoked=True)] == [("shop", 11)]
    assert not listed(engine, revoked=True)[0].is_valid(12)
    # The name is free again.
    assert create(engine, "shop", BOTH, now_us=12, actor="a")[0].key_id != key.key_id


def test_every_change_leaves_a_trace_without_the_secret(engine: Engine) -> None:
    key, secret = create(engine, "shop", BOTH, now_us=10, actor="cli:ada")
    revoke(engine, "shop", now_us=11, actor="cli:bob")
    made, ended = changes(engine, "shop")
    assert made == Change(10, "cli:ada", "key.created", "shop", {"key_id": key.key_id, "roles": ["predict", "read"]})
    assert (ended.at_us, ended.actor, ended.action) == (11, "cli:bob", "key.revoked")
    assert secret not in str(changes(engine, "shop"))
    note(engine, Change(12, "x" * 300, "other", "größe 🍄", {}))
    assert changes(engine, "größe 🍄")[0].actor == "x" * 128


def test_the_day_of_the_last_use_is_noted(engine: Engine) -> None:
    assert last_use(engine) == {}
    note_use(engine, {"a", "b"}, "2026-11-28")
    note_use(engine, {"b"}, "2026-11-29")
    assert last_use(engine) == {"a": "2026-11-28", "b": "2026-11-29"}


def test_what_cannot_be(engine: Engine) -> None:
    create(engine, "shop", BOTH, now_us=1, actor="a")
    with pytest.raises(UsageError, match="there is a key 'shop'; choose another name, or revoke it first: sporeprint keys revoke shop"):
        create(engine, "shop", BOTH, now_us=1, actor="a")
    for name in ("", "a b", "../x", "🍄", "x" * 65, "-x"):
        with pytest.raises(UsageError, match="is no name of a key: expected 1 to 64 letters"):
            create(engine, name, BOTH, now_us=1, actor="a")
    with pytest.raises(UsageError, match=r"there is no key 'shp' \(did you mean 'shop'\?\); there are: shop"):
        revoke(engine, "shp", now_us=1, actor="a")
    with pytest.raises(
        UsageError, match=r"there is no role 'predicts' \(did you mean 'predict'\?\); choose from predict, label, operate, read"
    ):
        roles_of(["predicts"])
    with pytest.raises(UsageError, match="a key needs a role"):
        roles_of([])
    assert len(listed(engine)) == 1


def test_a_role_of_a_newer_version_gives_no_right(engine: Engine) -> None:
    create(engine, "shop", BOTH, now_us=1, actor="a")
    with engine.begin() as connection:
        connection.execute(api_key.update().values(role="fly,read"))
    assert listed(engine)[0].roles == {Role.READ}


@pytest.mark.parametrize("text", ["", "spk", "spk_1", "abc_1_2", "Bearer spk_1_2"])
def test_what_is_no_key_has_no_id(text: str) -> None:
    assert id_of(text) is None
    assert id_of("spk_1_2_3") == "1"
    assert api_keys.PREFIX == "spk"
