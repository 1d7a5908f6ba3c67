"""A film's results as DICOM objects: structured report, parametric maps, secondary capture."""

from __future__ import annotations

from vidi_gateway.objects.build import BuiltObject, build_all
from vidi_gateway.objects.common import BuildOptions
from vidi_gateway.objects.identity import identity_digest
from vidi_gateway.objects.own import is_own

__all__ = ["BuildOptions", "BuiltObject", "build_all", "identity_digest", "is_own"]
