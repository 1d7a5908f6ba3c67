"""Names of sources that do not grow with what strangers send: only names from the settings are labels of metrics."""

from __future__ import annotations

from vidi_gateway.nodes import Hosts
from vidi_gateway.settings import GatewaySettings

OTHER = "other"
#: Programs that call us; they need no name.
_PLAIN = ("api", "grpc", "http")


class SourceNames:
    """Turns a source as the journal has it into one of a few names.

    A modality is known by its own name where `allowed_peers` names it; those that "*@10.0.0.5" admits share one.

    Parameters
    ----------
    settings
        Whom the site knows.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        # The most specific entry that admits a peer names it.
        self._peers = sorted(settings.allowed_peers, key=lambda p: (p.ae_title == "*") + 2 * (p.host == "*"))
        self._hosts = sorted(settings.stow_peers, key=lambda entry: entry == "*")
        self._archives = {archive.name for archive in settings.archives}

    def name(self, source: str) -> str:
        """Return the name of a source such as "dimse:MODALITY1@10.0.0.5"."""
        kind, _, rest = source.partition(":")
        if kind == "dimse" or source.startswith("@"):  # a rejected association has no name that could be trusted
            title, _, host = source.removeprefix("dimse:").rpartition("@")
            known = next((p for p in self._peers if p.admits(title, host)), None)
            return f"dimse:{known.ae_title}@{known.host}" if known else f"dimse:{OTHER}"
        if kind in ("stow", "http") and rest:
            return f"{kind}:{next((entry for entry in self._hosts if Hosts([entry]).admits(rest)), OTHER)}"
        if kind == "pull":
            return f"pull:{rest if rest in self._archives else OTHER}"
        return source if source in _PLAIN else OTHER

    def is_steady(self, name: str) -> bool:
        """Whether films are expected from a source all day: archives and programs send when they are asked to."""
        return name.startswith(("dimse:", "stow:"))
