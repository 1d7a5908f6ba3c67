"""Which SOP classes and transfer syntaxes the storage SCP takes.

Every storage class is accepted: what is out of scope is acknowledged and refused with a coded reason, since a rejected
presentation context makes a PACS try for ever. Deflated syntaxes are not: a small object may inflate without bound.
"""

from __future__ import annotations

from pydicom import uid
from pynetdicom import AllStoragePresentationContexts
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from vidi_gateway.dimse.association import NATIVE
from vidi_gateway.dimse.commitment import STORAGE_COMMITMENT

#: Native syntaxes first: of several offered ones the SCP takes the first of its own list.
TRANSFER_SYNTAXES: tuple[str, ...] = (
    uid.ExplicitVRLittleEndian,
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.RLELossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLossless,
    uid.JPEGLSLossless,
    uid.JPEG2000Lossless,
    uid.HTJ2KLossless,
    uid.HTJ2KLosslessRPCL,
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
    uid.JPEGLSNearLossless,
    uid.JPEG2000,
    uid.HTJ2K,
)


def commitment() -> PresentationContext:
    """Return the context in which nodes report on our requests for Storage Commitment.

    The node that reports opens the association and says that it is the provider (PS3.7 annex D.3.3.4); some forget to.
    """
    context = build_context(STORAGE_COMMITMENT, list(NATIVE))
    context.scu_role = context.scp_role = True
    return context


def accepted() -> list[PresentationContext]:
    """Return the SCP's presentation contexts."""
    storage = [build_context(str(c.abstract_syntax), list(TRANSFER_SYNTAXES)) for c in AllStoragePresentationContexts]
    return [build_context(Verification), *storage]
