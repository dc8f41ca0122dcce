"""The page on a profile: one HTML file that stands alone.

Nothing is fetched, and bars are one path each, so a table of a hundred columns is a page of less than 300 KB.
What it says is a template that notebooks (`fragments`) and the console show as well.
"""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from varv.data.profiling.verbs import Profiled
from varv.fronts.web.templating import asset, environment
from varv.kernel.blobs import write_atomically
from varv.kernel.faults import Faults


def write_profile(found: Profiled, path: Path) -> None:
    """Write the page to `path`, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, profile_page(found).encode(), Faults())


def profile_page(found: Profiled) -> str:
    """Return the page as one file."""
    style = Markup(asset("varv.css").decode())
    return environment().get_template("profile.html").render(found=found, style=style)
