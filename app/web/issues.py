"""Faults in a form: which field, which words. The same words stand in the summary and at the field."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """A fault with the field it belongs to. `href` leads elsewhere, where the mend is there."""

    field: str
    text: str
    href: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WithIssues:
    """What a page with a form shows of its faults."""

    issues: tuple[Issue, ...] = ()

    def problem(self, name: str) -> str | None:
        """The words at a field, None where it has no fault."""
        return next((issue.text for issue in self.issues if issue.field == name), None)
