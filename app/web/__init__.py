"""The page frame: base context, templates, static files, security headers, forms, charts and the words they share.

`app.web.wiring.install` puts all of it and the pages of the slices into an application. Slices import the modules
of this package; this package's `wiring` imports the slices' `pages`; nothing else here does.
"""
