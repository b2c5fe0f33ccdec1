"""Pages for monitoring, alerts, runs, settings, keys and the audit trail, without a browser."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from page_support import log_in, send, until_ready, whole
from serving_support import Client
from sporeprint.pipelines.monitoring import monitor
from sporeprint.settings import Settings
from sporeprint.storage.oltp import audit_log
from sporeprint.storage.oltp.audit_log import Change
from watch_support import BEGIN_US, add_evaluations, add_runs, raise_alert

HOSTILE = "<script>alert(1)</script>\u202e" + "x" * 10_000
PAGES = ("", "monitoring", "alerts", "alerts?over=true", "runs", "settings", "keys", "audit")


@pytest.fixture
def filled(started: Callable[..., Client]) -> tuple[Client, Engine, str]:
    """A server whose monitor, pipeline and people wrote texts that nobody wants in a page; its database, and an alert that is on."""
    client = until_ready(started())
    engine = client.app.state.service.database.engine
    add_evaluations(engine, 14, text=HOSTILE)
    add_runs(engine, 3, HOSTILE)
    alert_id = raise_alert(engine, text=HOSTILE)
    audit_log.note(engine, Change(BEGIN_US, HOSTILE, "key.created", HOSTILE, {"note": HOSTILE, "roles": ["read"]}))
    return client, engine, alert_id


def fine(response: Any) -> str:
    """The text of a page that is whole, and in which nobody's text is markup or endless."""
    assert response.status_code == 200, response.text[:500]
    whole(response)
    assert "<script>alert" not in response.text
    assert "x" * 3_000 not in response.text
    return str(response.text)


# --- every page ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
def test_a_fresh_install_says_what_to_do_first(client: Client, path: str) -> None:
    page = fine(until_ready(client).get(f"/ui/{path}"))
    first = {
        "": "sporeprint etl",
        "monitoring": "sporeprint monitor --watch",
        "alerts": "sporeprint monitor --watch",
        "runs": "sporeprint etl",
    }
    assert first.get(path, "<h1") in page


def test_no_text_of_monitor_pipeline_or_people_becomes_markup(filled: tuple[Client, Engine, str]) -> None:
    client, _, alert_id = filled
    run_id = client.get("/runs?status=failed").json()["runs"][0]["run_id"]
    further = (f"alerts/{alert_id}", "monitoring/run-014", "monitoring/run-001", f"runs/{run_id}")
    for path in (*PAGES, *further):
        for language in ("en", "de"):
            fine(client.get(f"/ui/{path}", headers={"accept-language": language}))


@pytest.mark.parametrize(
    "path",
    ["alerts/none", "monitoring/none", "monitoring/none/report", "runs/none", "runs/none/rejected", "runs/%3Cb%3E/rejected?rule=%3Cb%3E"],
)
def test_what_is_not_there_is_said_so(client: Client, path: str) -> None:
    response = client.get(f"/ui/{path}")
    assert response.status_code == 404
    whole(response)
    assert "<b>" not in response.text.partition("</h1>")[2]


def test_pages_are_for_those_who_may(filled: tuple[Client, Engine, str], settings_of_roles: dict[str, str]) -> None:
    client, _, alert_id = filled
    reader = log_in(client, settings_of_roles["read"])
    page = client.get(f"/ui/alerts/{alert_id}", headers=reader)
    assert page.status_code == 200
    assert f'action="/ui/alerts/{alert_id}"' not in page.text
    assert send(client, f"/ui/alerts/{alert_id}", reader, note="x").status_code == 403
    for path in ("settings", "keys", "audit"):
        assert client.get(f"/ui/{path}", headers=reader).status_code == 403
    assert "key.created" not in client.get("/ui/", headers=reader).text  # who changed what is for operators
    operator = log_in(client, settings_of_roles["operate"])
    assert 'action="/ui/keys"' not in client.get("/ui/keys", headers=operator).text
    assert send(client, "/ui/keys", operator, name="mine", **{"role-admin": "yes"}).status_code == 403


