"""API keys: shown once, kept as a hash, of one company or an admin's."""

import pytest
from sqlalchemy import text

from reactivation_resources import api_keys


def test_a_key_is_resolved_to_its_company_and_its_secret_is_nowhere_in_the_database(platform):
    key = api_keys.create(platform.database, "  the salon's site ", 101)
    view = api_keys.resolve(platform.database, key)
    assert (view.company_id, view.name, view.revoked_at) == (101, "the salon's site", None)
    with platform.database.begin() as connection:
        [row] = connection.execute(text("SELECT api_keys::text AS stored FROM api_keys"))
    assert key not in row.stored
    assert key.removeprefix("rk_") not in row.stored


def test_no_two_keys_are_alike_and_each_holds_256_random_bits(platform):
    keys = {api_keys.create(platform.database, "key", None) for _ in range(20)}
    assert len(keys) == 20
    assert all(len(key.removeprefix("rk_")) == 43 for key in keys)


def test_a_company_key_may_see_its_company_only_an_admin_all(platform):
    salon = api_keys.resolve(platform.database, api_keys.create(platform.database, "salon", 101))
    admin = api_keys.resolve(platform.database, api_keys.create(platform.database, "admin", None))
    assert [salon.may_see(101), salon.may_see(202)] == [True, False]
    assert [admin.may_see(101), admin.may_see(202)] == [True, True]


def test_what_is_no_key_resolves_to_nothing(platform):
    key = api_keys.create(platform.database, "key", None)
    for presented in ("", " ", key[:-1], key + " ", key.upper(), "\x00", "\udcff", "я" * 10_000, "' OR 1=1 --"):
        assert api_keys.resolve(platform.database, presented) is None


def test_a_key_is_revoked_once_and_stays_in_the_list(platform):
    key = api_keys.create(platform.database, "old", None)
    [view] = api_keys.list_keys(platform.database)
    assert api_keys.revoke(platform.database, view.key_id)
    assert not api_keys.revoke(platform.database, view.key_id)
    assert not api_keys.revoke(platform.database, 10**9)
    assert api_keys.resolve(platform.database, key) is None
    [kept] = api_keys.list_keys(platform.database)
    assert kept.revoked_at is not None


@pytest.mark.parametrize("name", ["", "   ", "x" * 101, "two\nlines"])
def test_a_key_without_a_usable_name_is_refused(platform, name):
    with pytest.raises(ValueError, match="name"):
        api_keys.create(platform.database, name, None)


def test_a_key_for_a_company_that_is_not_known_is_refused_by_its_id(platform):
    with pytest.raises(ValueError, match="999"):
        api_keys.create(platform.database, "key", 999)
