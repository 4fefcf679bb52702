"""Values read back from their JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from chem.values import Identity, Remark, Stereo

_TUPLES = frozenset({"removed", "isotopes"})


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
