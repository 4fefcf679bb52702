"""Bulk intake: a file and a mapping become reports, row by row; a bad row never sinks the rest."""
