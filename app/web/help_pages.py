"""Help pages from Markdown: shipped with the service, with its own address and today's date in the examples."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fastapi import APIRouter, Request
from markdown_it import MarkdownIt
from markupsafe import Markup, escape
from starlette.responses import Response

from app.auth.sessions import MaybeViewer
from app.context import Context
from app.intake import vocabularies as v
from app.problems import Problem
from app.web.frame import Crumb, build_frame
from app.web.templating import Page

router = APIRouter(include_in_schema=False)
FOLDER = Path(__file__).resolve().parents[1] / "help"
# in the order of the contents
PAGES = ("connect", "fields", "vocabularies", "confidence", "corrections", "imports", "industry", "operations")
_HEADING = re.compile(r"^# (.+)\n", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class HelpContext:
    """A page of help as HTML; without it the contents."""

    content: Markup | None
    contents: tuple[tuple[str, str], ...]
    current: str = ""


@lru_cache(maxsize=1)
def _markdown() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable("table")


@lru_cache(maxsize=16)
def source_of(name: str) -> str:
    """The Markdown of a page."""
    return _vocabulary_page() if name == "vocabularies" else (FOLDER / f"{name}.md").read_text(encoding="utf-8")


def title_of(name: str) -> str:
    match = _HEADING.match(source_of(name))
    assert match is not None
    return match[1]


def rendered(name: str, *, base_url: str, today: str) -> Markup:
    """The page without its heading as HTML. Raw HTML in the source is shown as text; wide tables scroll by themselves."""
    text = _HEADING.sub("", source_of(name), count=1).replace("{base_url}", base_url).replace("{today}", today)
    html = _markdown().render(text)
    html = re.sub(r"<h([23])>(.*?)</h\1>", lambda m: f'<h{m[1]} id="{_anchor(m[2])}">{m[2]}</h{m[1]}>', html)
    number = itertools.count(1)
    box = '<div class="table-wrap" role="region" tabindex="0" aria-label="Table {}"><table>'
    html = re.sub("<table>", lambda _: box.format(next(number)), html)
    html = html.replace("</table>", "</table></div>").replace("<th></th>", "<th>Needed or default</th>")
    html = html.replace("<pre><code>", '<pre tabindex="0"><code>')
    return Markup(html)  # noqa: S704 - made here from files of the service, without raw HTML


def _anchor(heading: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"<[^>]+>", "", heading).lower()).strip("-")


def _vocabulary_page() -> str:
    """Every list of values, from the very tables that check a report."""
    lines = [f"# The vocabularies\n\nVersion {v.VOCABULARY_VERSION}; as JSON at `GET /v1/vocabularies`. An absent field means "
             '"not asked"; `unknown` is a value.\n']  # fmt: skip
    for name, values in v.vocabularies().items():
        if name == "version":
            continue
        lines.append(f"\n## {name}\n")
        if isinstance(values, dict):
            lines += [f"- `{key}`: {', '.join(f'`{item}`' for item in items) or 'no detail'}" for key, items in values.items()]
        elif isinstance(values, list):
            lines.append(", ".join(f"`{item}`" for item in values))
    return "\n".join(lines) + "\n"


def _contents() -> tuple[tuple[str, str], ...]:
    return tuple((name, title_of(name)) for name in PAGES)


@router.get("/help")
def contents(request: Request, context: Context, viewer: MaybeViewer) -> Response:
    with context.database.read() as session:
        frame = build_frame(request, context, session, viewer, title="Help", crumbs=(Crumb(text="Overview", href="/"),))
    return Page("web/help.html", frame, HelpContext(content=None, contents=_contents()))


@router.get("/help/{name}")
def page(request: Request, context: Context, viewer: MaybeViewer, name: str) -> Response:
    if name not in PAGES:
        raise Problem("not-found", f"There is no help page {escape(name)}.")
    content = rendered(name, base_url=context.settings.base_url, today=context.now().date().isoformat())
    with context.database.read() as session:
        frame = build_frame(
            request, context, session, viewer, title=title_of(name),
            crumbs=(Crumb(text="Overview", href="/"), Crumb(text="Help", href="/help")),
        )  # fmt: skip
    return Page("web/help.html", frame, HelpContext(content=content, contents=_contents(), current=name))
