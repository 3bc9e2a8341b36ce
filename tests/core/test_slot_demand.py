"""Which questions about free times are asked, and which are saved."""

from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reactivation_core.slot_round import QUESTION, Known
from tests.core.salon_week import ANNA, CUT, DYE, OLGA, TODAY, VERA, SalonWeek, Taste, salon_weeks

ALL_DAY = (10, 12, 14, 16, 18)
ALWAYS = dict.fromkeys(range(1, 8), ALL_DAY)


def ask_on(week: SalonWeek, **options):
    """Play the rounds to their end: the questions of each round as (service, staff, days ahead or None), and what is known then."""
    demand, known, rounds = week.demand(**options), Known.nothing(), []
    while not (questions := demand.next_questions(known)).is_empty():
        rounds.append(
            [(row[1], row[2], None if row[3] is None else (row[3] - TODAY).days) for row in questions.iter_rows()]
        )
        known = week.told(known, questions, demand)
    return rounds, known, demand


def asked(rounds):
    return [question for one in rounds for question in one]


def test_the_favourite_is_asked_first_and_nobody_else_where_the_favourite_has_time_enough():
    week = SalonWeek([(1, CUT, Taste(ANNA, 0.9))], {(1, CUT, ANNA): ALWAYS, (1, CUT, OLGA): ALWAYS})
    rounds, _, _ = ask_on(week)
    assert rounds[0] == [(CUT, ANNA, None)]
    assert {staff for _, staff, _ in asked(rounds)} == {ANNA}


def test_favourite_weekdays_are_asked_before_others_and_others_not_at_all_where_the_wish_is_firm():
    likes = Taste(ANNA, 0.9, weekdays=(4, 5), weekdays_sure=0.8)
    rounds, _, _ = ask_on(SalonWeek([(1, CUT, likes)], {(1, CUT, ANNA): ALWAYS, (1, CUT, OLGA): ALWAYS}))
    assert rounds == [[(CUT, ANNA, 3), (CUT, ANNA, 4)]]  # Thursday and Friday


def test_a_loose_wish_for_a_weekday_is_asked_first_and_what_scores_less_is_saved():
    likes = Taste(ANNA, 0.9, weekdays=(1, 7), weekdays_sure=0.4)
    week = SalonWeek([(1, CUT, likes)], {(1, CUT, ANNA): ALWAYS, (1, CUT, OLGA): ALWAYS})
    rounds, _, _ = ask_on(week, max_slots=1, spares=0)
    assert rounds == [
        [(CUT, ANNA, None)],
        [(CUT, ANNA, 2)],
    ]  # on Wednesday, because it is soon: 10 points against 8 and 6


def test_weekdays_nobody_has_time_on_are_given_up_once_everybody_was_asked():
    likes = Taste(ANNA, 0.9, weekdays=(4,), weekdays_sure=0.8)
    week = SalonWeek([(1, CUT, likes)], {(1, CUT, ANNA): {1: ALL_DAY, 2: ALL_DAY}, (1, CUT, OLGA): {1: ALL_DAY}})
    rounds, known, demand = ask_on(week)
    assert rounds[:2] == [[(CUT, ANNA, 3)], [(CUT, OLGA, 3)]]
    assert demand.rank(known.slots).equals(week.full_fetch())


def test_a_familiar_face_is_asked_before_a_stranger():
    likes = Taste(ANNA, 0.9, alternatives=(VERA,))
    week = SalonWeek([(1, CUT, likes)], {(1, CUT, ANNA): {}, (1, CUT, OLGA): ALWAYS, (1, CUT, VERA): ALWAYS})
    rounds, _, _ = ask_on(week)
    assert {staff for _, staff, _ in asked(rounds)} == {ANNA, VERA}


def test_clients_without_preferences_live_on_what_was_asked_for_others():
    crowd = [(1, CUT, Taste(ANNA, 0.9)), *[(1, CUT, Taste())] * 4]
    week = SalonWeek(crowd, {(1, CUT, ANNA): ALWAYS, (1, CUT, OLGA): ALWAYS})
    rounds, known, demand = ask_on(week)
    assert {staff for _, staff, _ in asked(rounds)} == {ANNA}
    assert demand.rank(known.slots).group_by("client_id").len()["len"].to_list() == [5] * 5


def test_days_that_are_not_bookable_are_not_asked_one_by_one():
    week = SalonWeek([(1, CUT, Taste(ANNA, 0.9))], {(1, CUT, ANNA): {3: ALL_DAY}})
    rounds, _, _ = ask_on(week)
    assert rounds == [[(CUT, ANNA, None)], [(CUT, ANNA, 3)]]


