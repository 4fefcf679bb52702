"""The metrics of this process. Labels hold routes, topics and codes, never an id, a name or a structure.

With several API processes under one `nps serve --workers N`, prometheus_client keeps them in files and the answer adds them up.
"""

from __future__ import annotations

from prometheus_client import Counter, Histogram, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series a metric that nobody asks for

REQUESTS = Counter("nps_http_requests_total", "Requests answered", ("method", "route", "status"))
REQUEST_SECONDS = Histogram(
    "nps_http_request_seconds", "Time to answer a request", ("route",),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)  # fmt: skip
REPORTS = Counter("nps_reports_total", "Versions of reports stored over HTTP", ("kind",))
STRUCTURE_SECONDS = Histogram(
    "nps_structure_seconds", "Time to read and judge the structures of one substance, waiting for a free process included", (),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)  # fmt: skip
STRUCTURES_REMEMBERED = Counter("nps_structures_remembered_total", "Substances whose text was read before, so that none was read")
TASK_SECONDS = Histogram(
    "nps_task_seconds", "Time a task of the outbox ran: deliveries (deliver), signals (evaluate), ...", ("topic", "outcome"),
    buckets=(0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 60, 300),
)  # fmt: skip
