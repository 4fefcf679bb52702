"""Dossiers: what the service knows of a substance or a family in the headings of the Expert Committee's critical review."""
