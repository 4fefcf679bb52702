"""Alerts as words and as JSON. Pure.

Headline, short and summary are written from country, month, substance, seriousness and count alone, and each says whether the
substance is controlled. The words are those of the desk: no dose, no potency, no purity, no place below the country, no blame,
never "legal". A substance that is not identified yet is not named: the label that a laboratory wrote may hold anything.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import cache
from typing import Any

import pycountry

from alerts.values import AlertView, Level, Signal, SubstanceFacts, Texts

SHORT_LIMIT = 160
HEADLINE_LIMIT = 160
BODY_LIMIT = 20 * 1024

_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
)  # fmt: skip

_CONTROL = {
    "controlled": "Controlled.",
    "possibly_controlled": "Possibly controlled.",
    "not_controlled": "No control match.",
    "unresolved": "Control not assessed.",
}
_CONTROL_LONG = {
    "controlled": "The substance is controlled under an instrument that applies here.",
    "possibly_controlled": "The substance is possibly controlled: what would decide is on its page.",
    "not_controlled": "No match in what is covered: the UN conventions and the instruments on file of the country.",
    "unresolved": "Whether it is controlled has not been assessed, as no structure is known.",
}
_CONTROL_UN = _CONTROL_LONG | {
    "controlled": "The substance is controlled under the UN conventions.",
    "possibly_controlled": "The substance is possibly controlled under the UN conventions: what would decide is on its page.",
    "not_controlled": "No match in the UN conventions; the law of single countries stands on its page.",
}
_EVENT = {
    "death": "a death",
    "life_threatening": "a life-threatening harm event",
    "intensive_care": "a harm event treated in intensive care",
}
_LEGAL_NOTE = "Information, not legal advice; the official text prevails."
_CONFIDENCE = {
    "confirmed": "The identification is confirmed.",
    "probable": "The identification is probable: a reference standard or a second technique would confirm it.",
    "tentative": "The identification is tentative: other substances could give the same result.",
    "screening": "The identification is a screening result only.",
}
_HELP = "After use and any sign of harm: call the emergency number or the poison centre of the country."

_INSTRUCTION_FIRST = (
    "Laboratories: look for the substance in current and recent samples, and report what is found. "
    "Authorities: tell laboratories, poison centres and health services in the country as the label allows."
)
_INSTRUCTION_HARM = (
    "Health services: consider this substance in similar presentations and send samples for analysis. "
    "Authorities: acknowledge, look for further events, and decide on a public-health announcement."
)


_UNKNOWN_HARM = "What is not known: the part of the substance beyond what was reported, and whether there are more such events."
_UNKNOWN = "What is not known: how widely the substance is used, and what harm it does. Counts reflect who tested what."

_GROUPS = {
    "aminoindane": "aminoindanes",
    "phencyclidine_type": "phencyclidine-type substances",
    "phenethylamine": "phenethylamines",
    "piperazine": "piperazines",
    "plant_based": "plant-based substances",
    "synthetic_cannabinoid": "synthetic cannabinoids",
    "semi_synthetic_cannabinoid": "semi-synthetic cannabinoids",
    "synthetic_cathinone": "synthetic cathinones",
    "tryptamine": "tryptamines",
    "benzodiazepine_type": "benzodiazepine-type substances",
    "fentanyl_analogue": "fentanyls",
    "nitazene": "nitazenes",
    "other_opioid": "other opioids",
}


@cache
def country_name(code: str) -> str:
    """The usual English name of an ISO 3166-1 alpha-2 country; the code itself where it is not assigned."""
    found = pycountry.countries.get(alpha_2=code)
    return code if found is None else str(getattr(found, "common_name", found.name))


def month_name(month: str) -> str:
    """`2026-11` as "November 2026"."""
    year, _, number = month.partition("-")
    return f"{_MONTHS[int(number) - 1]} {year}" if number else year


def control_of(substance: SubstanceFacts | None) -> str:
    """The legal status that the texts speak of; `unresolved` without a substance."""
    return control_of_status(substance.legal_status if substance is not None else None)


def control_of_status(status: str | None) -> str:
    """The status where the texts have words for it, else `unresolved`."""
    return status if status in _CONTROL else "unresolved"


def one_line(text: str, limit: int) -> str:
    """The text on one line without control characters, cut with an ellipsis where it is longer than `limit` characters."""
    clean = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return clean if len(clean) <= limit else clean[: limit - 1].rstrip() + "…"


def texts_of(signal: Signal, *, count: int = 1) -> Texts:
    """The words of a signal raised by a report. `count` is the number of reports or events it now rests on."""
    country, month = country_name(signal.country), month_name(signal.month)
    name = signal.substance.name if signal.substance is not None else "a substance not yet identified"
    status = control_of(signal.substance) if signal.legal_status is None else control_of_status(signal.legal_status)
    pattern = _pattern(signal, country, month)

    def say(limit: int) -> str:
        """The statement with the substance's name cut so that the whole fits."""
        return one_line(pattern.replace("{}", one_line(name, max(24, limit - len(pattern) + 2))), limit)

    headline = say(HEADLINE_LIMIT)
    short = f"{say(SHORT_LIMIT - len(_CONTROL[status]) - 2)}. {_CONTROL[status]}"
    counted = f"It rests on {count} report{'s' if count != 1 else ''}."
    summary = f"{say(400)}. {counted} {_CONTROL_LONG[status]} {_LEGAL_NOTE}"
    form = f" It came as: {signal.form.replace('_', ' ')}." if signal.form is not None else ""
    unknown = _UNKNOWN_HARM if signal.type in ("serious_harm", "cluster") else _UNKNOWN
    if signal.type == "spike":
        form = " Not adjusted for tests done."
    full = "\n\n".join(
        (
            f"{say(600)}. {counted}{form}",
            _CONFIDENCE.get(signal.confidence, "The confidence of the identification is not known."),
            f"{_CONTROL_LONG[status]} {_LEGAL_NOTE}",
            unknown,
            _HELP,
            "Source: a laboratory reporting to this service. An update follows when evidence is added, corrected or withdrawn.",
        )
    )
    instruction = _INSTRUCTION_HARM if signal.type in ("serious_harm", "misrepresentation", "cluster") else _INSTRUCTION_FIRST
    return Texts(headline=headline, short=short, summary=summary, full=full, instruction=instruction)


