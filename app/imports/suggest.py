"""A proposal for a mapping, from a file's headers and values. It proposes and says why; a person reads it before it is used."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from itertools import islice

from app.imports.readers import Row
from app.intake import vocabularies as v
from app.intake.schemas import partial_date
from app.regions import is_country

LOOKED_AT = 500
MOST_CODES = 60
DATE_FORMATS = ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%Y/%m/%d", "%Y%m%d", "%d %b %Y", "%d.%m.%y")
_INCHIKEY = re.compile(r"[A-Z]{14}-[A-Z]{10}-[A-Z]")
_CAS = re.compile(r"\d{2,7}-\d{2}-\d")
_SMILES = re.compile(r"[A-Za-z0-9@+\-\[\]()=#/\\.%:*]{3,}")
_SPLIT = re.compile(r"\s*[;|]\s*")

# headers by target, folded to letters and digits; earlier ones win. English, German, French, Spanish, Portuguese, Dutch.
HEADERS: dict[str, tuple[str, ...]] = {
    "lab_reference": (
        "labreference", "labref", "labno", "labnumber", "labid", "caseno", "casenumber", "caseid", "sampleid", "sampleno",
        "samplenumber", "exhibit", "exhibitno", "exhibitid", "itemid", "reference", "referencenumber", "probennummer",
        "probennr", "labornummer", "aktenzeichen", "asservat", "numerodossier", "numeroechantillon", "referencia", "id",
    ),
    "date_sampled": (
        "datesampled", "sampledate", "sampledon", "dateofsample", "seizuredate", "dateseized", "dateofseizure", "collectiondate",
        "datecollected", "date", "deathdate", "dateofdeath",
        "probendatum", "sicherstellungsdatum", "datum", "datesaisie", "fecha",
        "data",
    ),
    "date_received": ("datereceived", "received", "receiveddate", "eingang", "eingangsdatum"),
    "date_analysed": ("dateanalysed", "dateanalyzed", "analysisdate", "analysed", "analysedatum", "datereported"),
    "country": ("country", "countrycode", "land", "pays", "pais", "iso2"),
    "subdivision": ("subdivision", "isosubdivision", "iso31662"),
    "context": ("context", "samplecontext", "origincontext", "typeofcase", "casetype", "kontext"),
    "context_detail": ("contextdetail", "submittedby", "submitter", "agency", "einsender"),
    "matrix": ("matrix", "specimen", "specimentype", "material", "matrice", "matriz"),
    "form": ("form", "physicalform", "sampleform", "appearance", "sampletype", "darreichungsform", "forme", "forma"),
    "sold_as": ("soldas", "expectedsubstance", "expected", "allegedcontent", "declaredas", "purchasedas", "verkauftals"),
    "quantity": ("quantity", "weight", "netweight", "weightg", "mass", "massg", "amount", "menge", "gewicht", "poids", "peso"),
    "smiles": ("smiles", "canonicalsmiles", "isomericsmiles", "structure"),
    "inchi": ("inchi", "stdinchi", "standardinchi"),
    "inchikey": ("inchikey", "stdinchikey"),
    "molfile": ("molfile", "molblock"),
    "cas": ("cas", "casno", "casnumber", "casrn", "casnr"),
    "name": (
        "substance", "substances", "name", "substancename", "drug", "drugs", "compound", "compounds", "detected", "analyte",
        "identifiedas", "found", "identified", "result", "results", "finding",
        "findings", "wirkstoff", "substanz", "stoff", "produit", "sustancia",
        "title", "substancia",
    ),
    "purity_percent": ("purity", "puritypercent", "puritypct", "content", "gehalt", "reinheit", "purete", "pureza"),
    "techniques": (
        "techniques", "technique", "method", "methods", "analysismethod", "instrument", "methode", "methoden", "metodo",
    ),
    "comment": ("comment", "comments", "remark", "remarks", "notes", "bemerkung", "bemerkungen", "note", "kommentar"),
}  # fmt: skip

# what old systems write for values of the vocabularies, folded like headers
CODES: dict[str, dict[str, str]] = {
    "form": {
        "pulver": "powder", "pwd": "powder", "pdr": "powder", "poudre": "powder", "polvo": "powder", "crystals": "crystal",
        "kristall": "crystal", "crystalline": "crystal", "tbl": "tablet", "tab": "tablet", "tabs": "tablet", "tablets": "tablet",
        "tablette": "tablet", "pill": "tablet", "pills": "tablet", "comprime": "tablet", "kapsel": "capsule", "cap": "capsule",
        "caps": "capsule", "capsules": "capsule", "liq": "liquid",
        "fluid": "liquid", "solution": "liquid", "flssigkeit": "liquid",
        "liquide": "liquid", "eliquid": "e_liquid", "vape": "e_liquid", "herbal": "herbal_sprayed", "kruter": "herbal_sprayed",
        "krautermischung": "herbal_sprayed", "papier": "infused_paper", "paper": "infused_paper", "trip": "blotter",
        "blotterpaper": "blotter", "spray": "nasal_spray", "gummy": "edible",
        "gummies": "edible", "food": "edible", "harz": "resin",
        "pflanze": "plant", "plantmaterial": "plant", "pflaster": "patch", "anhaftung": "residue", "other": "other",
        "sonstige": "other", "sonstiges": "other", "unbekannt": "unknown", "na": "unknown",
    },
    "context": {
        "police": "seizure", "customs": "seizure", "zoll": "seizure", "polizei": "seizure", "seized": "seizure",
        "sicherstellung": "seizure", "saisie": "seizure", "drugchecking": "collected", "testpurchase": "purchase",
        "online": "purchase", "postmortem": "biological", "toxicology": "biological", "clinical": "biological",
        "autopsy": "biological", "obduktion": "biological", "dui": "biological", "hospital": "biological",
    },
    "context_detail": {
        "zoll": "customs", "polizei": "police", "postmortem": "post_mortem", "autopsy": "post_mortem", "obduktion": "post_mortem",
        "hospital": "clinical", "dui": "impaired_driving",
        "drugdriving": "impaired_driving", "jva": "prison", "gefngnis": "prison",
        "mail": "postal", "post": "postal",
    },
    "matrix": {
        "blood": "blood_unspecified", "femoralblood": "blood_peripheral", "peripheralblood": "blood_peripheral",
        "heartblood": "blood_cardiac", "cardiacblood": "blood_cardiac", "blut": "blood_unspecified", "urin": "urine",
        "vitreoushumor": "vitreous", "saliva": "oral_fluid", "speichel": "oral_fluid", "haar": "hair", "dbs": "dried_blood_spot",
    },
    "techniques": {
        "gcms": "gc-ms", "gcmsei": "gc-ms", "gcmsms": "gc-msms", "lcms": "lc-ms", "lcmsms": "lc-msms", "lchrms": "lc-hrms",
        "lcqtof": "lc-qtof", "qtof": "lc-qtof", "qtofms": "lc-qtof", "lcqtofms": "lc-qtof", "orbitrap": "lc-orbitrap",
        "uplcqtof": "lc-qtof", "hplcdad": "lc-dad", "hplcuv": "lc-dad", "hplc": "lc", "ir": "ftir", "ftiratr": "ftir",
        "atrftir": "ftir", "infrared": "ftir", "ramanspectroscopy": "raman",
        "nmrspectroscopy": "nmr", "hnmr": "nmr", "1hnmr": "nmr",
        "xrpd": "xrd", "marquis": "colour_test", "colortest": "colour_test", "spottest": "colour_test", "immuno": "immunoassay",
        "elisa": "immunoassay", "dc": "tlc", "strip": "test_strip", "fts": "test_strip", "gcir": "gc-ftir",
    },
}  # fmt: skip
ALLOWED: dict[str, tuple[str, ...]] = {
    "form": v.FORMS,
    "context": tuple(v.CONTEXTS),
    "context_detail": tuple(sorted({detail for details in v.CONTEXTS.values() for detail in details})),
    "matrix": v.MATRICES,
    "techniques": tuple(sorted(v.TECHNIQUES | set(v.COMBINED))),
}


@dataclass(slots=True)
class Proposal:
    """A mapping as TOML with remarks, and what a person still has to decide, in sentences."""

    toml: str
    columns: dict[str, str]  # target -> column
    open_questions: list[str] = field(default_factory=list)


def _folded(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def suggest_mapping(rows: Iterable[Row], *, country: str = "XX") -> Proposal:
    """The proposal for a file, from its first rows. `country` stands where no column has one."""
    looked_at = [row.cells for row in islice((row for row in rows if row.error is None), LOOKED_AT)]
    if not looked_at:
        raise ValueError("the file has no row that can be read")
    columns = list(dict.fromkeys(name for cells in looked_at for name in cells))
    values = {name: [cells[name].strip() for cells in looked_at if cells.get(name, "").strip()] for name in columns}
    found = _targets(columns, values)
    return _written(found, values, country, len(looked_at))


def _share(values: Sequence[str], pattern: re.Pattern[str]) -> float:
    return sum(1 for value in values if pattern.fullmatch(value)) / len(values) if values else 0.0


def _targets(columns: Sequence[str], values: dict[str, list[str]]) -> dict[str, str]:
    """Which column answers which field: by what its cells look like where that is plain, else by its header."""
    found: dict[str, str] = {}
    for column in columns:
        for target, pattern in (("inchikey", _INCHIKEY), ("cas", _CAS)):
            if target not in found and _share(values[column], pattern) > 0.8:
                found[target] = column
        if values[column] and all(value.startswith("InChI=") for value in values[column]):
            found.setdefault("inchi", column)
    for target, headers in HEADERS.items():
        if target in found:
            continue
        free = [column for column in columns if column not in found.values()]
        named = {_folded(column): column for column in reversed(free)}
        match = next((named[header] for header in headers if header in named), None)
        if match is None:
            match = next((named[close] for h in headers[:8] for close in get_close_matches(h, named, n=1, cutoff=0.88)), None)
        if match is None and target == "lab_reference":
            match = next(
                (c for c in free if re.search(r"(no|nr|id|ref)$", _folded(c)) and len(set(values[c])) == len(values[c])), None
            )
        if match is None and target == "date_sampled":
            dated = [c for c in free if re.search("date|month|day|datum|fecha", _folded(c)) and values[c]]
            match = next((c for c in dated if _date_format(values[c]) is not None), None)
        if match is not None and _plausible(target, values[match]):
            found[target] = match
    return found


def _plausible(target: str, values: Sequence[str]) -> bool:
    if not values:
        return target in ("comment", "purity_percent")
    if target == "country":
        return sum(is_country(value) for value in values) / len(values) > 0.8
    if target == "smiles":
        return _share(values, _SMILES) > 0.8
    if target in ("quantity", "purity_percent"):
        return _share([value.replace(",", ".") for value in values], re.compile(r"\d+(\.\d+)?")) > 0.8
    if target.startswith("date"):
        return _date_format(values) is not None
    return True


def _date_format(values: Sequence[str]) -> str | None:
    """How days are written: empty for ISO 8601; None where no one way reads nearly all. Two equal readings give neither."""

    def readable(written: str) -> float:
        return sum(1 for value in values if _reads(value, written)) / len(values)

    if sum(1 for value in values if _is_iso(value)) / len(values) > 0.9:
        return ""
    fitting = [written for written in DATE_FORMATS if readable(written) > 0.9]
    return fitting[0] if fitting else None


def _is_iso(value: str) -> bool:
    try:
        partial_date(value)
    except ValueError:
        return False
    return True


def _reads(value: str, written: str) -> bool:
    try:
        datetime.strptime(value, written)  # noqa: DTZ007 - only whether it reads
    except ValueError:
        return False
    return True


def _code(target: str, value: str) -> str | None:
    """The vocabulary's value for what a file holds: the same, a known old code, or a near spelling."""
    allowed, folded = ALLOWED[target], _folded(value)
    for candidate in allowed:
        if _folded(candidate) == folded:
            return candidate
    if folded in CODES[target]:
        return CODES[target][folded]
    close = get_close_matches(folded, [_folded(a) for a in allowed], n=1, cutoff=0.85)
    return next((a for a in allowed if close and _folded(a) == close[0]), None)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _cell(column: str) -> str:
    return _text("{" + column + "}")


