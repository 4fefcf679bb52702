"""`GET /metrics` in the format of Prometheus."""

from __future__ import annotations

import os
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from app.auth.permissions import Action, Principal
from app.context import Context, requires
from app.observability.gauges import Installation

router = APIRouter(tags=["operations"])
SHARED = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's own name


@router.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
def metrics(context: Context, principal: Annotated[Principal, Depends(requires(Action.OPERATE))]) -> Response:
    """Counters and histograms of the API processes here, and gauges of the whole installation. See /help/operations."""
    processes = REGISTRY
    if SHARED in os.environ:
        processes = CollectorRegistry()
        MultiProcessCollector(processes)
    whole = CollectorRegistry()
    whole.register(Installation(context.database, context.now()))
    return Response(generate_latest(processes) + generate_latest(whole), media_type=CONTENT_TYPE_LATEST)
