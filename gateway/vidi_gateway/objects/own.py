"""Recognising ViDi's own objects, so that results are never made from results."""

from __future__ import annotations

from pydicom import Dataset

from vidi_gateway.objects import common, source, uids


def is_own(ds: Dataset) -> bool:
    """Whether an object is one of ViDi's results.

    Either mark suffices, since a PACS may strip private attributes or coerce public ones: ViDi's private block with an
    object kind, or ViDi's manufacturer together with a UID of ViDi's root and a series number of ViDi's range. Films
    that ViDi itself writes (wrapped pictures, phantoms) carry neither.

    Parameters
    ----------
    ds
        The object or its header, however sloppy.
    """
    return _has_private_kind(ds) or (
        source.text(ds, "Manufacturer").casefold() == common.MANUFACTURER.casefold()
        and source.uid(ds, "SOPInstanceUID").startswith(uids.ROOT)
        and _series_number(ds) >= common.FIRST_SERIES_NUMBER
    )


def _has_private_kind(ds: Dataset) -> bool:
    # Most objects have no element of this group at all: the tags say so sooner than 240 questions.
    tags = [tag for tag in ds.keys() if tag.group == common.PRIVATE_GROUP]  # noqa: SIM118 - ds itself gives elements
    for element in sorted(tag.element for tag in tags if 0x10 <= tag.element <= 0xFF):
        item = ds.get_item((common.PRIVATE_GROUP, element))
        if item is None:
            continue
        value = item.value.decode("ascii", "replace") if isinstance(item.value, bytes) else str(item.value)
        if value.strip() == common.PRIVATE_CREATOR:
            return ds.get_item((common.PRIVATE_GROUP, element << 8 | common.P_KIND)) is not None
    return False


def _series_number(ds: Dataset) -> int:
    try:
        return int(source.text(ds, "SeriesNumber"))
    except ValueError:
        return 0
