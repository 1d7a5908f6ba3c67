"""Withdrawals: of films, of a model's results, and what a model has touched. For operators; every one is audited."""

from __future__ import annotations

from collections.abc import Sequence

from vidi.errors import InvalidInput, NotFound, PreconditionFailed
from vidi_gateway.pipeline.changes import Changes
from vidi_gateway.store.audit import Audit
from vidi_gateway.store.journal import Journal
from vidi_gateway.store.lifecycle import Impact, Lifecycle
from vidi_gateway.store.records import Retirement
from vidi_gateway.threads import Threads

#: Why an operator may withdraw.
REASONS = {
    "withdrawn": Retirement.WITHDRAWN,
    "quality": Retirement.QUALITY,
    "safety": Retirement.SAFETY,
    "worklist": Retirement.WORKLIST,
    "retention": Retirement.RETENTION,
}


class Withdrawals:
    """Withdraws, and says what a model has touched.

    Parameters
    ----------
    journal, lifecycle, audit
        Where films stand, end, and where it is written down.
    changes
        Tells watchers and the publisher.
    threads
        For blocking work.
    """

    def __init__(
        self, journal: Journal, lifecycle: Lifecycle, audit: Audit, changes: Changes, threads: Threads
    ) -> None:
        self._journal = journal
        self._lifecycle = lifecycle
        self._audit = audit
        self._changes = changes
        self._threads = threads

    async def withdraw(self, film_ids: Sequence[str], reason: str, actor: str) -> int:
        """Withdraw films with all their results; archives that have results hear of it.

        Parameters
        ----------
        film_ids
            The films.
        reason
            A key of `REASONS`.
        actor
            Who asks, for the audit trail.

        Returns
        -------
        How many were withdrawn; those that were withdrawn already do not count.

        Raises
        ------
        InvalidInput
            No film, or an unknown reason.
        NotFound
            A film is not in the journal: then none is withdrawn.
        """
        retirement = _retirement(reason)
        if not film_ids:
            raise InvalidInput("name at least one film", field="film_ids")
        known = await self._threads.run(self._journal.records, film_ids)
        for film_id in film_ids:
            if film_id not in known:
                raise NotFound("film", film_id)
        count = await self._threads.run(self._lifecycle.withdraw, film_ids, retirement)
        for film_id in dict.fromkeys(film_ids):
            await self._note("withdrawn", film_id, retirement.value.upper(), actor)
        self._changes.notify()
        return count

    async def impact(self, model: str, digest: str = "", since: float = 0.0, until: float = 0.0) -> tuple[Impact, ...]:
        """Return what a model has touched: results made between two moments (seconds since the epoch; 0: open).

        Raises
        ------
        InvalidInput
            The moments are in the wrong order.
        """
        if until and until <= since:
            raise InvalidInput("the end of the span is not after its beginning", field="until")
        return tuple(await self._threads.run(self._lifecycle.impact, model, digest, since, until))

    async def withdraw_impact(
        self, model: str, digest: str, since: float, until: float, *, reason: str, expected: int, actor: str
    ) -> int:
        """Withdraw all results that `impact` lists; the films may be analysed again, by another model.

        Parameters
        ----------
        model, digest, since, until
            As `impact`.
        reason
            A key of `REASONS`.
        expected
            How many films the caller means: what was not looked at is not withdrawn.
        actor
            Who asks.

        Raises
        ------
        PreconditionFailed
            IMPACT_CHANGED: there are more or fewer by now.
        """
        retirement = _retirement(reason)
        touched = await self.impact(model, digest, since, until)
        if len(touched) != expected:
            message = f"{len(touched)} results are concerned, not {expected}: look at the list again"
            raise PreconditionFailed(message, reason="IMPACT_CHANGED")
        ids = [t.film_id for t in touched]
        count = await self._threads.run(self._lifecycle.withdraw, ids, retirement, model)
        for film_id in ids:
            await self._note("results withdrawn", film_id, retirement.value.upper(), actor)
        self._changes.notify()
        return count

    async def _note(self, event: str, film_id: str, outcome: str, actor: str) -> None:
        await self._threads.run(self._audit.note, event, film_id=film_id, source=actor, outcome=outcome)


def _retirement(reason: str) -> Retirement:
    if reason not in REASONS:
        raise InvalidInput(f"reason must be one of {', '.join(REASONS)}", field="reason")
    return REASONS[reason]
