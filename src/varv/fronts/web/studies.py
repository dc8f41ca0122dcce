"""A study as one page that stands alone: values by trial, the best so far, and what the value depends on.

As with the report of a replay, style and pictures are inside the file, and nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from varv.fronts.web.charts import Curve, plane_chart
from varv.fronts.web.templating import asset
from varv.kernel.wording import number, percent

_PAGE = Markup("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{name}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>{style}</style></head><body><main><h1>Study {name}</h1><p>{said}</p>{chart}
<h2>What the value depends on</h2>{shares}</main></body></html>
""")
_ROW = Markup("<tr><th>{}</th><td>{}</td></tr>")


def study_page(
    name: str,
    *,
    direction: str,
    values: Sequence[tuple[int, float]],
    history: Sequence[float | None],
    importance: Mapping[str, float],
) -> str:
    """Return the page.

    Parameters
    ----------
    values
        Of the complete trials, by number.
    history
        The best value up to each trial.
    importance
        The share of the variance of values that each parameter explains, from 0 to 1.
    """
    best = [(float(trial), value) for trial, value in enumerate(history) if value is not None]
    said = "No trial is complete yet."
    if best:
        best_value = number(best[-1][1], 5)
        said = f"{len(values)} trials are complete; the best value is {best_value} ({direction}d)."
    chart = plane_chart(
        "Values by trial",
        [
            Curve("best so far", best),
            Curve("value", [(float(trial), value) for trial, value in values], style="two"),
        ],
        [],
        description=said,
    )
    rows = Markup("").join(_ROW.format(one, percent(share)) for one, share in importance.items())
    shares = Markup("<table>{}</table>").format(rows) if rows else Markup("<p>Too few trials say so.</p>")
    style = Markup(asset("varv.css").decode())
    return str(_PAGE.format(name=name, style=style, said=said, chart=chart, shares=shares))
