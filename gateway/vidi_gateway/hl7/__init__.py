"""HL7 version 2: patient merges, as hospital systems announce them (ADT^A40 over MLLP or HTTP).

`message` reads the encoding (ER7), `adt` what an A40 says, `acknowledgment` writes the answer, `handler` joins them,
`listener` is the network.

The encoding is read here and not by a library. Of the two on PyPI `hl7` (no release since 2022) quotes patients' values
in its log and expands repetition counts of escape sequences without bound, and `hl7apy` brings 8 MB of tables. What is
needed is splitting by five characters, within bounds. The tests talk to the listener by `hl7`.
"""

from __future__ import annotations

from vidi_gateway.hl7.merge import Identifier, Merger, Patient, PatientMerge

__all__ = ["Identifier", "Merger", "Patient", "PatientMerge"]
