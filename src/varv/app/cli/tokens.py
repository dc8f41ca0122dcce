"""`varv token`: a client of the data plane gets a token, of which only the digest is declared."""

from __future__ import annotations

import argparse

from varv.app.cli.access import answer
from varv.app.cli.rendering import Block, Line
from varv.app.settings import Loaded
from varv.fronts.access.clients import digest_of, new_token
from varv.kernel.ids import checked_name


def token(options: argparse.Namespace, loaded: Loaded) -> int:
    """Make a token, and show it this once."""
    name, made = checked_name("client", options.client), new_token()
    lines = (f"[clients.{name}]", f'token = "{digest_of(made.encode())}"')

    def blocks() -> list[Block]:
        return [
            Line("the token, which is not shown again:"),
            Line(f"  {made}"),
            Line(f"lines for {loaded.file}:"),
            *(Line(f"  {line}") for line in lines),
            Line("next: varv apply, if varv up runs"),
        ]

    answer(options, {"client": name, "token": made, "lines": list(lines)}, blocks)
    return 0
