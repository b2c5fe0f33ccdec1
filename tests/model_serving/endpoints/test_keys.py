"""Who calls, and keys over HTTP: told once, revoked at once, and never made by who may not."""

import time
from collections.abc import Callable

from serving_support import Client
from sporeprint.storage.oltp import api_keys
from sporeprint.storage.oltp.api_keys import Role

SECRET = "spk_"


def headers(secret: str) -> dict[str, str]:
    return {"x-api-key": secret}


def test_without_keys_this_machine_may_do_everything_and_makes_the_first(started: Callable[..., Client]) -> None:
    client = started()
    assert client.get("/me").json() == {
        "name": "local",
        "roles": ["predict", "label", "operate", "read", "admin"],
        "local": True,
        "expires": None,
    }
    made = client.post("/keys", json={"name": "first", "roles": ["read", "admin"], "expires_days": 2})
    assert made.status_code == 201
    secret = made.json()["key"]
    assert secret.startswith(SECRET)
    assert client.get("/me").status_code == 401  # from now on a key is needed
    me = client.get("/me", headers=headers(secret)).json()
    assert (me["name"], me["roles"], me["local"]) == ("first", ["read", "admin"], False)
    assert me["expires"] is not None
    assert client.get("/keys", headers=headers(secret)).status_code == 403
    assert secret not in client.get("/audit", headers=headers(secret)).text


def test_operators_list_and_revoke_but_make_none(started: Callable[..., Client]) -> None:
    client = started()
    engine = client.app.state.service.database.engine
    now_us = time.time_ns() // 1000
    admin = api_keys.create(engine, "admin", frozenset({Role.ADMIN}), now_us=now_us, actor="t")[1]
    ops = api_keys.create(engine, "ops", frozenset({Role.OPERATE}), now_us=now_us, actor="t")[1]
    client.app.state.service.access.refresh()
    assert client.post("/keys", json={"name": "x", "roles": ["admin"]}, headers=headers(ops)).status_code == 403
    made = client.post("/keys", json={"name": "shop", "roles": ["predict"]}, headers=headers(admin)).json()
    assert client.post("/predict", json={}, headers=headers(made["key"])).status_code == 200
    assert client.post("/keys", json={"name": "shop", "roles": ["read"]}, headers=headers(admin)).status_code == 409
    for wrong in ({}, {"name": "a b", "roles": ["read"]}, {"name": "a", "roles": []}, {"name": "a", "roles": ["root"]}):
        assert client.post("/keys", json=wrong, headers=headers(admin)).status_code == 422, wrong
    listed = client.get("/keys", headers=headers(ops))
    assert {each["name"] for each in listed.json()["keys"]} == {"admin", "ops", "shop"}
    assert made["key"] not in listed.text
    gone = client.request("DELETE", "/keys/shop", headers=headers(ops))
    assert (gone.status_code, gone.json()["valid"]) == (200, False)
    assert client.post("/predict", json={}, headers=headers(made["key"])).status_code == 401
    assert client.request("DELETE", "/keys/shop", headers=headers(ops)).status_code == 404
    (revoked,) = [each for each in client.get("/keys?revoked=true", headers=headers(ops)).json()["keys"] if each["revoked"]]
    assert revoked["name"] == "shop"
