"""Merges of patients, carried out: films go under the identity of the patient who survives."""

from __future__ import annotations

import hashlib

from vidi_gateway.hl7.merge import PatientMerge
from vidi_gateway.pipeline import identities
from vidi_gateway.store.files import Store
from vidi_gateway.store.lifecycle import Lifecycle
from vidi_gateway.store.site_key import SiteKey


class PatientMerger:
    """A `vidi_gateway.hl7.merge.Merger` over the journal.

    Parameters
    ----------
    lifecycle, store, site_key
        Where films, identities and keyed digests come from.
    local_issuer
        The authority that films without an Issuer of Patient ID belong to; "": there is only one at this site.
    """

    def __init__(self, lifecycle: Lifecycle, store: Store, site_key: SiteKey, local_issuer: str = "") -> None:
        self._lifecycle = lifecycle
        self._store = store
        self._site_key = site_key
        self._local_issuer = local_issuer

    def merge(self, merge: PatientMerge) -> int:
        """See `Merger.merge`."""
        survivor = merge.surviving
        priors = [self._site_key.patient_key(p.issuer, p.id) for p in merge.prior.as_in_films(self._local_issuer)]
        surviving_key = self._site_key.patient_key(survivor.identifier.issuer, survivor.identifier.id)
        identity = {
            "PatientID": survivor.identifier.id,
            "IssuerOfPatientID": survivor.identifier.issuer,
            "PatientName": survivor.name,
            "PatientBirthDate": survivor.birth_date,
            "PatientSex": survivor.sex,
        }
        message = hashlib.sha256(merge.message_id.encode()).hexdigest()
        identity_key = identities.keep(identity, surviving_key, message, self._store)
        return self._lifecycle.merge(merge.message_id, priors, surviving_key, identity_key)
