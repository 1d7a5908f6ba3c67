"""Why results end, in ViDi's words and in those of rejection notes (IHE RAD, Imaging Object Change Management)."""

from __future__ import annotations

from vidi_gateway.objects import RejectionReason
from vidi_gateway.store.records import Retirement

#: What a rejection note that came in means for the films that it names.
RETIREMENTS = {
    RejectionReason.QUALITY: Retirement.QUALITY,
    RejectionReason.PATIENT_SAFETY: Retirement.SAFETY,
    RejectionReason.WORKLIST: Retirement.WORKLIST,
    RejectionReason.EXPIRED: Retirement.RETENTION,
}

#: What an archive hears of why our objects are current no more.
REASONS = {
    Retirement.REPLACED: RejectionReason.QUALITY,
    Retirement.AMENDED: RejectionReason.WORKLIST,
    Retirement.WITHDRAWN: RejectionReason.PATIENT_SAFETY,
    Retirement.QUALITY: RejectionReason.QUALITY,
    Retirement.SAFETY: RejectionReason.PATIENT_SAFETY,
    Retirement.WORKLIST: RejectionReason.WORKLIST,
    Retirement.RETENTION: RejectionReason.EXPIRED,
    Retirement.REFUSED: RejectionReason.QUALITY,
}
