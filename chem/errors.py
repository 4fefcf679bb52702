"""The few ways in which chemistry cannot give its answer."""

from __future__ import annotations

from enum import StrEnum


class StructureProblem(StrEnum):
    """Codes of the public contract for a structure that has no identity."""

    UNREADABLE = "structure-unreadable"
    EMPTY = "structure-empty"
    TOO_LARGE = "structure-too-large"
    UNDEFINED = "structure-undefined"
    TIMEOUT = "structure-timeout"

    @property
    def refused(self) -> bool:
        """True where a report with it is refused; the other two are kept as unresolved."""
        return self in (StructureProblem.UNREADABLE, StructureProblem.EMPTY, StructureProblem.TOO_LARGE)


class ChemError(Exception):
    """Base of the errors of this package."""


class StructureError(ChemError):
    """A structure that cannot be given an identity: `code` says which way, `detail` what and where."""

    def __init__(self, code: StructureProblem, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


class DataError(ChemError):
    """A shipped or loaded data file breaks its own rules: file, row (1-based, header is row 1) and reason."""

    def __init__(self, file: str, row: int | str, reason: str) -> None:
        super().__init__(file, row, reason)
        self.file = file
        self.row = row
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.file}, row {self.row}: {self.reason}"