def manual_texts(
    headline: str, short: str | None, summary: str, full: str | None, instruction: str | None, status: str, *, place: bool
) -> Texts:
    """The words of a person's notice. `short` and `summary` also say whether the substance is controlled: in the country of the
    notice where it has one (`place`), else under the UN conventions.
    """
    control = "" if status == "unresolved" else f" {_CONTROL[status]}"
    line = one_line(short or headline, SHORT_LIMIT - len(control)).rstrip(".")
    return Texts(
        headline=one_line(headline, HEADLINE_LIMIT),
        short=f"{line}.{control}" if control else one_line(short or headline, SHORT_LIMIT),
        summary=f"{paragraphs(summary)} {(_CONTROL_LONG if place else _CONTROL_UN)[status]}" if control else paragraphs(summary),
        full=paragraphs(full or summary),
        instruction=paragraphs(instruction or "Read, and pass on as the label allows."),
    )


def import_texts(count: int, places: Sequence[str], first: date, last: date) -> Texts:
    """The words of a notice that earlier data came in. No place is named where they are from several countries."""
    where = f" from {country_name(places[0])}" if places else ""
    span = month_name(f"{first:%Y-%m}")
    if (first.year, first.month) != (last.year, last.month):
        span = f"{span} to {month_name(f'{last:%Y-%m}')}"
    line = one_line(f"Earlier data: {count:,} report{'s' if count != 1 else ''}{where}, {span}", HEADLINE_LIMIT)
    told = f"{line}. They are counted, and are known from now on when it is asked what is new. They raise no alerts of their own."
    return Texts(
        headline=line,
        short=one_line(f"{line}.", SHORT_LIMIT),
        summary=told,
        full=f"{told}\n\nSource: a laboratory reporting to this service.",
        instruction="Reviewers and authorities: series and first dates may have changed.",
    )


