"""C-STORE responses are, byte for byte, what pynetdicom makes of them."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.uid import UID
from pynetdicom.dimse_messages import C_STORE_RSP
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode

from vidi_gateway.dimse.reactor import store_response


def response(**changes: Any) -> Any:
    primitive: Any = C_STORE()
    values: dict[str, Any] = {"MessageID": 7, "MessageIDBeingRespondedTo": 7, "Status": 0}
    values |= {"AffectedSOPClassUID": UID("1.2.840.10008.5.1.4.1.1.1.1"), "AffectedSOPInstanceUID": UID("1.2.3.4")}
    for name, value in (values | changes).items():
        setattr(primitive, name, value)
    return primitive


@pytest.mark.parametrize("status", [0x0000, 0x0110, 0xA700, 0xC000])
@pytest.mark.parametrize("uid", ["1.2.3", "1.2.34", "2.25.303917285728482648264827463820"])
@pytest.mark.parametrize("number", [0, 1, 65535])
def test_the_same_bytes(status: int, uid: str, number: int) -> None:
    primitive = response(Status=status, AffectedSOPInstanceUID=UID(uid), MessageIDBeingRespondedTo=number)
    message = C_STORE_RSP()
    message.primitive_to_message(primitive)
    assert store_response(primitive) == encode(message.command_set, True, True)


@pytest.mark.parametrize(
    "changes",
    [
        {"ErrorComment": "no"},
        {"OffendingElement": [0x00080018]},
        {"MessageIDBeingRespondedTo": None},
        {"AffectedSOPInstanceUID": None},
    ],
)
def test_what_is_left_to_pynetdicom(changes: dict[str, Any]) -> None:
    assert store_response(response(**changes)) is None
