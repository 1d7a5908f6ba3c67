"""`vidi bench ingest`: films acknowledged durably by C-STORE, by ViDi's gateway and by Orthanc, in one run."""