def _written(found: dict[str, str], values: dict[str, list[str]], country: str, rows: int) -> Proposal:
    questions: list[str] = []
    lines = [f"# Proposed from the headers and the first {rows} rows. Read it, mend it, then import with it."]
    written = _date_format(values[found["date_sampled"]]) if "date_sampled" in found else None
    if written:
        lines += ["[file]", f"date_format = {_text(written)}", ""]
        if written in ("%d/%m/%Y", "%m/%d/%Y") and all(_reads(x, "%m/%d/%Y") for x in values[found["date_sampled"]]):
            questions.append(f"Days such as {values[found['date_sampled']][0]!r} can be read in two ways; day first was taken.")
    lines.append("[report]")
    if "lab_reference" in found and len(set(values[found["lab_reference"]])) == len(values[found["lab_reference"]]):
        lines.append(f"lab_reference = {_cell(found['lab_reference'])}")
    else:
        why = f"{found['lab_reference']!r} repeats" if "lab_reference" in found else "no column of unique references was found"
        lines.append('lab_reference = "{rowhash}-{n}"  # ' + why + ": identical rows are counted")
    lines.append('tlp = "GREEN"')
    lines += [f"{t} = {_cell(found[t])}" for t in ("date_analysed", "comment") if t in found]
    lines += ["", "[sample]"]
    lines.append(f"country = {_cell(found['country']) if 'country' in found else _text(country)}")
    if "date_sampled" in found:
        lines.append(f"date_sampled = {_cell(found['date_sampled'])}")
    else:
        lines.append('date_sampled = "2026"  # no column of days was found: write the column in braces, or a year')
        questions.append("No column holds the day of the sample.")
    if "context" in found:
        lines.append(f"context = {_cell(found['context'])}")
    elif (context := _context_of(found, values)) is not None:
        lines.append(f'context = "{context}"')
    else:
        lines.append('context = "unknown"  # seizure, collected, purchase, biological, ...')
        questions.append("No column says where the samples come from: write the context.")
    lines += [
        f"{t} = {_cell(found[t])}"
        for t in ("context_detail", "matrix", "form", "sold_as", "subdivision", "date_received")
        if t in found
    ]
    if "quantity" in found:
        unit = next((u for u in ("kg", "mg", "g") if re.search(rf"(?:^|[^a-z]){u}\b", found["quantity"].lower())), "g")
        lines.append(f'quantity = {{ value = {_cell(found["quantity"])}, unit = "{unit}" }}')
        questions.append(f"Quantities were taken as {unit}.")
    lines += ["", "[[substances]]", *_substance(found, values, questions)]
    lines += _values(found, values, questions)
    if questions:
        lines[1:1] = ["#", *(f"# To decide: {question}" for question in questions)]
    return Proposal("\n".join(lines) + "\n", found, questions)


