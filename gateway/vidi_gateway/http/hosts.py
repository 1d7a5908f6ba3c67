"""Who may send films by HTTP, and who may operate the gateway: by address, since the page and the API know no users."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from fastapi import Request

from vidi import logs
from vidi.errors import ViDiError
from vidi_gateway.nodes import Hosts
from vidi_gateway.pipeline import metrics
from vidi_gateway.store.audit import Audit
from vidi_gateway.threads import Threads

log = logs.get("vidi.gateway.http")


class NotAdmitted(ViDiError):
    """The sender's address is not one that may do this."""

    reason = "PEER_UNKNOWN"


def sender(request: Request) -> str:
    """Return the address that a request came from; "" where the server does not say."""
    return request.client.host if request.client else ""


def only(entries: Sequence[str], what: str, audit: Audit, threads: Threads) -> Callable[[Request], Awaitable[None]]:
    """Return a dependency of routes that refuses all but some addresses, and says so in the audit trail.

    Parameters
    ----------
    entries
        Who is admitted: see `Hosts`.
    what
        Source prefix in the trail: "stow", "http".
    audit, threads
        Where refusals are noted.
    """
    hosts = Hosts(entries)

    async def check(request: Request) -> None:
        host = sender(request)
        if hosts.admits(host):
            return
        log.warning("request refused", peer=f"{what}:{host}", reason=NotAdmitted.reason)
        metrics.REQUESTS_REFUSED.labels(NotAdmitted.reason).inc()
        await threads.run(audit.note, "request refused", source=f"{what}:{host}", outcome=NotAdmitted.reason)
        raise NotAdmitted("this address is not admitted")

    return check