@pytest.fixture
def settings_of_roles(filled: tuple[Client, Engine, str]) -> dict[str, str]:
    """A key for each role, which the server knows."""
    import time

    from sporeprint.storage.oltp import api_keys
    from sporeprint.storage.oltp.api_keys import Role

    client, engine, _ = filled
    made = {
        role.value: api_keys.create(engine, role.value, frozenset({role}), now_us=time.time_ns() // 1000, actor="test")[1] for role in Role
    }
    client.app.state.service.access.refresh()
    return made


# --- monitoring ----------------------------------------------------------------------------------------------------------


def test_the_heat_map_has_a_cell_for_each_column_and_evaluation_with_its_number(filled: tuple[Client, Engine, str]) -> None:
    client, _, _ = filled
    page = fine(client.get("/ui/monitoring"))
    (table,) = re.findall(r'<table class="heat">.*?</table>', page, re.DOTALL)
    rows = re.findall(r"<tr><th scope=\"row\">(.*?)</th>(.*?)</tr>", table)
    assert [label for label, _ in rows] == ["Cap shape", "Gill attachment", "Stem width", "Probability", "Verdict"]
    cells = {label: re.findall(r'<td class="([\w -]+)" title="([^"]*)">', row) for label, row in rows}
    assert all(len(each) == 14 for each in cells.values())
    assert cells["Cap shape"][0] == ("h0", "0.01, 0.1 times the 0.1 that matters")
    assert cells["Cap shape"][2] == ("h-none", "not computed: only 12 values")  # never as if it were fine
    assert cells["Verdict"][12] == ("h4 alarm", "0.52, 5.2 times the 0.1 that matters: ALARM")
    assert [kind for kind, _ in cells["Verdict"]] == [
        "h0",
        "h1",
        "h2",
        "h2",
        "h3",
        "h3",
        "h3",
        "h3",
        "h3",
        "h3",
        "h3",
        "h3",
        "h4 alarm",
        "h4 alarm",
    ]
    assert table.count("/ui/monitoring/run-") == 14
    for finding in ("with outcomes: 94.6", "outcomes still to come: 93.4", "expected: 98.5", "wrong: 0.7 %"):
        assert finding in page


def test_a_real_evaluation_is_shown_in_words(
    started: Callable[..., Client], small_settings: Settings, small_copy: Path, small_table: Path, tmp_path: Path
) -> None:
    lines = small_table.read_text().splitlines()
    column = lines[0].split(";").index("gill-color")
    shifted = [lines[0], *(";".join([*cells[:column], "o", *cells[column + 1 :]]) for cells in (line.split(";") for line in lines[1:]))]
    (tmp_path / "shifted.csv").write_text("\n".join(shifted))
    made = monitor(small_settings, small_copy, tmp_path / "shifted.csv")
    client = until_ready(started())
    page = fine(client.get(f"/ui/monitoring/{made.evaluation_id}"))
    assert "<b>Gill color</b>: " in page
    assert "orange" in page  # the distribution, in words
    report = client.get(f"/ui/monitoring/{made.evaluation_id}/report")
    assert (report.status_code, report.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "script-src" not in report.headers["content-security-policy"]
    assert made.evaluation_id is not None
    assert made.evaluation_id in fine(client.get("/ui/runs?command=monitor"))


# --- alerts --------------------------------------------------------------------------------------------------------------


def test_an_alert_is_acknowledged_with_a_note(filled: tuple[Client, Engine, str]) -> None:
    client, _, alert_id = filled
    assert "One alert is on that nobody has acknowledged" in fine(client.get("/ui/"))
    assert send(client, f"/ui/alerts/{alert_id}", note="y" * 2_001).status_code == 422
    assert "y" * 1_000 in send(client, f"/ui/alerts/{alert_id}", note="y" * 2_001).text  # nothing typed is lost
    assert send(client, f"/ui/alerts/{alert_id}", note="<b>mine").headers["location"] == f"/ui/alerts/{alert_id}"
    page = fine(client.get(f"/ui/alerts/{alert_id}"))
    assert "somebody knows" in page
    assert "&lt;b&gt;mine" in page
    assert "that nobody has acknowledged" not in client.get("/ui/").text
    assert client.get(f"/alerts/{alert_id}").json()["events"][-1]["details"]["note"] == "<b>mine"


# --- runs ----------------------------------------------------------------------------------------------------------------


def test_rejected_rows_mark_the_cell_that_is_broken(
    started: Callable[..., Client], small_settings: Settings, small_copy: Path, small_table: Path, tmp_path: Path
) -> None:
    from sporeprint.errors import DataError
    from sporeprint.pipelines.transform import run_validate

    lines = small_table.read_text().splitlines()
    names = lines[0].split(";")
    for number in range(1, 61):
        cells = lines[number].split(";")
        cells[names.index("stem-width")] = "17.wrz<b>"
        lines[number] = ";".join(cells)
    (tmp_path / "broken.csv").write_text("\n".join(lines))
    from sporeprint.pipelines.extract import run_extract

    run_extract(small_settings, small_copy, source=str(tmp_path / "broken.csv"))
    with pytest.raises(DataError):
        run_validate(small_settings, small_copy)
    client = until_ready(started())
    run = client.get("/runs?command=validate").json()["runs"][0]
    page = fine(client.get(f"/ui/runs/{run['run_id']}"))
    assert "Why it stopped" in page
    assert "Stem width: not a number" in page
    page = fine(client.get(f"/ui/runs/{run['run_id']}/rejected"))
    assert page.count('class="broken"') == 50
    assert re.search(r'<dt>Stem width</dt><dd class="broken"><bdi>17.wrz&lt;b&gt;</bdi> <span class="tag warn">this is wrong', page)
    following = re.search(r'href="(/ui/runs/[^"]*after=\d+)"', page)
    assert following
    assert fine(client.get(following[1].replace("&amp;", "&"))).count('class="broken"') == 10
    assert client.get(f"/ui/runs/{run['run_id']}/rejected?after=x").status_code == 400
    file = re.search(r'href="(/ui/runs/[^"]*/rejected/file)"', page)
    assert file
    assert client.get(file[1]).text.count("17.wrz<b>") >= 60


def test_missing_values_stand_beside_those_of_the_run_before(filled: tuple[Client, Engine, str]) -> None:
    client, _, _ = filled
    page = fine(client.get("/ui/runs/20261101T000003Z-aaaa"))
    assert re.search(r'Ring type</th><td class="n">14.3 %</td><td class="n">14.3 %</td>', page)


def test_runs_are_filtered_and_paged(filled: tuple[Client, Engine, str]) -> None:
    client, engine, _ = filled
    page = fine(client.get("/ui/runs?status=failed"))
    assert "failed, exit code 4" in page
    assert page.count('<th scope="row">') == 1
    assert client.get("/ui/runs?status=odd").status_code == 400
    add_runs(engine, 60)
    older = re.search(r'href="(/ui/runs\?[^"]*before=[^"]*)"', client.get("/ui/runs?command=etl").text)
    assert older
    assert fine(client.get(older[1].replace("&amp;", "&"))).count('<th scope="row">') == 11


# --- settings, keys, audit -----------------------------------------------------------------------------------------------


def test_a_new_key_is_shown_once(started: Callable[..., Client]) -> None:
    client = until_ready(started())
    for wrong, field in (
        ({"name": "a b"}, "name"),
        ({"name": "shop"}, "roles"),
        ({"name": "shop", "expires_days": "soon"}, "expires_days"),
    ):
        roles = {} if field == "roles" else {"role-read": "yes"}
        refused = send(client, "/ui/keys", **wrong, **roles)
        assert refused.status_code == 422
        assert f"field &#39;{field}&#39;" in refused.text
        assert f'value="{wrong["name"]}"' in refused.text  # nothing typed is lost
    made = send(client, "/ui/keys", name="shop", expires_days="30", **{f"role-{role}": "yes" for role in ("read", "operate", "admin")})
    assert made.status_code == 201
    whole(made)
    assert made.headers["cache-control"] == "no-store"
    secret = re.findall(r"spk_[\w-]+", made.text)[0]
    session = log_in(client, secret)  # from now on a key is needed
    page = client.get("/ui/keys", headers=session)
    whole(page)
    assert secret not in page.text
    assert send(client, "/ui/keys/revoke", session, name="shop", typed="shpo").status_code == 422
    assert send(client, "/ui/keys/revoke", session, name="none", typed="none").status_code == 404
    assert send(client, "/ui/keys/revoke", session, name="shop", typed=" shop ").headers["location"] == "/ui/keys"
    assert client.get("/ui/keys", headers=session).status_code == 200  # without keys it is this machine's again
    trail = fine(client.get("/ui/audit?action=key"))
    assert trail.count("key.created") == 2  # one of them is the field's
    assert trail.count("key.revoked") == 1


def test_settings_say_who_says_so(client: Client) -> None:
    page = fine(client.get("/ui/settings"))
    for setting in client.get("/settings").json()["settings"]:
        assert f"<code>{setting['name']}</code>" in page


def test_what_is_looked_for_in_the_audit_trail_and_is_none(filled: tuple[Client, Engine, str]) -> None:
    client, _, _ = filled
    page = client.get("/ui/audit?since=yesterday&actor=<b>")
    assert page.status_code == 400
    whole(page)
    assert 'value="yesterday"' in page.text
    assert 'value="&lt;b&gt;"' in page.text
    assert "Nothing yet." in fine(client.get("/ui/audit?actor=nobody"))
