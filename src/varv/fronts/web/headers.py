"""The headers of pages, by which browsers keep them apart from everything else."""

from __future__ import annotations

POLICY = "Content-Security-Policy"
HEADERS = {
    POLICY: "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}

REPORT_HEADERS = {
    **HEADERS,
    POLICY: "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
}
"""A report brings its style with it."""

SCRIPTED = "script-src 'self'; connect-src 'self'; "
"""What the policy of a page with a script says more."""

PICTURE_HEADERS = {**HEADERS, POLICY: "sandbox; default-src 'none'"}
"""Of a picture that somebody has uploaded, whatever else it may be."""
