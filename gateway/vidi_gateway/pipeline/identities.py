"""The identity that a film is filed under after patients were merged: kept as a file, laid over the film's header."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydicom import Dataset

from vidi_gateway.objects import source
from vidi_gateway.objects.common import put_verbatim
from vidi_gateway.store.files import Store
from vidi_gateway.store.site_key import SiteKey

#: What a merge may change (PS3.3 C.7.1.1). An empty name, birth date or sex stays as the film has it.
ATTRIBUTES = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex")


def keys_of(site_key: SiteKey, header: Dataset) -> tuple[str, str]:
    """Return study key and patient key of a film.

    Without a Study Instance UID a film is a study of its own; without a Patient ID it is nobody's but its study's.
    """
    issuer, patient_id = source.text(header, "IssuerOfPatientID"), source.text(header, "PatientID")
    study_uid = source.study_uid(header) or source.uid(header, "SOPInstanceUID")
    patient_key = site_key.patient_key(issuer, patient_id or f"study {study_uid}")
    return site_key.study_key(study_uid, patient_key), patient_key


def keep(identity: Mapping[str, str], surviving_key: str, message_digest: str, store: Store) -> str:
    """Store an identity durably; returns its key."""
    unknown = set(identity) - set(ATTRIBUTES)
    if unknown:
        raise ValueError(f"not part of a patient's identity: {', '.join(sorted(unknown))}")
    key = f"identities/{surviving_key[1:3]}/{surviving_key}-{message_digest[:16]}.json"
    store.put_durable(key, json.dumps(dict(identity), ensure_ascii=True, sort_keys=True).encode())
    return key


def overlaid(header: Dataset, identity_key: str, store: Store) -> Dataset:
    """Return a film's header under the identity that it is filed under: a copy where that is another than its own."""
    if not identity_key:
        return header
    identity: dict[str, str] = json.loads(store.get(identity_key))
    changed = Dataset(header)
    for keyword in ATTRIBUTES:
        value = identity.get(keyword, "")
        if value or keyword in ("PatientID", "IssuerOfPatientID"):
            put_verbatim(changed, keyword, value)
    return changed
