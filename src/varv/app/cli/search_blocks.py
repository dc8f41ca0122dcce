"""A search of policies as text: what each combination came to, what was chosen in time, and what to paste."""

from __future__ import annotations

from varv.app.cli.rendering import Block, Grid, Heading, Line
from varv.home.regret import price_text
from varv.home.tried import Searched
from varv.kernel.clock import iso
from varv.kernel.wording import limits, number
from varv.tasks import Loss


def search_blocks(found: Searched, loss: Loss) -> list[Block]:
    """Return what a search shows of a model."""
    digits = loss.digits + 1
    paid = "" if found.price is None else f", {price_text(found.price)} paid for each training"
    gains = f"saves on declared{paid} [95 %]"
    tried = [
        (
            one.name,
            number(one.loss, digits),
            str(one.n_trainings),
            f"{one.work / 1e6:,.1f} M",
            limits(one.gain, one.low, one.high, digits),
        )
        for one in sorted(found.tried, key=lambda one: -one.gain)
    ]
    cuts = [
        (
            iso(one.at)[:10],
            one.chosen,
            number(one.gain_before, digits),
            limits(one.gain, one.low, one.high, digits),
        )
        for one in found.cuts
    ]
    return [
        Heading(f"policies that were searched, on all of the past; {loss.label} a request"),
        Grid(("policy", loss.label, "trainings", "compute", gains), tried),
        Heading("chosen on what was before, judged on what came after"),
        Grid(("until", "chosen", "saved before", "saves after, on declared [95 %]"), cuts),
        *_verdict(found),
    ]


def _verdict(found: Searched) -> list[Block]:
    if found.chosen == found.tried[0].name:
        return [Line("the declared policy was the best before the last cut: keep it")]
    if not found.is_shown:
        line = f"{found.chosen} was chosen, and is not shown to be better afterwards: the interval holds zero"
        return [Line(line), Line("to try it all the same, paste:"), Line(found.paste)]
    return [Line(f"{found.chosen} was chosen, and was better afterwards too; paste:"), Line(found.paste)]
