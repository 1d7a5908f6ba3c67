"""DICOM networking (PS3.7, PS3.8): the storage SCP that takes films in, the SCU that delivers results."""
