"""Proof of what happened: seals over the audit trail that `app.persistence.trail` keeps, their check, and the export."""
