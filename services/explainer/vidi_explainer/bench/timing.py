"""Interleaved timing: in every round all contenders explain the same film, one after the other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from vidi.imaging.preprocess import Grid
from vidi_explainer.bench.contenders import Contender, Explained
from vidi_explainer.bench.progress import shown


@dataclass
class Rounds:
    """What was measured.

    Attributes
    ----------
    seconds
        By name, one figure a round.
    explained
        By contender, one film a round.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict)
    explained: dict[str, list[Explained]] = field(default_factory=dict)

    def median(self, name: str) -> float:
        """Return the median time in seconds."""
        return statistics.median(self.seconds[name])

    def ratio(self, slow: str, quick: str) -> float:
        """Return the median of the rounds' ratios: what slows a whole round down falls out of it."""
        pairs = zip(self.seconds[slow], self.seconds[quick], strict=True)
        return statistics.median(a / b for a, b in pairs)


def measure(
    contenders: Mapping[str, Contender],
    beside: Mapping[str, Callable[[], None]],
    films: Sequence[Grid],
    warm_up: Grid,
) -> Rounds:
    """Time contenders on films, a film a round.

    Parameters
    ----------
    contenders
        By name, in the order of their turns; every other round goes backwards, so that nobody always follows the same.
    beside
        What else is timed in each round: it takes no film.
    films
        One a round.
    warm_up
        Another film, explained by everybody before the first round.
    """
    rounds = Rounds()
    for film in shown([warm_up, *films], "rounds of explanations"):
        counts = film is not warm_up
        turns: list[str] = [*contenders, *beside]
        for name in turns if len(rounds.seconds.get(turns[0], ())) % 2 == 0 else reversed(turns):
            contender = contenders.get(name)
            started = time.perf_counter()
            result = beside[name]() if contender is None else contender.run(film)
            seconds = time.perf_counter() - started
            if not counts:
                continue
            rounds.seconds.setdefault(name, []).append(seconds)
            if contender is not None:
                rounds.explained.setdefault(name, []).append(contender.read(film, result))
    return rounds
