"""Text before chemistry: what may reach the structure readers, and what a pasted text really is.

RDKit's SMILES reader forgives more than a legal screen can (everything after a blank is a name, a non-ASCII
letter at either end is dropped), so every text passes here first. No toolkit is imported. No message
repeats the text itself: it may be confidential; positions and code points are enough to find the fault.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from chem.errors import StructureError, StructureProblem
from chem.values import Remark, Structure, StructureFormat

MAX_CHARACTERS = {
    StructureFormat.SMILES: 4_000,
    StructureFormat.INCHI: 8_000,
    StructureFormat.MOLFILE: 200_000,
}

_BLANKS = frozenset("\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000")
_INVISIBLE = frozenset("\ufeff\u200b\u200c\u200d\u2060")
_LINE_ENDS = re.compile("\r\n|\r|\u0085|\u2028|\u2029")
_INCHIKEY = re.compile(r"^(InChIKey=)?[A-Z]{14}-[A-Z]{8}[SN][A-Z]-[A-Z]$")
_CAS = re.compile(r"^\d{2,7}-\d{2}-\d$")
_CX_TAIL = re.compile(r"^(\S+)[ ]+(\|.*\|)$")
_R_GROUP = re.compile(r"\[R\d*\]|\[R#\]")
_SMARTS = re.compile(r"\[[^\]]*[,;&!$#][^\]]*\]|\$\(")
_NAME = re.compile(r"^[A-Za-z0-9αβγΔδω][A-Za-z0-9αβγΔδω ,.'()\[\]+/-]*$")
_SMILES_WORDS = re.compile(r"Cl|Br|[BCNOPSFIbcnops]")
# What can be nothing but one SMILES without a tail: its characters only, among them a branch or a double bond.
_ORDINARY = re.compile(r"(?!(?i:inchi))(?=[^(=]*[(=])[A-Za-z0-9@+\-\[\]()=\\/.%#]+\Z")
# Short codes of substances that are valid SMILES by accident: a reader should be told, not refused.
_CODES_THAT_PARSE = frozenset({"PCP", "CBN", "CBC", "PCC", "BOB", "NBOC", "PCPI"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TidyText:
    """A text that may reach a reader, with a remark for every fold. `cx` is the CXSMILES tail, `|…|` or
    empty.
    """

    format: StructureFormat
    text: str
    cx: str
    remarks: tuple[Remark, ...]


def unreadable(detail: str) -> StructureError:
    """The refusal of a text, with what and where."""
    return StructureError(StructureProblem.UNREADABLE, detail)


def fold(text: str, remarks: list[Remark]) -> str:
    """The text in NFC with invisible characters removed and blanks and line ends made plain; each fold
    leaves a remark.
    """
    if text.isascii() and "\r" not in text:
        return text
    folded = unicodedata.normalize("NFC", text)
    if folded != text:
        remarks.append(Remark(code="text-folded", detail="The text was brought to Unicode form NFC."))
    if any(c in _INVISIBLE for c in folded):
        folded = "".join(c for c in folded if c not in _INVISIBLE)
        remarks.append(Remark(code="text-folded", detail="Invisible characters were removed."))
    if any(c in _BLANKS for c in folded):
        folded = "".join(" " if c in _BLANKS else c for c in folded)
        remarks.append(Remark(code="text-folded", detail="No-break or wide blanks were read as blanks."))
    plain = _LINE_ENDS.sub("\n", folded)
    if plain != folded:
        remarks.append(Remark(code="text-folded", detail="Line ends were read as line feeds."))
    return plain


def tidy(structure: Structure) -> TidyText:
    """The text of a structure field, ready for a reader.

    Raises: StructureError (unreadable, empty, too-large, undefined) that says what and where.
    """
    limit = MAX_CHARACTERS[structure.format]
    if len(structure.text) > limit:
        raise StructureError(
            StructureProblem.TOO_LARGE,
            f"{structure.format.value}: {len(structure.text)} characters, at most {limit} are read",
        )
    remarks: list[Remark] = []
    text = fold(structure.text, remarks)
    if not text.strip():
        raise StructureError(StructureProblem.EMPTY, f"{structure.format.value}: nothing but white space")
    if structure.format is StructureFormat.MOLFILE:
        return _tidy_molfile(text, remarks)
    trimmed = text.strip()
    if trimmed != text:
        remarks.append(Remark(code="text-folded", detail="White space around the text was removed."))
    refuse_foreign(trimmed, "\n\t")
    if structure.format is StructureFormat.INCHI:
        return _tidy_inchi(trimmed, remarks)
    return _tidy_smiles(trimmed, remarks)


def refuse_foreign(text: str, allowed: str = "") -> None:
    """Refuses any character outside printable ASCII, naming code point and position (counted from 1)."""
    if text.isascii() and text.isprintable():
        return
    for position, character in enumerate(text, start=1):
        if not " " <= character <= "~" and character not in allowed:
            name = unicodedata.name(character, "no name")
            raise unreadable(f"character {position} is U+{ord(character):04X} ({name}); only printable ASCII is read")


def _tidy_smiles(text: str, remarks: list[Remark]) -> TidyText:
    if _ORDINARY.match(text) and not ("[" in text and ("#" in text or "[R" in text)):
        return TidyText(format=StructureFormat.SMILES, text=text, cx="", remarks=tuple(remarks))
    refuse_other_kinds(text, StructureFormat.SMILES)
    cx = ""
    if re.search(r"\s", text):
        tail = _CX_TAIL.match(text)
        if tail is None or "\n" in text or "\t" in text:
            position = re.search(r"\s", text)
            where = position.start() + 1 if position else 0
            raise unreadable(
                f"SMILES: white space at character {where}: line break or name inside the SMILES; "
                "only a CXSMILES tail |…| may follow a blank"
            )
        text, cx = tail.group(1), tail.group(2)
    elif "|" in text:
        raise unreadable("SMILES: a CXSMILES tail |…| must follow the SMILES after one blank")
    if text in _CODES_THAT_PARSE:
        remarks.append(Remark(code="may-be-a-name", detail="The text is also a common short name; it was read as SMILES."))
    return TidyText(format=StructureFormat.SMILES, text=text, cx=cx, remarks=tuple(remarks))


def _tidy_inchi(text: str, remarks: list[Remark]) -> TidyText:
    lines = text.split("\n")
    first = lines[0].rstrip()
    if not first.startswith("InChI="):
        refuse_other_kinds(text, StructureFormat.INCHI)
        raise unreadable('InChI: the text must start with "InChI=", in this case')
    if re.search(r"\s", first):
        where = re.search(r"\s", first)
        raise unreadable(f"InChI: white space at character {where.start() + 1 if where else 0}; nothing may follow")
    for line in (line.strip() for line in lines[1:]):
        if line.startswith("AuxInfo="):
            remarks.append(Remark(code="auxinfo-ignored", detail="The AuxInfo line was not used."))
        elif line:
            raise unreadable("InChI: text follows on another line; one InChI is read")
    if not first.startswith("InChI=1S/"):
        remarks.append(Remark(code="non-standard-inchi", detail="Not a standard InChI; its standard form was computed."))
    return TidyText(format=StructureFormat.INCHI, text=first, cx="", remarks=tuple(remarks))


def _tidy_molfile(text: str, remarks: list[Remark]) -> TidyText:
    record, _, rest = text.partition("$$$$")
    if rest.strip():
        remarks.append(Remark(code="first-record-only", detail="Only the first record of the file was read."))
    lines = record.split("\n")
    if not any("V2000" in line or "V3000" in line for line in lines[:8]):
        refuse_other_kinds(text.strip(), StructureFormat.MOLFILE)
        raise unreadable("molfile: line 4 must be a counts line with V2000 or V3000")
    for number, line in enumerate(lines[:3]):
        if any(not " " <= c <= "~" for c in line):
            # Free text that carries no structure; a name in another script must not cost the report.
            lines[number] = "".join(c if " " <= c <= "~" else "?" for c in line)
            remarks.append(Remark(code="text-folded", detail="Letters of the molfile header were replaced."))
    end = next((i for i, line in enumerate(lines) if line.startswith("M  END")), None)
    if end is None:
        raise unreadable('molfile: no line "M  END"; the file is cut off')
    for number, line in enumerate(lines[: end + 1], start=1):
        for column, character in enumerate(line, start=1):
            if not " " <= character <= "~":
                raise unreadable(
                    f"molfile: line {number}, column {column} is U+{ord(character):04X}; only printable ASCII is read"
                )
    block = "\n".join(lines[: end + 1]) + "\n"
    return TidyText(format=StructureFormat.MOLFILE, text=block, cx="", remarks=tuple(remarks))


def refuse_other_kinds(text: str, wanted: StructureFormat) -> None:
    """Refuses what is plainly something else than `wanted`, and names the field it belongs in."""
    what = wanted.value
    if _INCHIKEY.match(text):
        raise unreadable(f"{what}: this is an InChIKey, a hash of a structure; give it in the field inchikey")
    if _CAS.match(text):
        raise unreadable(f"{what}: this is a CAS number; give it in the field cas")
    if wanted is not StructureFormat.INCHI and text.lower().startswith("inchi="):
        raise unreadable(f"{what}: this is an InChI; give it in the field inchi")
    if wanted is not StructureFormat.MOLFILE and "M  END" in text:
        raise unreadable(f"{what}: this is a molfile; give it in the field molfile")
    if wanted is StructureFormat.INCHI:
        return
    body = text.split(" |", 1)[0]
    if ">" in body.replace("->", ""):
        raise unreadable(f"{what}: this is a reaction; one substance is read")
    found = _R_GROUP.search(body)
    if found:
        raise StructureError(
            StructureProblem.UNDEFINED,
            f"{what}: an R group at character {found.start() + 1}; a structure with open places names no substance",
        )
    found = _SMARTS.search(body)
    if found:
        raise unreadable(f"{what}: a SMARTS pattern at character {found.start() + 1}; a query names no single substance")


def detect_format(text: str) -> StructureFormat:
    """Which format a pasted text has: molfile, InChI, else SMILES.

    Raises: StructureError for an InChIKey, a CAS number, a name, a reaction, a SMARTS or an R group, with
    the field where one exists. A text that merely might be SMILES is not parsed here.
    """
    remarks: list[Remark] = []
    folded = fold(text, remarks)
    stripped = folded.strip()
    if not stripped:
        raise StructureError(StructureProblem.EMPTY, "nothing but white space")
    if "\n" in stripped and ("V2000" in folded or "V3000" in folded):
        return StructureFormat.MOLFILE
    if stripped.startswith("InChI="):
        return StructureFormat.INCHI
    refuse_other_kinds(stripped, StructureFormat.SMILES)
    if looks_like_name(stripped):
        raise unreadable("structure: this looks like a name; give it in the field name")
    return StructureFormat.SMILES


def looks_like_name(text: str) -> bool:
    """True for words that cannot be SMILES: letters outside the organic subset, or blanks between words."""
    if not _NAME.match(text) or "|" in text:
        return False
    bare = re.sub(r"\[[^\]]*\]", "", text)
    letters = re.sub(r"[^A-Za-z]", "", _SMILES_WORDS.sub("", bare))
    return bool(letters)


def smiles_fault(text: str) -> str | None:
    """What is wrong with the grammar of a SMILES and where, or None where a scan finds nothing."""
    depth: list[int] = []
    rings: dict[str, int] = {}
    position = 0
    while position < len(text):
        character = text[position]
        if character == "[":
            close = text.find("]", position)
            if close < 0:
                return f"the bracket at character {position + 1} is not closed"
            position = close + 1
            continue
        if character == "]":
            return f"character {position + 1} closes a bracket that is not open"
        if character == "(":
            depth.append(position)
        elif character == ")":
            if not depth:
                return f"character {position + 1} closes a branch that is not open"
            depth.pop()
        elif character == "%" or character.isdigit():
            label = text[position + 1 : position + 3] if character == "%" else character
            step = 3 if character == "%" else 1
            if not label.isdigit() or len(label) != max(1, step - 1):
                return f"the ring number at character {position + 1} is cut off"
            if label in rings:
                del rings[label]
            else:
                rings[label] = position
            position += step
            continue
        elif character not in "BCNOPSFIbcnopsHlr-=#:$/\\.*~<>@+":
            return f"character {position + 1} has no meaning in SMILES"
        position += 1
    if depth:
        return f"the branch at character {depth[-1] + 1} is not closed"
    if rings:
        label, where = next(iter(rings.items()))
        return f"ring {label} opened at character {where + 1} is not closed"
    return None
