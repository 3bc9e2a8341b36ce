"""What a salon sees of its inbox, and that it sees nobody else's."""

from datetime import datetime

import pytest
from sqlalchemy import text

from reactivation_resources import api_keys
from tests.api.salons import CLIENT_PHONE, OTHER_SALON, SALON, message

INBOX = f"/api/reactivation/inbox/{SALON}"


def test_a_salon_sees_its_messages_newest_first_with_phone_and_text_and_without_the_payload(api, salon_key):
    api.deliver(message("Первое"))
    api.deliver(message("Второе"))
    data = api.get(INBOX, salon_key).json()["data"]
    assert [row["body"] for row in data["items"]] == ["Второе", "Первое"]
    assert data["pagination"] == {"total": 2, "page": 1, "limit": 20, "pages": 1}
    row = data["items"][0]
    assert set(row) == {
        "inbox_id", "channel", "kind", "client_phone", "message_id", "quoted_message_id", "body", "occurred_at", "received_at",
        "processed_at", "error",
    }  # fmt: skip
    assert (row["kind"], row["client_phone"], row["error"]) == ("message", CLIENT_PHONE, None)
    assert datetime.fromisoformat(row["received_at"]).utcoffset() is not None


def test_pages_cover_everything_once(api, salon_key):
    api.deliver([message(str(n)) for n in range(7)])
    seen, lengths = [], []
    for page in (1, 2, 3, 4):
        data = api.get(INBOX, salon_key, params={"page": page, "limit": 3}).json()["data"]
        assert data["pagination"] == {"total": 7, "page": page, "limit": 3, "pages": 3}
        lengths.append(len(data["items"]))
        seen += [row["inbox_id"] for row in data["items"]]
    assert lengths == [3, 3, 1, 0]
    assert seen == sorted(set(seen), reverse=True)
    assert len(seen) == 7


def test_an_empty_inbox_has_no_pages(api, salon_key):
    data = api.get(INBOX, salon_key).json()["data"]
    assert data == {"items": [], "pagination": {"total": 0, "page": 1, "limit": 20, "pages": 0}}


def test_the_list_can_be_narrowed_to_a_kind_and_to_what_waits(api, salon_key):
    session = {"id": "e1", "event": "session.status", "session": f"salon-{SALON}", "payload": {"status": "WORKING"}}
    api.deliver([message("Да"), message("Вечером"), session])
    with api.platform.database.begin() as connection:
        connection.execute(text("UPDATE inbox SET processed_at = received_at WHERE body = 'Да'"))
    bodies = lambda **query: {row["body"] for row in api.get(INBOX, salon_key, params=query).json()["data"]["items"]}  # noqa: E731
    assert bodies() == {"Да", "Вечером", "WORKING"}
    assert bodies(kind="session") == {"WORKING"}
    assert bodies(kind="message") == {"Да", "Вечером"}
    assert bodies(unprocessed="true") == {"Вечером"}
    assert bodies(kind="ack") == set()


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"limit": "0"}, "query.limit"),
        ({"limit": "101"}, "query.limit"),
        ({"page": "0"}, "query.page"),
        ({"page": "9" * 30}, "query.page"),
        ({"page": "+79000000001"}, "query.page"),
        ({"kind": "Анна"}, "query.kind"),
        ({"unprocessed": "perhaps"}, "query.unprocessed"),
    ],
)
def test_a_wrong_value_is_named_and_not_repeated(api, salon_key, query, named):
    answer = api.get(INBOX, salon_key, params=query)
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert (error["code"], list(error["details"])) == ("validation_failed", [named])
    assert not any(value in answer.text for value in query.values() if len(value) > 3)


@pytest.mark.parametrize("company", ["0", "-1", str(2**63), "abc", "1.5"])
def test_an_id_that_cannot_be_one_is_a_validation_error(api, admin_key, company):
    answer = api.get(f"/api/reactivation/inbox/{company}", admin_key)
    assert (answer.status_code, list(answer.json()["error"]["details"])) == (422, ["path.company_id"])


def test_a_salon_gets_the_same_404_for_another_salon_and_for_none(api, salon_key):
    api.deliver(message("Тайна", salon=OTHER_SALON))
    foreign = api.get(f"/api/reactivation/inbox/{OTHER_SALON}", salon_key)
    nobody = api.get("/api/reactivation/inbox/999", salon_key)
    assert foreign.status_code == nobody.status_code == 404
    assert foreign.json() == nobody.json()
    assert api.get(INBOX, salon_key).json()["data"]["items"] == []


def test_an_admin_sees_every_salon_that_exists(api, admin_key):
    api.deliver(message("Привет", salon=OTHER_SALON))
    assert api.get(INBOX, admin_key).json()["data"]["pagination"]["total"] == 0
    assert api.get(f"/api/reactivation/inbox/{OTHER_SALON}", admin_key).json()["data"]["pagination"]["total"] == 1
    assert api.get("/api/reactivation/inbox/999", admin_key).status_code == 404


def test_events_of_unknown_sessions_belong_to_no_salon(api, salon_key):
    api.deliver(message("Кому это?", salon=303))
    assert len(api.rows("SELECT 1 FROM inbox WHERE company_id IS NULL")) == 1
    assert api.get(INBOX, salon_key).json()["data"]["items"] == []


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer wrong", "Basic {key}", "{key}", "Bearer {key}x", "Bearer \xff\xfe"],
)
def test_without_a_valid_key_there_is_401_whatever_the_rest_of_the_request(api, salon_key, header):
    headers = {} if header is None else {"Authorization": header.format(key=salon_key).encode("latin-1")}
    for path in (
        INBOX,
        "/api/reactivation/inbox/999",
        "/api/reactivation/inbox/abc?limit=0",
        "/api/reactivation/openapi.json",
    ):
        answer = api.checked(api.http.get(path, headers=headers))
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"


def test_a_revoked_key_opens_nothing_at_once_and_others_stay(api, salon_key, admin_key):
    [mine] = [key for key in api_keys.list_keys(api.platform.database) if key.company_id == SALON]
    assert api.get(INBOX, salon_key).status_code == 200
    assert api_keys.revoke(api.platform.database, mine.key_id)
    assert api.get(INBOX, salon_key).status_code == 401
    assert api.get(INBOX, admin_key).status_code == 200
