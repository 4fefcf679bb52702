"""The report form: which fields it has, how they become a report's body, and where an error of the report belongs. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.intake import vocabularies as v
from app.problems import FieldError
from app.web import words
from app.web.places import all_countries

MOST_SUBSTANCES = 10
Options = tuple[tuple[str, str], ...]
COMMON = ("gc-ms", "lc-msms", "lc-qtof", "ftir", "raman", "nmr", "lc-dad", "gc-fid", "colour_test", "immunoassay", "test_strip")


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSpec:
    """One field. `kind`: text, area, select, checks. `name` is unique on the page; a label is what the summary says too."""

    name: str
    label: str
    kind: str = "text"
    options: Options = ()
    more: Options = ()
    hint: str = ""
    required: bool = False
    mono: bool = False
    width: str = ""


def plain(value: str) -> str:
    """A stored value in words: `blood_cardiac` as Blood cardiac."""
    text = value.replace("_", " ").replace("{", "").replace("}", "")
    return text[:1].upper() + text[1:]


def _options(values: Sequence[str], names: Mapping[str, str] | None = None) -> Options:
    return (("", "Not asked"), *((value, (names or {}).get(value) or plain(value)) for value in values))


def _technique(value: str) -> str:
    parts = v.COMBINED.get(value)
    return value.upper() if parts or len(value) <= 5 else plain(value)


def substance_fields(n: int) -> tuple[FieldSpec, ...]:
    """The fields of the substance at this place of the form."""
    rest = [t for t in (*v.COMBINED, *sorted(v.TECHNIQUES)) if t not in COMMON]
    return (
        FieldSpec(
            name=f"s{n}_structure", label="Structure", kind="area", mono=True,
            hint="SMILES, InChI or molfile. Several remain possible? One SMILES a line.",
        ),
        FieldSpec(name=f"s{n}_name", label="Name", hint="As your method calls it; kept as you write it."),
        FieldSpec(name=f"s{n}_cas", label="CAS number", width="short"),
        FieldSpec(
            name=f"s{n}_techniques", label="Techniques", kind="checks", options=tuple((t, _technique(t)) for t in COMMON),
            more=tuple((t, _technique(t)) for t in rest), hint="Without one the result counts as screening.",
        ),
        FieldSpec(
            name=f"s{n}_reference_material", label="Compared with a standard", kind="select",
            options=_options(v.REFERENCE_MATERIALS),
        ),
        FieldSpec(
            name=f"s{n}_isomers_excluded", label="Isomers excluded", kind="select",
            options=(("", "Not asked"), ("yes", "Yes"), ("no", "No"), ("na", "There are none")),
        ),
        FieldSpec(
            name=f"s{n}_schymanski_level", label="Schymanski level", kind="select", options=_options(v.SCHYMANSKI),
            hint="For high-resolution mass spectra.",
        ),
        FieldSpec(name=f"s{n}_relation", label="Found as", kind="select", options=tuple((r, plain(r)) for r in v.RELATIONS)),
        FieldSpec(name=f"s{n}_abundance", label="Part of the sample", kind="select", options=_options(v.ABUNDANCES)),
        FieldSpec(name=f"s{n}_purity_percent", label="Purity, %", width="short"),
        FieldSpec(name=f"s{n}_purity_as", label="Purity as", kind="select", options=_options(v.PURITY_AS)),
    )  # fmt: skip


SAMPLE_FIELDS = (
    FieldSpec(name="lab_reference", label="Your reference", required=True, hint="Unique in your laboratory."),
    FieldSpec(name="country", label="Country", kind="select", options=all_countries(), required=True),
    FieldSpec(name="subdivision", label="Subdivision", hint="ISO 3166-2, for example DE-BE.", width="short"),
    FieldSpec(name="date_sampled", label="Date of the sample", required=True, hint="2026-11-03, 2026-11 or 2026.", width="short"),
    FieldSpec(
        name="context", label="Where the sample comes from", kind="select", required=True,
        options=(("", "Choose"), *((c, words.CONTEXTS.get(c) or plain(c)) for c in v.CONTEXTS)),
    ),
    FieldSpec(
        name="context_detail", label="In detail", kind="select",
        options=(
            ("", "Not asked"),
            *((d, f"{plain(context)}: {plain(d).lower()}") for context, details in v.CONTEXTS.items() for d in details),
        ),
    ),
    FieldSpec(name="form", label="Form", kind="select", options=_options(v.FORMS)),
    FieldSpec(name="matrix", label="Biological matrix", kind="select", options=_options(v.MATRICES)),
    FieldSpec(name="sold_as", label="Sold as"),
    FieldSpec(name="quantity", label="Quantity", width="short"),
    FieldSpec(name="quantity_unit", label="Unit of the quantity", kind="select", options=_options(v.UNITS)),
    FieldSpec(name="date_analysed", label="Date of the analysis", width="short"),
    FieldSpec(
        name="tlp", label="Sharing label", kind="select", options=tuple((t, f"TLP:{t}") for t in v.TLP),
        hint="GREEN: the community. AMBER: authorities and reviewers. RED: nobody but you.",
    ),
    FieldSpec(
        name="comment", label="Comment", kind="area", hint="Read by you and your country's authority only. No personal data."
    ),
)  # fmt: skip

CASE_FIELDS = (
    FieldSpec(
        name="case_seriousness", label="Harm", kind="select",
        options=(("", "No case"), *((s, words.SERIOUSNESS.get(s) or plain(s)) for s in v.SERIOUSNESS)),
    ),
    FieldSpec(
        name="case_role", label="Part of the substance", kind="select",
        options=tuple((r, plain(words.CASE_ROLES.get(r, r))) for r in reversed(v.ROLES)),
    ),
    FieldSpec(name="case_exposure_evidence", label="Exposure shown by", kind="select", options=_options(v.EXPOSURE_EVIDENCE)),
    FieldSpec(name="case_route", label="Route", kind="select", options=_options(v.ROUTES)),
    FieldSpec(name="case_age_band", label="Age", kind="select", options=_options(v.AGE_BANDS)),
    FieldSpec(name="case_sex", label="Sex", kind="select", options=_options(v.SEXES)),
)  # fmt: skip
DEFAULTS = {"tlp": "GREEN", "case_role": "undetermined", **{f"s{n}_relation": "parent" for n in range(MOST_SUBSTANCES)}}


def structure_of(text: str) -> dict[str, Any] | None:
    """The structure of a text field: a molfile, an InChI, one SMILES, or one of several a line."""
    if not text.strip():
        return None
    if "M  END" in text or re.search(r"V[23]000\s*$", text, re.MULTILINE):
        return {"molfile": text}
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    single = [{"inchi" if line.startswith("InChI=") else "smiles": line} for line in lines]
    return single[0] if len(single) == 1 else {"candidates": single}


def _number(text: str) -> Any:
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return text


def substance_of(values: Mapping[str, str | list[str]], n: int) -> dict[str, Any]:
    """The substance at this place as the report's body has it; empty where nothing was filled in."""
    found: dict[str, Any] = {}
    structure = structure_of(_text(values, f"s{n}_structure", keep=True))
    if structure is not None:
        found["structure"] = structure
    for name in ("name", "cas"):
        if text := _text(values, f"s{n}_{name}"):
            found[name] = text
    if not found:
        return {}
    for name in ("reference_material", "isomers_excluded", "schymanski_level", "relation", "abundance", "purity_as"):
        if text := _text(values, f"s{n}_{name}"):
            found[name] = text
    if text := _text(values, f"s{n}_purity_percent"):
        found["purity_percent"] = _number(text)
    techniques = values.get(f"s{n}_techniques") or []
    found["techniques"] = [techniques] if isinstance(techniques, str) else list(techniques)
    return found


