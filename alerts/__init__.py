"""What deserves attention, who hears of it, and getting it there.

Owns the rules of signals, alerts, release, retry and delivery. Knows chemistry's words (`chem.values`) but not its toolkit,
and no database: `app.persistence` implements the storage protocols declared here.
"""