_MEASURES = {"provisional_control": "provisional control", "permanent_control": "control"}


def measure_texts(substance: str, kind: str, country: str, begins: date, until: date | None) -> Texts:
    """The words of a measure that controls a substance in a country from a day on."""
    what, place = _MEASURES[kind], country_name(country)
    span = f"from {_day(begins)}" + (f" until {_day(until)}" if until is not None else "")
    line = f"{one_line(substance, 60)}: {what} in {place} {span}"
    told = f"{one_line(substance, 300)}: {what} in {place} {span}. Controlled there. {_LEGAL_NOTE}"
    return Texts(
        headline=one_line(line, HEADLINE_LIMIT),
        short=f"{one_line(line, SHORT_LIMIT - 20)}. Controlled there.",
        summary=told,
        full=f"{told}\n\nSource: the authority of {place}. The legal basis is in the register of measures.",
        instruction="Laboratories and partners: note the change of status. Authorities: consider measures of your own.",
    )


def edition_texts(
    substance: str, instrument: str, provisions: Sequence[str], *, status: str, begins: date, future: bool, source: str
) -> Texts:
    """The words of a new edition of an instrument that changes what a substance is under it. `status` is the new one."""
    verb = {"controlled": "controlled", "possibly_controlled": "possibly controlled"}.get(status, "no longer controlled")
    change = f"{'will be ' if future else ''}{verb} under {instrument} from {_day(begins)}"
    name = one_line(substance, HEADLINE_LIMIT - len(change) - 2)
    under = f" It stands under: {'; '.join(one_line(text, 200) for text in provisions[:5])}." if provisions else ""
    told = f"{one_line(substance, 300)}: {change}.{under} {_LEGAL_NOTE}"
    return Texts(
        headline=f"{name}: {change}",
        short=f"{one_line(substance, SHORT_LIMIT - len(change) - 3)}: {change}.",
        summary=told,
        full=f"{told}\n\nSource: {one_line(source, 500)}.",
        instruction="Laboratories and partners: note the change of status. Authorities: consider measures of your own.",
    )


def _day(day: date) -> str:
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def paragraphs(text: str) -> str:
    """The text without control characters but for line ends."""
    return "".join(c for c in text.replace("\r\n", "\n") if c == "\n" or c.isprintable()).strip()


def _pattern(signal: Signal, country: str, month: str) -> str:
    """The statement of a signal, with `{}` where the substance's name goes."""
    other = one_line(signal.other or "", 60).replace("{}", "")
    match signal.type:
        case "serious_harm":
            event = _EVENT[signal.seriousness or "death"]
            return f"{event[0].upper()}{event[1:]} in which {{}} was detected: {country}, {month}"
        case "first_global":
            return f"{{}}: first report in the world in this service (detected in {country}), {month}"
        case "first_region":
            return f"{{}}: first report in {signal.region or country} in this service (detected in {country}), {month}"
        case "first_country":
            return f"{{}}: first report in {country} in this service, {month}"
        case "re_emergence":
            return f"{{}}: detected again in {country} after at least 12 months without a detection, {month}"
        case "misrepresentation":
            return f"Sold as {other}, found to hold {{}}: {country}, {month}"
        case "adulterant":
            return f"{{}}: first detected together with {_GROUPS.get(other, other)} in {country}, {month}"
        case "new_form_or_route" if signal.numbers.get("what") == "route":
            return f"{{}}: first report of another route of use in {signal.region or country} (from {country}), {month}"
        case "analytical":
            return f"Isomers that two laboratories could not tell apart: {other} ({country}, {month})"
        case "new_form_or_route":
            return f"{{}}: first report in this form in {signal.region or country} (detected in {country}), {month}"
        case "high_potency":
            return f"{{}}: a content above what was usual so far, {country}, {month}"
        case "rapid_spread":
            return f"{{}}: reported from a third new country within 90 days, last from {country}, {month}"
        case "spike":
            lone = ", one laboratory" if signal.numbers.get("laboratories") == 1 else ""
            return f"{{}}: more detections than expected in {country}{lone}, {month}"
        case "cluster":
            return f"Several serious harm events in which {{}} was detected: {country}, {month}"
        case _:
            return f"{{}}: {signal.type.replace('_', ' ')} in {country}, {month}"


