"""The order in which films are best read: a film may be pulled forward, and none is ever put back."""

from vidi_gateway.reading.order import Place, by_arrival, by_urgency, place
from vidi_gateway.reading.urgency import Reason, Urgency, urgency_of
from vidi_gateway.reading.weights import ReadingOrder

__all__ = ["Place", "ReadingOrder", "Reason", "Urgency", "by_arrival", "by_urgency", "place", "urgency_of"]
