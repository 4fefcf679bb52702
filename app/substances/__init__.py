"""Browsing substances: what they are, their legal status, where they were found."""
