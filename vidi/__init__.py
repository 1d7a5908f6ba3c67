"""ViDi: chest films classified, explained and clustered beside a PACS. The radiologist decides."""

from __future__ import annotations

__version__ = "0.1.0"
