"""What may stand in an exported film: a list of attributes, and for words the values that they may have.

The basic profile lists what must go, and knows nothing of what devices put into other attributes. What is not on this
list goes too.
"""

from __future__ import annotations

#: Numbers as text (DS, IS): copied when they are numbers.
NUMBERS = (
    "CenterOfCircularShutter",
    "DistanceSourceToDetector",
    "DistanceSourceToPatient",
    "EstimatedRadiographicMagnificationFactor",
    "Exposure",
    "ExposureInuAs",
    "ExposureTime",
    "FieldOfViewDimensions",
    "ImagerPixelSpacing",
    "InstanceNumber",
    "KVP",
    "PixelSpacing",
    "RadiusOfCircularShutter",
    "RelativeXRayExposure",
    "RescaleIntercept",
    "RescaleSlope",
    "ShutterLeftVerticalEdge",
    "ShutterLowerHorizontalEdge",
    "ShutterRightVerticalEdge",
    "ShutterUpperHorizontalEdge",
    "VerticesOfThePolygonalShutter",
    "WindowCenter",
    "WindowWidth",
    "XRayTubeCurrent",
)
#: Binary numbers (US): copied when they are numbers.
BINARY = ("BitsAllocated", "BitsStored", "Columns", "HighBit", "PixelRepresentation", "Rows", "SamplesPerPixel")
#: Words, and what they may be. Others are left out.
WORDS: dict[str, frozenset[str]] = {
    "BodyPartExamined": frozenset({"CHEST", "THORAX", "LUNG", "RIB", "TSPINE", "ABDOMEN"}),
    "BurnedInAnnotation": frozenset({"NO"}),
    "DetectorType": frozenset({"DIRECT", "SCINTILLATOR", "STORAGE", "FILM"}),
    "ImageLaterality": frozenset({"R", "L", "U", "B"}),
    "Laterality": frozenset({"R", "L"}),
    "LossyImageCompression": frozenset({"00", "01"}),
    "Modality": frozenset({"CR", "DX"}),
    "PatientOrientation": frozenset({"A", "P", "R", "L", "H", "F"}),
    "PhotometricInterpretation": frozenset({"MONOCHROME1", "MONOCHROME2"}),
    "PixelIntensityRelationship": frozenset({"LIN", "LOG"}),
    "PositionerType": frozenset({"CARM", "COLUMN", "MAMMOGRAPHIC", "PANORAMIC", "CEPHALOSTAT", "RIGID", "NONE"}),
    "PresentationIntentType": frozenset({"FOR PRESENTATION", "FOR PROCESSING"}),
    "PresentationLUTShape": frozenset({"IDENTITY", "INVERSE"}),
    "QualityControlSubject": frozenset({"YES", "NO"}),
    "ShutterShape": frozenset({"RECTANGULAR", "CIRCULAR", "POLYGONAL"}),
    "ViewPosition": frozenset({"AP", "PA", "LL", "RL", "RLD", "LLD", "RLO", "LLO"}),
    "VOILUTFunction": frozenset({"LINEAR", "LINEAR_EXACT", "SIGMOID"}),
}
#: Sequences of codes; of an item only value and scheme are taken, from schemes that the standard names.
CODES = ("AnatomicRegionSequence", "ViewCodeSequence", "ViewModifierCodeSequence")
SCHEMES = frozenset({"SCT", "SRT", "SNM3", "DCM"})
#: Type 2 attributes (PS3.3 C.7.1.1, C.7.2.1, C.7.3.1, C.7.5.1): present, and empty.
EMPTY = (
    "AccessionNumber",
    "Manufacturer",
    "PatientBirthDate",
    "PatientSex",
    "ReferringPhysicianName",
    "SeriesNumber",
    "StudyDate",
    "StudyID",
    "StudyTime",
)
#: As `EMPTY`, of Digital X-Ray only (C.8.11.1 to C.8.11.7): sequences without items, words without a value.
EMPTY_DX = ("AcquisitionContextSequence", "AnatomicRegionSequence", "DetectorType", "PositionerType")
#: Days that are moved, where the export keeps them.
DAYS = ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate")
