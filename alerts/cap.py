"""Alerts as CAP 1.2 documents (OASIS Common Alerting Protocol, 1 July 2010), by the profile of this service. Pure.

Times have a numeric offset, `-00:00` for UTC, never Z, and whole seconds. Identifiers and senders hold no space, comma, `<` or
`&`.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from alerts.render import country_name, one_line
from alerts.values import AlertView

NAMESPACE = "urn:oasis:names:tc:emergency:cap:1.2"
PROFILE = "nps-early-warning:1"
VALID_FOR = timedelta(days=30)
SEVERITY = {4: "Extreme", 3: "Severe", 2: "Moderate", 1: "Minor"}
MSG_TYPES = ("Alert", "Update", "Cancel")
IMMEDIATE = frozenset({"misrepresentation", "serious_harm", "cluster"})

_ALERT_ORDER = (
    "identifier", "sender", "sent", "status", "msgType", "scope", "restriction", "code", "note", "references", "incidents",
    "info",
)  # fmt: skip
_INFO_ORDER = (
    "language", "category", "event", "responseType", "urgency", "severity", "certainty", "eventCode", "effective", "onset",
    "expires", "senderName", "headline", "description", "instruction", "web", "contact", "parameter", "area",
)  # fmt: skip


class CapError(ValueError):
    """The alert cannot be said as a CAP document of the profile; the message says which rule is broken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CapSender:
    """Who sends: `id` is unique and lasting, `name` for people, `web` the address of the service."""

    id: str
    name: str
    web: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """An earlier revision that the reader may have had."""

    revision: int
    sent_at: datetime


