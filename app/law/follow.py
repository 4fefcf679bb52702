"""Every process notices an edition that another one loaded, within seconds and without a restart."""

from __future__ import annotations

import logging
import threading

from sqlalchemy.exc import SQLAlchemyError

from app.context import AppContext
from app.law.loaded import refresh
from chem.errors import DataError

log = logging.getLogger("nps.law")

LOOK_EVERY_S = 2.0


class Follower:
    """Looks for new editions in a thread until `stop`."""

    def __init__(self, context: AppContext, *, every_s: float = LOOK_EVERY_S) -> None:
        self._context = context
        self._every_s = every_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nps-editions", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            try:
                if refresh(self._context):
                    log.info("following a new edition: %s", self._context.chemistry.version)
            except SQLAlchemyError:
                log.warning("the editions could not be looked up; trying again")
            except DataError as error:
                # a newer release may have loaded what this one cannot read: it goes on with the law it has, and says so
                log.error("an edition cannot be read by this version of the service: %s", error)
