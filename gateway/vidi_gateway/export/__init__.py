"""Films and results for research, de-identified (DICOM PS3.15 annex E)."""
