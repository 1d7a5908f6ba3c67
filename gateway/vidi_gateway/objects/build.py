"""All objects of a study, from its films' headers, pictures and outcomes."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom import Dataset

from vidi_gateway.objects import common, film_picture, parametric_map, secondary_capture, structured_report
from vidi_gateway.objects.parts import BuildOptions, BuiltObject, FilmPart, NotAnalysed, Predecessor, Withdrawn
from vidi_gateway.objects.study import study_of


def build_study(
    parts: Sequence[FilmPart],
    options: BuildOptions,
    *,
    not_analysed: Sequence[NotAnalysed] = (),
    predecessors: Sequence[Predecessor] = (),
    withdrawn: Sequence[Withdrawn] = (),
    revision: int = 1,
    base: bytes | Dataset | None = None,
) -> list[BuiltObject]:
    """Build a study's result objects. The same arguments, in any order, always give the same UIDs and bytes.

    The report and the Secondary Capture are of the study: their UIDs derive from everything that is given. Maps and
    PNGs are of a film: theirs derive from that film's part, the software's version and the device alone, so that a film
    that comes later leaves them as they are.

    Parameters
    ----------
    parts
        The analysed films, all of one study and patient; patient and study attributes of the study's objects are those
        of the latest. None: the report says that results were withdrawn, or that no film was analysed.
    options
        What the site decides.
    not_analysed
        The study's films that have no result.
    predecessors
        Reports that this one takes the place of.
    withdrawn
        The study's films whose results were taken back.
    revision
        Counts the study's reports from 1.
    base
        Without `parts`: an object or header of the study to take patient and study from, such as the retired report.

    Returns
    -------
    The objects of `options.kinds`: report, maps by film, class and sign, Secondary Capture, PNG by film. Films come by
    time of exposure. Without `parts` the report alone.

    Raises
    ------
    InvalidInput
        When parts are of several patients or studies (nothing of one patient may reach another's objects), a film is
        given twice, a picture does not have two axes, there is nothing to report on, or an option is wrong.
    """
    study = study_of(
        parts,
        options,
        not_analysed=not_analysed,
        predecessors=predecessors,
        withdrawn=withdrawn,
        revision=revision,
        base=base,
    )
    maps: dict[int, list[Dataset]] = {}
    map_objects: list[BuiltObject] = []
    pngs: list[BuiltObject] = []
    pictures = {}
    shown = secondary_capture.pictured(study) if "sc" in options.kinds else []
    for number, film in enumerate(study.films, start=1):
        if "pm" in options.kinds:
            maps[number] = []
            for c in film.outcome.classes:
                for sign in parametric_map.SIGNS:
                    maps[number].append(parametric_map.build(film, c, sign))
                    map_objects.append(_dicom("pm", maps[number][-1], c.name, sign, film.film_id))
        if "png" in options.kinds or number in shown:
            rgb = film_picture.compose(film)
            if number in shown:
                pictures[number] = rgb
            if "png" in options.kinds:
                data, uid = film_picture.png(rgb), film.uid("png")
                pngs.append(BuiltObject("png", uid, "", data, "image/png", film_id=film.film_id))
    objects = [_dicom("sr", structured_report.build(study, maps))] if "sr" in options.kinds else []
    objects += map_objects
    if shown:
        capture = secondary_capture.build(study, secondary_capture.compose(study, pictures))
        objects.append(_dicom("sc", capture))
    return objects + pngs


def _dicom(kind: str, ds: Dataset, class_name: str = "", sign: str = "", film_id: str = "") -> BuiltObject:
    uid, sop_class, data = str(ds.SOPInstanceUID), str(ds.SOPClassUID), common.encode(ds)
    return BuiltObject(kind, uid, sop_class, data, "application/dicom", class_name, sign, film_id)
