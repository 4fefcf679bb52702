"""A client for laboratories: `Client` and `AsyncClient` over httpx, with retries that store nothing twice.

with Client("https://nps.example", key="...") as nps:
    answer = nps.send_report({"lab_reference": "2026-0117-A", ...})
"""

from app.client.calls import Retry
from app.client.clients import AsyncClient, Client
from app.client.errors import ClientError, ProblemError, ServiceUnreachable

__all__ = ["AsyncClient", "Client", "ClientError", "ProblemError", "Retry", "ServiceUnreachable"]
