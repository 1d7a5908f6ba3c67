"""IHE ATNA audit messages (DICOM PS3.15 A.5) out of the audit trail, and their relay to files and syslog."""