def _text(values: Mapping[str, str | list[str]], name: str, *, keep: bool = False) -> str:
    value = values.get(name) or ""
    text = value if isinstance(value, str) else value[0] if value else ""
    return text.replace("\r\n", "\n") if keep else text.strip()


def body_of(values: Mapping[str, str | list[str]], substances: int) -> dict[str, Any]:
    """The report that a filled form says."""
    sample: dict[str, Any] = {}
    for name in ("country", "subdivision", "date_sampled", "context", "context_detail", "form", "matrix", "sold_as"):
        if text := _text(values, name):
            sample[name] = text
    if text := _text(values, "quantity"):
        sample["quantity"] = {"value": _number(text), "unit": _text(values, "quantity_unit") or "g"}
    body: dict[str, Any] = {"lab_reference": _text(values, "lab_reference"), "sample": sample}
    if values.get("none_detected"):
        body |= {"substances": [], "outcome": "none_detected"}
    else:
        body["substances"] = [found for n in range(substances) if (found := substance_of(values, n))]
    if _text(values, "case_seriousness"):
        names = ("seriousness", "role", "exposure_evidence", "route", "age_band", "sex")
        body["cases"] = [{name: text for name in names if (text := _text(values, f"case_{name}"))}]
    for name in ("date_analysed", "tlp", "comment"):
        if text := _text(values, name):
            body[name] = text
    return body


def places_of(values: Mapping[str, str | list[str]], substances: int) -> list[int]:
    """The places of the form that hold a substance, in the order in which the report has them."""
    return [n for n in range(substances) if substance_of(values, n)]


def field_of(error: FieldError, places: Sequence[int]) -> str:
    """The field of the form to which an error of the report belongs."""
    parts = error.pointer.strip("/").split("/")
    match parts:
        case ["sample", "quantity", "unit", *_]:
            return "quantity_unit"
        case ["sample", "quantity", *_]:
            return "quantity"
        case ["sample"]:
            return "subdivision" if "subdivision" in error.detail else "context_detail"
        case ["sample", name, *_]:
            return name
        case ["substances", index, *rest] if index.isdigit():
            n = places[int(index)] if int(index) < len(places) else 0
            name = rest[0] if rest else "structure"
            return f"s{n}_{name if name != 'inchikey' else 'structure'}"
        case ["cases", _, name, *_]:
            return f"case_{name}"
        case [name] if name in {field.name for field in SAMPLE_FIELDS}:
            return name
        case _:
            return "s0_structure"