def cap_time(moment: datetime) -> str:
    """UTC with whole seconds and the offset -00:00."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S-00:00")


def identifier(alert_id: str, revision: int) -> str:
    return f"{alert_id}.{revision}"


def cap_document(
    view: AlertView,
    *,
    msg_type: str,
    sent_at: datetime,
    earlier: Sequence[Earlier],
    reason: str | None,
    sender: CapSender,
    status: str,
    now: datetime,
) -> bytes:
    """The CAP document of this revision as the reader of the view may see it, in UTF-8.

    `status` is Actual, Exercise (demonstration data) or Test. Raises CapError for TLP:RED, which has no CAP document, and for
    anything else that the profile refuses.
    """
    if view.tlp == "RED" or view.withheld:
        raise CapError("TLP:RED has no CAP document")
    root = ET.Element("alert", {"xmlns": NAMESPACE})
    _add(root, "identifier", identifier(view.id, view.revision))
    _add(root, "sender", sender.id)
    _add(root, "sent", cap_time(sent_at))
    _add(root, "status", status)
    _add(root, "msgType", msg_type)
    _add(root, "scope", "Public" if view.tlp == "CLEAR" else "Restricted")
    if view.tlp != "CLEAR":
        _add(root, "restriction", f"TLP:{view.tlp}")
    _add(root, "code", PROFILE)
    if reason is not None or msg_type == "Cancel":
        _add(root, "note", reason or "The alert was retracted.")
    live = [row for row in earlier if row.sent_at + VALID_FOR > now]
    if live and msg_type != "Alert":
        _add(
            root,
            "references",
            " ".join(f"{sender.id},{identifier(view.id, row.revision)},{cap_time(row.sent_at)}" for row in live),
        )
    if view.substance is not None:
        _add(root, "incidents", str(view.substance["id"]))
    root.append(_info(view, sent_at, sender))
    check(root)
    ET.indent(root)
    return to_bytes(root)


def to_bytes(root: ET.Element) -> bytes:
    """An XML document in UTF-8 with its declaration."""
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode").encode() + b"\n"


def _info(view: AlertView, sent_at: datetime, sender: CapSender) -> ET.Element:
    info = ET.Element("info")
    confidence = view.numbers.get("confidence")
    _add(info, "language", "en")
    _add(info, "category", "Health")
    _add(info, "event", one_line(view.type.replace("_", " "), 80))
    _add(info, "responseType", "Assess" if view.level >= 3 else "Monitor")
    _add(info, "urgency", _urgency(view, sent_at))
    _add(info, "severity", SEVERITY[view.level])
    _add(info, "certainty", _certainty(view, confidence))
    event_code = ET.SubElement(info, "eventCode")
    _add(event_code, "valueName", PROFILE)
    _add(event_code, "value", view.type)
    _add(info, "effective", cap_time(sent_at))
    month = view.numbers.get("month")
    if isinstance(month, str) and len(month) == 7:
        _add(info, "onset", f"{month}-01T00:00:00-00:00")
    _add(info, "expires", cap_time(sent_at + VALID_FOR))
    _add(info, "senderName", sender.name)
    _add(info, "headline", one_line(view.texts.headline, 160))
    _add(info, "description", _clean(view.texts.summary))
    _add(info, "instruction", _clean(view.texts.instruction))
    _add(info, "web", f"{sender.web}/alerts/{view.id}")
    for name, value in _parameters(view):
        parameter = ET.SubElement(info, "parameter")
        _add(parameter, "valueName", name)
        _add(parameter, "value", value)
    for country in view.countries or ("world",):
        area = ET.SubElement(info, "area")
        if country == "world":
            _add(area, "areaDesc", "World")
            continue
        _add(area, "areaDesc", country_name(country))
        geocode = ET.SubElement(area, "geocode")
        _add(geocode, "valueName", "ISO3166-1 alpha-2")
        _add(geocode, "value", country)
    return info


def _parameters(view: AlertView) -> list[tuple[str, str]]:
    substance: dict[str, Any] = view.substance or {}
    found = [
        ("TLP", f"TLP:{view.tlp}"),
        ("InChIKey", substance.get("inchikey")),
        ("controlled", "yes" if view.controlled else "no"),
        ("rule", view.rule),
        ("reviewed", "yes" if view.reviewed else "no"),
        *((name, str(value)) for name, value in view.numbers.items() if isinstance(value, (str, int, float))),
        *(("report", report_id) for report_id in view.evidence),
    ]
    return [(name, _clean(value)) for name, value in found if value]


def _urgency(view: AlertView, sent_at: datetime) -> str:
    if view.type in IMMEDIATE:
        return "Immediate"
    if view.type == "control_change":
        begins = view.numbers.get("valid_from")
        return "Future" if isinstance(begins, str) and begins > f"{sent_at:%Y-%m-%d}" else "Past"
    return "Expected"


def _certainty(view: AlertView, confidence: object) -> str:
    if view.type == "spike":
        p = view.numbers.get("p")
        return "Likely" if isinstance(p, float) and p < 0.001 else "Possible"
    if view.type in IMMEDIATE:
        return "Likely"
    if confidence in (None, "confirmed"):
        return "Observed"
    return "Likely" if confidence == "probable" else "Possible"


def _clean(text: str) -> str:
    """The text without what XML cannot hold; line ends stay."""
    return "".join(c for c in text if c in "\n\t" or (c.isprintable() and c not in "\ufffe\uffff"))


def _add(parent: ET.Element, name: str, text: str) -> None:
    ET.SubElement(parent, name).text = text


def check(root: ET.Element) -> None:
    """Raises CapError where the document breaks the profile: order and number of elements, words, times, identifiers."""
    _in_order([child.tag for child in root], _ALERT_ORDER, "alert")
    for info in root.findall("info"):
        _in_order([child.tag for child in info], _INFO_ORDER, "info")
    values = {child.tag: child.text or "" for child in root}
    for name in ("identifier", "sender"):
        if not values[name] or any(c in values[name] for c in " ,<&"):
            raise CapError(f"{name} is empty or holds a space, comma, < or &: {values[name]!r}")
    if values["status"] not in ("Actual", "Exercise", "Test") or values["msgType"] not in MSG_TYPES:
        raise CapError("status or msgType is not one of the profile")
    if values["scope"] == "Restricted" and "restriction" not in values:
        raise CapError("a restricted alert needs its restriction")
    if values["msgType"] == "Cancel" and not values.get("note"):
        raise CapError("a cancellation needs a note")
    for element in root.iter():
        if len(element) == 0 and not (element.text or "").strip():
            raise CapError(f"{element.tag} is empty")
        if element.tag in ("sent", "effective", "onset", "expires") and (element.text or "")[-6:] != "-00:00":
            raise CapError(f"{element.tag} has no numeric offset")
    headline = root.findtext("info/headline") or ""
    if len(headline) > 160:
        raise CapError("the headline is longer than 160 characters")
    if root.find("info/area/areaDesc") is None:
        raise CapError("an area needs a description")


def _in_order(tags: list[str], order: tuple[str, ...], where: str) -> None:
    unknown = [tag for tag in tags if tag not in order]
    if unknown:
        raise CapError(f"{where} holds {unknown[0]}, which the profile does not use")
    positions = [order.index(tag) for tag in tags]
    if positions != sorted(positions):
        raise CapError(f"the elements of {where} are out of order")