def test_asking_for_days_goes_on_only_while_it_saves_calls():
    staff = range(20, 30)
    open_house = SalonWeek(
        [(1, CUT, Taste())] * 60, {(1, CUT, one): dict.fromkeys(range(1, 8), (10,)) for one in staff}
    )
    rounds, _, demand = ask_on(open_house)
    assert sum(days is None for _, _, days in asked(rounds)) == 1
    assert len(asked(rounds)) <= demand.questions.height + 1
    weekend = SalonWeek([(1, CUT, Taste())] * 60, {(1, CUT, one): {5: (10,), 6: (10,)} for one in staff})
    rounds, _, demand = ask_on(weekend)
    assert len(asked(rounds)) == 10 + 2 * 10
    assert sum(days is None for _, _, days in asked(rounds)) == 10


def test_the_hands_of_another_service_are_another_question():
    week = SalonWeek(
        [(1, CUT, Taste()), (1, DYE, Taste())], {(1, CUT, ANNA): {1: ALL_DAY}, (1, DYE, ANNA): {2: ALL_DAY}}
    )
    rounds, _, _ = ask_on(week)
    assert {service for service, _, _ in asked(rounds)} == {CUT, DYE}


def test_someone_short_makes_those_who_hold_his_slot_look_elsewhere():
    """Olga has one time; two clients took it who would do as well with Anna, and the third has nobody else."""
    free = {(1, CUT, OLGA): {4: (12,)}, (1, DYE, OLGA): {4: (12,)}, (1, DYE, ANNA): {4: (10,)}}
    friday = {"weekdays": (5,), "weekdays_sure": 0.9}
    clients = [(1, DYE, Taste(**friday, staff=OLGA, share=0.0))] * 2 + [(1, CUT, Taste(**friday))]
    week = SalonWeek(clients, free)
    rounds, known, demand = ask_on(week, max_slots=1, spares=0)
    assert rounds == [[(CUT, OLGA, 4), (DYE, OLGA, 4)], [(CUT, OLGA, None)], [(DYE, ANNA, 4)]]
    assert demand.rank(known.slots).height == 3


def test_a_slot_shorter_than_the_service_leaves_its_client_wanting():
    week = SalonWeek([(1, CUT, Taste())], {(1, CUT, ANNA): ALWAYS, (1, CUT, OLGA): ALWAYS}, needed_s=7200)
    rounds, known, demand = ask_on(week)
    assert demand.rank(known.slots).is_empty()
    assert {staff for _, staff, _ in asked(rounds)} == {ANNA, OLGA}


@pytest.mark.parametrize("max_slots", [0, 1, 5])
def test_a_salon_that_offers_fewer_slots_asks_for_fewer_days(max_slots):
    week = SalonWeek([(1, CUT, Taste())], {(1, CUT, ANNA): ALWAYS})
    rounds, known, demand = ask_on(week, max_slots=max_slots, spares=0)
    days = [question for question in asked(rounds) if question[2] is not None]
    assert demand.rank(known.slots).height == max_slots
    assert len(days) == max_slots


def test_the_days_of_a_company_are_its_own():
    week = SalonWeek([(2, CUT, Taste())], {(2, CUT, ANNA): ALWAYS})
    assert week.demand().questions["day"].to_list() == [date(2026, 11, 23) + timedelta(days=n) for n in range(1, 8)]


def test_without_clients_nothing_is_asked():
    week = SalonWeek([], {(1, CUT, ANNA): ALWAYS})
    assert week.demand().next_questions(Known.nothing()).schema == Known.nothing().asked.schema
    assert ask_on(week)[0] == []


@settings(max_examples=60)
@given(salon_weeks(companies=[1]), st.randoms(use_true_random=False))
def test_the_order_of_what_is_known_changes_no_question(week, random):
    demand, known = week.demand(), Known.nothing()
    for _ in range(3):
        questions = demand.next_questions(known)
        known = week.told(known, questions, demand)
    seed = random.randrange(1000)
    shuffled = Known(
        known.asked.sample(fraction=1, shuffle=True, seed=seed),
        known.closed.sample(fraction=1, shuffle=True, seed=seed),
        known.slots.sample(fraction=1, shuffle=True, seed=seed),
    )
    assert demand.next_questions(shuffled).select(QUESTION).equals(demand.next_questions(known).select(QUESTION))
    assert isinstance(demand.next_questions(known), pl.DataFrame)
