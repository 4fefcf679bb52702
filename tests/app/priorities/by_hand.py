"""The ranking's formulas written again, from the domain guide alone and without arrays, over the exported facts.

Independent of `app.priorities`: it reads plain values and shares no code with it.
"""

from __future__ import annotations

from statistics import median
from typing import Any


def share_below(value: float, values: list[float]) -> float:
    return sum(other < value for other in values) / len(values) if len(values) > 1 else 0.0


def case_points(harm: dict[str, Any]) -> float:
    if harm["role"] == "incidental":
        return 0.0
    most = 1.0
    if harm["seriousness"] == "death":
        most = {"sole_cause": 10.0, "combined_cause": 10.0, "contributory": 5.0}.get(harm["role"], 2.0)
    if harm["seriousness"] in ("life_threatening", "intensive_care", "disability") or harm["pss"] == 3:
        most = max(most, 3.0)
    if harm["seriousness"] == "hospital_or_emergency_treatment" or harm["pss"] == 2:
        most = max(most, 2.0)
    return most * {"biological": 1.0, "own_product": 0.5, "same_batch": 0.5}.get(harm["evidence"], 0.2)


def scores(facts: dict[str, Any], *, under_control: bool) -> dict[str, tuple[float, float, float, float]]:
    """Prevalence, persistence, low and high harm of each substance."""
    subjects = {s["id"]: s for s in facts["subjects"] if s["under_control"] is under_control}
    finds = {key: [f for f in facts["finds"] if f["substance"] == key] for key in subjects}
    harms = {key: [h for h in facts["harms"] if h["substance"] == key] for key in subjects}
    year = {key: [f for f in found if f["month"] < 12] for key, found in finds.items()}
    weighted = {key: sum(f["confirmed"] + f["probable"] / 2 for f in found) for key, found in year.items()}
    reporting = len({country for countries in facts["reporters"].values() for country in countries})
    spread = {key: len({f["country"] for f in found}) / reporting if reporting else 0.0 for key, found in year.items()}
    tests = sum(facts["tested"].values())
    rate = {
        key: sum(f["confirmed"] + f["probable"] for f in found if f["laboratory"] in facts["tested"]) / tests if tests else 0.0
        for key, found in year.items()
    }
    points = {key: sum(case_points(h) for h in found if h["month"] < 12) for key, found in harms.items()}
    shrunk = {}
    for key, subject in subjects.items():
        group = [other for other in subjects if subjects[other]["group"] == subject["group"]]
        found_in_group = sum(weighted[other] for other in group)
        typical = sum(points[other] for other in group) / found_in_group if found_in_group else 0.0
        shrunk[key] = (points[key] + 10 * typical) / (weighted[key] + 10)
    answer: dict[str, tuple[float, float, float, float]] = {}
    for key in subjects:
        prevalence = 0.4 * share_below(weighted[key], list(weighted.values())) + 0.4 * spread[key]
        prevalence = (prevalence + 0.2 * share_below(rate[key], list(rate.values()))) if tests else prevalence / 0.8
        months = [f["month"] for f in finds[key]]
        quarters = len({m // 3 for m in months if m < 36})
        persistence = 0.5 * quarters / 12 + 0.3 * min(1, max(months) / 36) + 0.2 * 0.5 ** (min(months) / 6)
        deaths = [h for h in harms[key] if h["seriousness"] == "death" and h["month"] < 12]
        sole = sum(not h["others_causal"] and h["role"] != "incidental" for h in deaths)
        harm = 0.5 * share_below(points[key], list(points.values())) + 0.3 * share_below(shrunk[key], list(shrunk.values()))
        harm += 0.2 * sole / (len(deaths) + 2)
        answer[key] = (100 * prevalence, 100 * persistence, 100 * harm, 100 * harm)
    known = {key: answer[key][2] for key in subjects if harms[key]}
    for key, subject in subjects.items():
        if not harms[key]:
            peers = [value for other, value in known.items() if subjects[other]["group"] == subject["group"]]
            high = median(peers or list(known.values()) or [0.0])
            answer[key] = (*answer[key][:2], 0.0, high)
    return answer
