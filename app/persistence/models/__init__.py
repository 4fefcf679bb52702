"""The tables, one file an aggregate. Importing this package registers them all on `Base.metadata`."""

from app.persistence.models.accounts import ApiKey, IdempotencyRecord, Organisation, Person, WebSession
from app.persistence.models.alerting import (
    Acknowledgement,
    Alert,
    AlertApproval,
    AlertEvidence,
    AlertKey,
    AlertRevision,
    Attempt,
    Body,
    FeedItem,
    Measure,
    Subscription,
    Task,
)
from app.persistence.models.law import HistoryRecord, ScheduleEdition, ServiceState
from app.persistence.models.reports import (
    CaseSubstance,
    Detection,
    HarmCase,
    ImportJob,
    Report,
    ReportVersion,
    Sample,
)
from app.persistence.models.substances import CurationItem, Substance, SubstanceName

__all__ = [
    "Acknowledgement",
    "Alert",
    "AlertApproval",
    "AlertEvidence",
    "AlertKey",
    "AlertRevision",
    "ApiKey",
    "Attempt",
    "Body",
    "CaseSubstance",
    "CurationItem",
    "Detection",
    "FeedItem",
    "HarmCase",
    "HistoryRecord",
    "IdempotencyRecord",
    "ImportJob",
    "Measure",
    "Organisation",
    "Person",
    "Report",
    "ReportVersion",
    "Sample",
    "ScheduleEdition",
    "ServiceState",
    "Subscription",
    "Substance",
    "SubstanceName",
    "Task",
    "WebSession",
]
