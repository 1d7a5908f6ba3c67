"""How urgent a film is, from what a model said of it. A reason to look at it sooner, never one to look later.

Each thing that counts gives a share of 1; shares are combined as independent reasons are, 1 - (1 - a)(1 - b), so that
one more reason never makes a film less urgent. A score below the first band is 0: noise moves nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from vidi_gateway.objects.codes import printable
from vidi_gateway.outcome import FilmOutcome
from vidi_gateway.reading.weights import ReadingOrder

SEVERITY = "SEVERITY"
UNCERTAIN = "UNCERTAIN"
NEAR_TIE = "NEAR_TIE"
OUT_OF_POPULATION = "OUT_OF_POPULATION"
ADDITIVITY = "ADDITIVITY"
QUALITY = "QUALITY"


@dataclass(frozen=True)
class Reason:
    """Why a film is pulled forward. `code` is stable and upper case, `message` for people, without patient data."""

    code: str
    message: str


@dataclass(frozen=True)
class Urgency:
    """How far a film may be pulled forward.

    Attributes
    ----------
    score
        0..1; 0 says nothing about the film: it stays where it arrived.
    reasons
        What the score is made of; empty when it is 0.
    """

    score: float = 0.0
    reasons: tuple[Reason, ...] = ()

    def to_json(self) -> str:
        """Return the reasons as JSON for the journal; "" when there are none."""
        return json.dumps([vars(r) for r in self.reasons], sort_keys=True) if self.reasons else ""

    @classmethod
    def from_row(cls, score: float, reasons: str) -> Urgency:
        """Read what stands in the journal."""
        return cls(score, tuple(Reason(r["code"], r["message"]) for r in json.loads(reasons)) if reasons else ())


def urgency_of(outcome: FilmOutcome, order: ReadingOrder) -> Urgency:
    """Return how urgent a film is by one model's outcome.

    Parameters
    ----------
    outcome
        What the services said of the film.
    order
        The site's weights.

    Returns
    -------
    The same for the same outcome and weights, to the last bit.
    """
    parts = (*_severity(outcome, order), *_uncertainty(outcome, order), *_flags(outcome, order))
    remaining = 1.0
    for share, _ in parts:
        remaining *= 1.0 - share
    # Rounded: the score is shown, and what is shown should be what is sorted by.
    score = round(min(max(1.0 - remaining, 0.0), 1.0), 4)
    if order.band(score) == 0:
        return Urgency()
    return Urgency(score, tuple(reason for _, reason in parts))


def entropy(probabilities: Sequence[float]) -> float:
    """Return the entropy of probabilities relative to its maximum, 0 (certain) to 1 (all alike)."""
    total = sum(p for p in probabilities if p > 0.0)
    if len(probabilities) < 2 or total <= 0.0:
        return 0.0
    shares = [p / total for p in probabilities if p > 0.0]
    return min(1.0, max(0.0, -sum(p * math.log(p) for p in shares) / math.log(len(probabilities))))


def _severity(outcome: FilmOutcome, order: ReadingOrder) -> list[tuple[float, Reason]]:
    """Weight that is to be expected under the model's probabilities: a doubt between grades stays a grade."""
    weighted = [(c.probability * order.weight(c.name, c.code.scheme, c.code.value), c) for c in outcome.classes]
    share = min(1.0, max(0.0, math.fsum(w for w, _ in weighted)))
    # Less than a whole band is what a confident "none of these" amounts to.
    if share < order.bands[0]:
        return []
    heaviest = max(weighted, key=lambda pair: pair[0])[1]
    scale = "probability calibrated" if outcome.model.calibrated else "softmax output, not calibrated"
    message = (
        f"the model's classes weigh {share:.2f} of 1, most of all {printable(heaviest.name)!r} "
        f"at {heaviest.probability:.2f} ({scale})"
    )
    return [(share, Reason(SEVERITY, message))]


def _uncertainty(outcome: FilmOutcome, order: ReadingOrder) -> list[tuple[float, Reason]]:
    probabilities = [c.probability for c in outcome.classes]
    if len(probabilities) < 2 or order.uncertainty == 0.0:
        return []
    scale = "" if outcome.model.calibrated else ", by softmax outputs that are not calibrated"
    first, second = sorted(probabilities, reverse=True)[:2]
    spread = entropy(probabilities)
    if first - second < order.near_tie:
        message = f"the two highest classes are within {order.near_tie:g} of each other{scale}"
        return [(order.uncertainty, Reason(NEAR_TIE, message))]
    if spread >= order.uncertain_entropy:
        message = f"the prediction is uncertain: normalised entropy {spread:.2f} of 1{scale}"
        return [(order.uncertainty * spread, Reason(UNCERTAIN, message))]
    return []


def _flags(outcome: FilmOutcome, order: ReadingOrder) -> list[tuple[float, Reason]]:
    parts = []
    if outcome.out_of_population and order.out_of_population:
        message = "outside the model's intended use: what it said may not hold"
        parts.append((order.out_of_population, Reason(OUT_OF_POPULATION, message)))
    residual = max(c.additivity_residual for c in outcome.classes)
    if residual > order.max_residual and order.additivity:
        message = f"the explanation does not add up: additivity residual above {order.max_residual:g}"
        parts.append((order.additivity, Reason(ADDITIVITY, message)))
    codes = [n.code for n in outcome.notes if n.code in order.quality_notes]
    if codes and order.quality:
        message = f"the film may not have been seen as it should: {', '.join(dict.fromkeys(codes))}"
        parts.append((order.quality, Reason(QUALITY, message)))
    return parts