def retracted_texts(texts: Texts, reason: str) -> Texts:
    """The words of a retraction: the correction comes first, in the same places. `reason` is one of the service's own
    sentences.
    """
    return Texts(
        headline=one_line(f"Retracted: {texts.headline}", HEADLINE_LIMIT),
        short=one_line(f"Retracted: {texts.short}", SHORT_LIMIT),
        summary=f"Retracted. {reason} The earlier text was: {texts.summary}",
        full=f"Retracted. {reason}\n\nThe earlier text was:\n\n{texts.full}",
        instruction="Disregard the earlier revisions of this alert, and tell those to whom it was passed on.",
    )


def iso(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds and Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def alert_document(view: AlertView) -> dict[str, Any]:
    """The alert JSON of the contract, with exactly its keys; a thin one has the withheld keys null and `withheld: true`."""
    thin = view.withheld
    document: dict[str, Any] = {
        "id": view.id,
        "type": view.type,
        "level": view.level,
        "level_name": Level(view.level).label,
        "state": view.state,
        "reviewed": view.reviewed,
        "controlled": view.controlled,
        "headline": None if thin else view.texts.headline,
        "short": None if thin else view.texts.short,
        "summary": None if thin else view.texts.summary,
        "full": None if thin else view.texts.full,
        "instruction": None if thin else view.texts.instruction,
        "rule": None if thin else {"id": view.rule, "numbers": view.numbers},
        "substance": None if thin else view.substance,
        "evidence": None if thin else list(view.evidence),
        "countries": None if thin else list(view.countries),
        "tlp": view.tlp,
        "issued_at": None if view.issued_at is None else iso(view.issued_at),
        "revision": view.revision,
        "references": list(view.references),
        "acknowledgements": None if thin else list(view.acknowledgements),
    }
    if thin:
        document["withheld"] = True
    return document


def webhook_body(kind: str, at: datetime, data: dict[str, Any]) -> bytes:
    """The bytes of a webhook: `type`, `timestamp`, `data`, in UTF-8. Under 20 KiB: evidence and acknowledgements, oldest first,
    give way.

    What was left out is counted in `data.omitted`; the alert itself, read from the service, has all of it.
    """
    body = _dump({"type": kind, "timestamp": iso(at), "data": data})
    if len(body) < BODY_LIMIT:
        return body
    data = dict(data)
    omitted = {"evidence": 0, "acknowledgements": 0, "references": 0}
    while len(body) >= BODY_LIMIT:
        longest = max(omitted, key=lambda name: len(_dump(data[name] or [])))
        if not data[longest]:
            data["full"] = one_line(data["full"] or "", 4000)
            data["substance"] = {k: v for k, v in (data["substance"] or {}).items() if k in ("id", "name", "inchikey")}
            return _dump({"type": kind, "timestamp": iso(at), "data": data | {"omitted": omitted}})
        half = (len(data[longest]) + 1) // 2
        omitted[longest] += half
        data[longest] = data[longest][half:]
        body = _dump({"type": kind, "timestamp": iso(at), "data": data | {"omitted": omitted}})
    return body


def _dump(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
