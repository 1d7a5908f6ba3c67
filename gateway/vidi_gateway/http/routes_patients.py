"""REST: merges of patients."""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vidi.errors import FieldViolation, InvalidInput
from vidi_gateway.hl7 import Identifier, Patient, PatientMerge
from vidi_gateway.hl7.handler import Merges
from vidi_gateway.hl7.refusal import Reason

HL7 = "application/hl7-v2"
_MEDIA = (HL7, "application/json")
#: An identifier or issuer as DICOM has it (VR LO): no backslash, no control characters.
_LO = r"^[^\\\x00-\x1f\x7f]*[^\\\x00-\x20\x7f][^\\\x00-\x1f\x7f]*$"
#: Patient's Name (VR PN): three groups of 64 characters.
_PN = r"^[^\\\x00-\x1f\x7f]*$"


class PriorPatient(BaseModel):
    """The identifier that is no longer valid."""

    model_config = ConfigDict(extra="forbid")

    id: Annotated[str, Field(max_length=64, pattern=_LO)]
    issuer: Annotated[str, Field(max_length=64, pattern=rf"^$|{_LO}")] = ""


class SurvivingPatient(PriorPatient):
    """The patient whom the films belong to from now on; what is left out stays as the films have it."""

    name: Annotated[str, Field(max_length=194, pattern=_PN)] = ""
    birth_date: date | None = None
    sex: Literal["M", "F", "O", ""] = ""


class Merge(BaseModel):
    """Two identifiers turned out to be one patient. `message_id`: the same merge under the same id is obeyed once."""

    model_config = ConfigDict(extra="forbid")

    prior: PriorPatient
    surviving: SurvivingPatient
    message_id: Annotated[str, Field(pattern="^[A-Za-z0-9._:-]{1,100}$")] = ""


class Merged(BaseModel):
    """What came of it: how many films changed their patient. Their results are withdrawn and made anew."""

    message_id: str
    films: int


def router(merges: Merges, operators: Callable[..., Awaitable[None]]) -> APIRouter:
    """Return the routes; `operators` refuses everybody else."""
    api = APIRouter(prefix="/api/v1/patients", tags=["patients"], dependencies=[Depends(operators)])

    @api.post(
        "/merge",
        response_model=Merged,
        openapi_extra={"requestBody": {"required": True, "content": {"application/json": _JSON, HL7: _MESSAGE}}},
    )
    async def merge(request: Request) -> Merged | Response:
        """Merge patients: JSON, or an HL7 message ADT^A40 (application/hl7-v2).

        To an HL7 message the answer is its acknowledgment: 200 with AA; 400 with AE, or AR; 503 with AR when it may be
        sent again as it is.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in _MEDIA:
            raise InvalidInput(f"content type must be one of {', '.join(_MEDIA)}", field="content-type")
        data = await _body(request, merges.max_bytes)
        if kind == HL7:
            answer = await merges.message(data, "http")
            again = answer.refused is not None and answer.refused.reason is Reason.INTERNAL
            status = 503 if again else 400 if answer.refused else 200
            return Response(answer.acknowledgment, status, media_type=HL7)
        asked = _parsed(data)
        message_id = f"rest-{asked.message_id or uuid.uuid4().hex}"
        return Merged(message_id=message_id, films=await merges.merge(_merge(asked, message_id), "http"))

    return api


#: Written out: the body is read by hand, since it has two media types.
_JSON: dict[str, Any] = {
    "schema": {
        "type": "object",
        "required": ["prior", "surviving"],
        "properties": {
            "prior": PriorPatient.model_json_schema(),
            "surviving": SurvivingPatient.model_json_schema(),
            "message_id": Merge.model_json_schema()["properties"]["message_id"],
        },
    }
}
_MESSAGE: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}


def _parsed(data: bytes) -> Merge:
    try:
        return Merge.model_validate_json(data)
    except ValidationError as error:
        # Values are left out: they are a patient's.
        wrong = tuple(FieldViolation(".".join(map(str, e["loc"])) or "body", e["type"]) for e in error.errors())
        raise InvalidInput("the request does not fit the schema", violations=wrong) from None


def _merge(asked: Merge, message_id: str) -> PatientMerge:
    prior, surviving = asked.prior, asked.surviving
    old, new = (
        Identifier(prior.id.strip(), prior.issuer.strip()),
        Identifier(surviving.id.strip(), surviving.issuer.strip()),
    )
    if old == new:
        raise InvalidInput("the prior identifier is the surviving one", field="surviving")
    birth_date = surviving.birth_date.strftime("%Y%m%d") if surviving.birth_date else ""
    return PatientMerge(old, Patient(new, surviving.name.strip(), birth_date, surviving.sex), message_id, time.time())


async def _body(request: Request, limit: int) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise InvalidInput(f"the body is longer than {limit} bytes", field="body", reason="TOO_LARGE")
        parts.append(part)
    return b"".join(parts)