def _context_of(found: dict[str, str], values: dict[str, list[str]]) -> str | None:
    """The one context to which all details of the file belong."""
    details = {_code("context_detail", value) for value in values.get(found.get("context_detail", ""), [])}
    fitting = [context for context, allowed in v.CONTEXTS.items() if details and details <= set(allowed)]
    return fitting[0] if len(fitting) == 1 else None


def _substance(found: dict[str, str], values: dict[str, list[str]], questions: list[str]) -> list[str]:
    lines = []
    structure = next((t for t in ("molfile", "smiles", "inchi") if t in found), None)
    name = found.get("name")
    if structure is not None:
        lines.append(f"structure = {{ {structure} = {_cell(found[structure])} }}")
    if name is not None:
        several = sum(1 for value in values[name] if _SPLIT.search(value))
        if several and structure is None:
            by = Counter(c for value in values[name] for c in value if c in ";|").most_common(1)[0][0]
            lines += [f'split = {{ column = {_text(name)}, by = "{by}" }}', 'name = "{item}"']
        else:
            lines.append(f"name = {_cell(name)}")
    lines += [f"{t} = {_cell(found[t])}" for t in ("cas", "inchikey") if t in found]
    if not lines:
        lines.append('name = ""  # write the column that names the substance, in braces')
        questions.append("No column names a substance.")
    if "purity_percent" in found:
        lines.append(f"purity_percent = {_cell(found['purity_percent'])}")
    if "techniques" in found:
        lines.append(f'techniques = [{{ split = {_text(found["techniques"])}, by = "[;,+&]" }}]')
    else:
        lines.append("techniques = []  # without a technique every finding counts as screening")
        questions.append("No column names the technique.")
    return lines


def _values(found: dict[str, str], values: dict[str, list[str]], questions: list[str]) -> list[str]:
    lines: list[str] = []
    for target in ALLOWED:
        if target not in found:
            continue
        cells = values[found[target]]
        if target == "techniques":
            cells = [part.strip() for value in cells for part in re.split(r"[;,+&]", value) if part.strip()]
        codes = [(value, n, _code(target, value)) for value, n in Counter(cells).most_common(MOST_CODES)]
        changed = [(value, n, code) for value, n, code in codes if code != value]
        if not changed:
            continue
        lines += ["", f"[values.{target}]"]
        for value, n, code in changed:
            if code is None:
                lines.append(f'# {_text(value)} = ""  # {n} times; write one of: {", ".join(ALLOWED[target][:12])}, ...')
                questions.append(f"{target}: {value!r} ({n} times) is in no vocabulary.")
            else:
                lines.append(f'{_text(value)} = "{code}"')
    return lines
