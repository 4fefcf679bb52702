"""How sure an identification is, from what the laboratory did (domain guide, sections 4.4 and 4.5)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from app.intake.vocabularies import CATEGORY_A, CATEGORY_B, COMBINED, TECHNIQUES

ORDER = ("screening", "tentative", "probable", "confirmed")

# techniques that measure one property count once (domain guide 4.5)
_PROPERTY = {"ms": "mass", "hrms": "mass", "msms": "mass", "ftir": "vibration", "raman": "vibration"}
# chromatographic retention is one property whatever the column, for "uncorrelated" category B techniques
_UNCORRELATED = {"gc": "gas", "lc": "liquid", "sfc": "liquid", "tlc": "planar"}


@dataclass(frozen=True, slots=True)
class Confidence:
    """The level, the reasons in words, what the next level would need, and warnings for the laboratory."""

    level: str
    because: tuple[str, ...]
    warnings: tuple[tuple[str, str], ...]


def expand(techniques: Iterable[str]) -> tuple[str, ...]:
    """Combined instruments to their parts, each technique once, in order. Raises ValueError naming an unknown one."""
    parts: dict[str, None] = {}
    for technique in techniques:
        if technique in COMBINED:
            parts.update(dict.fromkeys(COMBINED[technique]))
        elif technique in TECHNIQUES:
            parts[technique] = None
        else:
            raise ValueError(f"{technique!r} is not a technique")
    return tuple(parts)


def swgdrug_met(techniques: Iterable[str]) -> bool:
    """The minimum scheme: one category A technique plus one other on a different property; or, without A, three techniques of
    which two are uncorrelated category B."""
    found = set(techniques)
    if found & CATEGORY_A:
        return len({_PROPERTY.get(t, t) for t in found}) >= 2
    uncorrelated = {_UNCORRELATED.get(t, t) for t in found & CATEGORY_B}
    return len(found) >= 3 and len(uncorrelated) >= 2


def derive(
    techniques: Iterable[str],
    *,
    schymanski_level: str | None,
    reference_material: str | None,
    isomers_excluded: str | None,
    in_isomer_group: bool,
    is_set: bool = False,
    no_structure: bool = False,
) -> Confidence:
    """The confidence of one detection.

    `in_isomer_group`: a named member of a known group of isomers. `is_set`: an isomer set, which no isomer question caps.
    `no_structure`: a class or an unresolved label, which can be no more than tentative.
    """
    parts = expand(techniques)
    met = swgdrug_met(parts)
    level = schymanski_level or ""
    standard = level == "1" or "nmr" in parts or reference_material in ("certified", "in_house")
    isomers_settled = is_set or isomers_excluded in ("yes", "na") or not in_isomer_group
    because = [f"techniques: {', '.join(parts)}" if parts else "no technique given"]
    warnings: list[tuple[str, str]] = []
    if met:
        because.append("meets the SWGDRUG minimum scheme")
    if level:
        because.append(f"Schymanski level {level}")

    if met and standard and isomers_settled:
        found = "confirmed"
        because.append("compared with a standard or by NMR")
    elif level.startswith("2") or met:
        found = "probable"
    elif level in ("3", "4") or set(parts) & CATEGORY_A:
        found = "tentative"
    else:
        found = "screening"
    if not parts:
        warnings.append(("no-technique", "No technique is given, so the identification counts as screening."))

    if in_isomer_group and not is_set and isomers_excluded != "yes":
        if isomers_excluded == "no":
            found = _at_most(found, "tentative")
            because.append("isomers were not excluded")
            warnings.append(
                ("isomers-not-excluded", "Isomers were not excluded: at most tentative. Report the set, or exclude them.")
            )
        elif isomers_excluded is None:
            found = _at_most(found, "probable")
            because.append("it is not said whether isomers were excluded")
            warnings.append(("isomers-not-stated", "Known isomers exist; isomers_excluded is missing: at most probable."))
    if is_set:
        found = _at_most(found, "probable")
    if no_structure:
        found = _at_most(found, "tentative")
    return Confidence(found, tuple(because), tuple(warnings))


def _at_most(level: str, cap: str) -> str:
    return min(level, cap, key=ORDER.index)
