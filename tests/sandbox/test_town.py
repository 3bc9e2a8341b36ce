from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reactivation_sandbox.salon import Salon
from reactivation_sandbox.town import Town

NOW = datetime(2026, 11, 1, tzinfo=UTC)
TEXT = "Есть окошки: в среду, 4 ноября, в 18:30, в четверг в 12:00 и 7 ноября в 15:00."


def small(seed: int = 3) -> Town:
    return Town(seed=seed, now=NOW, salons=2, clients=50)


def write_to_all(town: Town) -> None:
    for salon in town.salons.values():
        for person in list(salon.people.values())[:30]:
            if person.chat:
                town.dialog.send(salon.session, person.chat, TEXT)


def overlaps(salon: Salon) -> list[tuple[int, int]]:
    found = []
    for taken in salon.busy.values():
        ordered = sorted(taken)
        found += [(a[2], b[2]) for a, b in pairwise(ordered) if b[0] < a[1]]
    return found


@settings(max_examples=8, deadline=None)
@given(hours=st.lists(st.integers(1, 90), min_size=1, max_size=12))
def test_the_steps_of_the_clock_do_not_change_what_happens(hours: list[int]) -> None:
    end = NOW + timedelta(days=14)
    whole, stepped = small(), small()
    write_to_all(whole)
    write_to_all(stepped)
    events = list(whole.advance(end))
    again = []
    for step in hours:
        again += stepped.advance(min(end, stepped.now + timedelta(hours=step)))
    again += stepped.advance(end)
    assert stepped.journal == whole.journal
    assert again == events
    assert events


def test_another_seed_is_another_town() -> None:
    assert small(3).journal == small(3).journal
    assert small(3).journal != small(4).journal


def test_the_clock_does_not_go_back() -> None:
    town = small()
    with pytest.raises(ValueError, match="does not go back"):
        list(town.advance(NOW - timedelta(seconds=1)))


def test_bookings_of_one_master_never_overlap_and_free_starts_touch_none() -> None:
    town = small()
    write_to_all(town)
    list(town.advance(NOW + timedelta(days=30)))
    for salon in town.salons.values():
        assert overlaps(salon) == []
        day = salon.local(town.now).date() + timedelta(days=2)
        for member in salon.staff.values():
            hours = member.working_hours(day)
            for start in salon.starts(member, day, 60, town.now):
                assert hours is not None
                assert hours[0] <= start <= hours[1] - 60
                assert all(start + 60 <= b or e <= start for b, e, _ in salon.busy.get((member.staff_id, day), []))


def test_past_and_too_near_times_are_not_offered() -> None:
    town = small()
    list(town.advance(NOW + timedelta(hours=11, minutes=10)))
    salon = town.salons[101]
    today = salon.local(town.now).date()
    starts = [start for member in salon.staff.values() for start in salon.starts(member, today, 60, town.now)]
    assert starts
    assert min(starts) > 15 * 60  # 14:10 in Moscow, and an hour ahead
    assert all(not salon.starts(m, today - timedelta(days=1), 60, town.now) for m in salon.staff.values())


def test_history_holds_regulars_lapsed_clients_and_clients_who_came_once() -> None:
    town = Town(seed=7, now=NOW, salons=1, clients=300)
    (salon,) = town.salons.values()
    people = list(salon.people.values())
    assert len(people) == 300
    assert 0.1 < sum(p.visits == 1 for p in people) / 300 < 0.4
    assert 0.3 < sum(p.visits >= 4 for p in people) / 300 < 0.8
    assert sum(p.lapsed for p in people) > 50
    assert sum(r.attendance == -1 for r in salon.records.values()) > 10
    assert sum(r.deleted for r in salon.records.values()) > 10
    assert any(len(r.lines) > 1 for r in salon.records.values())
    assert any(not r.main for r in salon.records.values())
    assert any(r.client_id is None for r in salon.records.values())
    assert all(r.attendance in {0, 2} for r in salon.records.values() if r.ends_at > NOW)
    phones = [p.phone for p in people]
    assert len(set(phones)) < 300
    assert any(p.chat is None for p in people)
    assert any(p.phone in {m.phone for m in salon.staff.values()} for p in people)
    assert any(p.mailing_refused for p in people)
    assert any(salon.upcoming(p.client_id, NOW) for p in people)


def test_a_message_brings_back_more_overdue_clients_than_come_by_themselves() -> None:
    shares = []
    for write in (False, True):
        town = Town(seed=7, now=NOW + timedelta(hours=8), salons=2, clients=300)
        due = [
            (salon, person, person.bookings)
            for salon in town.salons.values()
            for person in salon.people.values()
            if person.last_visit and person.chat and not salon.upcoming(person.client_id, town.now)
            and max(14, 1.5 * person.tastes.rhythm_days) < (town.now - person.last_visit).days < 365
        ]  # fmt: skip
        if write:
            for salon, person, _ in due:
                town.dialog.send(salon.session, person.chat or "", TEXT)
        list(town.advance(town.now + timedelta(days=7)))
        shares.append(sum(person.bookings > before for _, person, before in due) / len(due))
    alone, asked = shares
    assert 0.02 < alone < 0.12
    assert 0.14 < asked < 0.32
