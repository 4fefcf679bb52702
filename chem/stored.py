"""Values read back from their JSON."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import fields
from typing import Any

from chem.values import UN_INSTRUMENTS, Certainty, Identity, LegalStatus, Remark, Stereo

_TUPLES = frozenset({"removed", "isotopes"})
_GRAVER = {
    LegalStatus.NOT_CONTROLLED: frozenset({LegalStatus.CONTROLLED, LegalStatus.POSSIBLY_CONTROLLED}),
    LegalStatus.POSSIBLY_CONTROLLED: frozenset({LegalStatus.CONTROLLED}),
}


def status_with(legal_status: str, matches: Iterable[Mapping[str, Any]], instruments: Container[str]) -> str:
    """The graver of a status and of what matches, read from their JSON, give over further instruments: as `verdicts.status_of`.

    For a status over the UN conventions that is asked about in a country whose instruments are given.
    """
    certainties = {match["certainty"] for match in matches if match["captured"] and match["instrument"] in instruments}
    if legal_status == LegalStatus.CONTROLLED or Certainty.CERTAIN in certainties:
        return LegalStatus.CONTROLLED.value
    return LegalStatus.POSSIBLY_CONTROLLED.value if certainties else legal_status


def graver_elsewhere(legal_status: str, statuses: Mapping[str, str]) -> dict[str, str]:
    """The statuses of instruments outside the UN conventions that are graver than `legal_status`, which is over these."""
    graver = _GRAVER.get(LegalStatus(legal_status), frozenset())
    return {name: status for name, status in statuses.items() if name not in UN_INSTRUMENTS and status in graver}


def identity_from_json(data: Mapping[str, Any]) -> Identity:
    """The identity whose `to_json` this is. Raises: TypeError where a field is missing; unknown fields are left out."""
    values: dict[str, Any] = {}
    for name in (field.name for field in fields(Identity)):
        if name in data:
            values[name] = tuple(data[name]) if name in _TUPLES else data[name]
    values["stereo"] = Stereo(values["stereo"])
    values["components"] = tuple(identity_from_json(part) for part in data.get("components", ()))
    values["warnings"] = tuple(Remark(code=w["code"], detail=w["detail"]) for w in data.get("warnings", ()))
    return Identity(**values)
