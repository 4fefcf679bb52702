"""The numbers of PostgreSQL's advisory locks, in one place: what two uses call by one number would keep one another waiting.

The first three are locks with one key, the others the first of two keys, the second being a hash of a name. A migration writes
the number that it needs itself, as these may change after it.
"""

from __future__ import annotations

FOLDING = 0x6E707301  # one process folds counts at a time
SEALING = 0x6E70735F  # one seals the audit log
MIGRATING = 0x6E70734D  # one migrates
LANES = 0x4E5053  # one claims from a lane
WORKERS = 0x4E5054  # held by a worker on its own name for as long as it lives
