"""safety.md: ViDi never moves a film later than its arrival order; it only pulls films forward."""

from __future__ import annotations

import random
from dataclasses import dataclass

from hypothesis import given
from hypothesis import settings as bounds
from hypothesis import strategies as st

from vidi_gateway.reading import ReadingOrder, by_arrival, by_urgency, place

NOW = 1_000_000.0


@dataclass(frozen=True)
class Film:
    key: str
    arrived: float
    score: float


scores = st.one_of(st.just(0.0), st.floats(0.0, 1.0))
films = st.lists(st.tuples(st.integers(0, 500), scores), max_size=40).map(
    lambda drawn: [Film(f"f{i:03}", NOW - minutes * 60.0, score) for i, (minutes, score) in enumerate(drawn)]
)
orders = st.builds(
    ReadingOrder,
    max_overtaking_minutes=st.sampled_from([0.0, 30.0, 240.0, 10_000.0]),
    bands=st.sampled_from([(0.25, 0.5, 0.75), (0.5,), (0.1, 0.2)]),
)


@bounds(deadline=None, max_examples=300)
@given(films=films, order=orders)
def test_a_film_stands_behind_a_later_one_only_if_that_is_in_a_higher_band(
    films: list[Film], order: ReadingOrder
) -> None:
    listed = by_urgency(films, order, NOW)
    arrival = {film.key: position for position, film in enumerate(by_arrival(films))}
    assert sorted(f.key for f in listed) == sorted(f.key for f in films)
    for position, film in enumerate(listed):
        for ahead in listed[:position]:
            if arrival[ahead.key] < arrival[film.key]:
                continue
            assert order.band(ahead.score) > order.band(film.score)
            assert NOW - film.arrived <= order.max_overtaking_minutes * 60.0


@bounds(deadline=None)
@given(films=films, order=orders)
def test_without_urgency_the_order_is_that_of_arrival(films: list[Film], order: ReadingOrder) -> None:
    plain = [Film(f.key, f.arrived, 0.0) for f in films]
    assert by_urgency(plain, order, NOW) == by_arrival(plain)
    # Refused, failed, pending and "normal" films all have score 0: no film moves against another one of them.
    silent = [f for f in by_urgency(films, order, NOW) if order.band(f.score) == 0]
    assert silent == by_arrival(silent)


@bounds(deadline=None)
@given(films=films, order=orders, seed=st.integers(0, 10))
def test_the_order_is_the_same_however_the_films_were_found(films: list[Film], order: ReadingOrder, seed: int) -> None:
    shuffled = random.Random(seed).sample(films, len(films))
    assert by_urgency(shuffled, order, NOW) == by_urgency(films, order, NOW)
    # And of any selection, such as what has not been read yet.
    some = [f for f in films if int(f.key[1:]) % 2]
    assert by_urgency(some, order, NOW) == [f for f in by_urgency(films, order, NOW) if f in some]


@bounds(deadline=None)
@given(films=films, order=orders, index=st.integers(0, 39), raised=st.floats(0.0, 1.0))
def test_more_urgency_never_moves_a_film_back(
    films: list[Film], order: ReadingOrder, index: int, raised: float
) -> None:
    if not films:
        return
    chosen = films[index % len(films)]
    more = Film(chosen.key, chosen.arrived, max(chosen.score, raised))
    before = [f.key for f in by_urgency(films, order, NOW)].index(chosen.key)
    after = [f.key for f in by_urgency([more if f is chosen else f for f in films], order, NOW)].index(chosen.key)
    assert after <= before


def test_an_urgent_film_overtakes_and_a_film_that_waited_long_is_not_overtaken() -> None:
    order = ReadingOrder(max_overtaking_minutes=60)
    old, recent, urgent = Film("old", NOW - 3601, 0.0), Film("recent", NOW - 3599, 0.0), Film("urgent", NOW, 0.9)
    assert by_urgency([recent, old, urgent], order, NOW) == [old, urgent, recent]
    # Two seconds later the other one has waited long enough too.
    assert by_urgency([recent, old, urgent], order, NOW + 2) == [old, recent, urgent]


def test_small_differences_move_nothing() -> None:
    order = ReadingOrder()
    first, second = Film("a", NOW - 2, 0.51), Film("b", NOW - 1, 0.74)
    assert by_urgency([second, first], order, NOW) == [first, second]
    assert place(first, order, NOW) < place(second, order, NOW)
