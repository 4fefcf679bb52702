"""Puts the pages into an application: headers, static files, every slice's pages, and problems as pages."""

from __future__ import annotations

from fastapi import FastAPI, Request
from starlette.responses import RedirectResponse, Response

from app.audit import pages as audit_pages
from app.auth import account_pages, admin_pages
from app.auth import pages as auth_pages
from app.auth.sessions import SignInNeeded
from app.countries import pages as country_pages
from app.curation import merge_pages as curation_merge_pages
from app.curation import pages as curation_pages
from app.dossiers import pages as dossier_pages
from app.explore import cases as explore_cases
from app.explore import pages as explore_pages
from app.explore import records as explore_records
from app.imports import pages as import_pages
from app.intake import form_pages
from app.intake import pages as intake_pages
from app.law import draft_pages
from app.law import pages as law_pages
from app.notifications import contact_pages, coverage_pages, link_pages, measure_pages, notice_pages, subscription_pages
from app.notifications import pages as alert_pages
from app.operations import pages as operations_pages
from app.packages import pages as package_pages
from app.priorities import compare as compare_pages
from app.priorities import families as family_pages
from app.priorities import pages as priority_pages
from app.problems import PageRenderer
from app.screening import pages as screening_pages
from app.substances import pages as substance_pages
from app.substances import signal_pages, structure_pages, suspects_pages
from app.uses import pages as use_pages
from app.web import charts, docs_page, help_pages, overview, problem_pages, static
from app.web.security import SecurityHeaders

ROUTERS = (
    static.router,
    problem_pages.router,
    docs_page.router,
    help_pages.router,
    auth_pages.router,
    account_pages.router,
    admin_pages.router,
    overview.router,
    substance_pages.router,
    compare_pages.router,
    family_pages.router,
    priority_pages.router,
    explore_pages.router,
    explore_records.router,
    explore_cases.router,
    dossier_pages.router,
    country_pages.router,
    package_pages.router,
    operations_pages.router,
    audit_pages.router,
    structure_pages.router,
    signal_pages.router,
    notice_pages.router,  # before the alerts: /alerts/new is also a /alerts/{id}
    alert_pages.router,
    subscription_pages.router,
    contact_pages.router,
    coverage_pages.router,
    measure_pages.router,
    use_pages.router,
    link_pages.router,
    form_pages.router,
    import_pages.router,
    curation_pages.router,
    curation_merge_pages.router,
    suspects_pages.router,
    intake_pages.router,
    screening_pages.router,
    law_pages.router,
    draft_pages.router,
)


def install(app: FastAPI, *, https: bool) -> PageRenderer:
    """Adds headers, static files and pages; gives the renderer for `app.problems.install(..., page=...)`."""
    static.manifest()  # read now, so that a missing file stops the start and no request
    charts.warm_up()
    for router in ROUTERS:
        app.include_router(router)
    app.add_middleware(SecurityHeaders, https=https)

    @app.exception_handler(SignInNeeded)
    def _sign_in(request: Request, error: SignInNeeded) -> Response:
        if request.headers.get("hx-request") == "true":
            return Response(status_code=401, headers={"HX-Redirect": error.address})
        return RedirectResponse(error.address, status_code=303)

    return problem_pages.render_problem
