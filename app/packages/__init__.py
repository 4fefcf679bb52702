"""Data packages for the tools of UNODC, INCB and WHO: documented columns, from a snapshot, with a README and a dictionary."""
