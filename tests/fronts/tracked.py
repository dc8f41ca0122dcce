"""A small home with runs whose every name and text is markup, for pages to show; and its console."""

from __future__ import annotations

import math
import struct
import zlib

from starlette.applications import Starlette
from tests.runs.conftest import TrackedHome

from varv.app.compose import open_views
from varv.fronts.web.console import create_console
from varv.runs.artifacts import keep
from varv.runs.model import DatasetInput, InputTag

HOSTILE = "<img src=x onerror=\"alert('ö')\">&{{7*7}}"
KEYED = "b/x-y z"
"""What names of parameters and metrics may be: markup may not."""
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


class Tracked:
    """A home with an experiment of runs: `runs` are their ids."""

    def __init__(self, folder):
        self.home = TrackedHome(folder)
        tracking = self.home.tracking
        self.experiment = self.home.do(
            tracking.experiments.create(HOSTILE, tags={"mlflow.note.content": HOSTILE})
        )
        self.runs = [self._run(number) for number in range(4)]
        self.home.do(self.home.desk.models.create(f"{HOSTILE.replace('/', '')}", description=HOSTILE))

    def _run(self, number):
        run = self.home.begin(
            self.experiment,
            name=f"{HOSTILE}/{number}",
            user=HOSTILE,
            started_ms=1000 * number,
            tags={KEYED: HOSTILE, "mlflow.note.content": HOSTILE, "mlflow.source.name": HOSTILE},
        )
        points = [
            ("loss", math.nan if step == 3 else 1 / (1 + step + number), 1000 + step, step)
            for step in range(9)
        ]
        points += [(KEYED, float(number), 1000), ("system/cpu", 50.0, 1000), ("system/cpu", 60.0, 1001, 1)]
        self.home.log(
            run, *points, params={"depth": str(number), "kind": HOSTILE, KEYED: f"{HOSTILE}{number % 2}"}
        )
        data = DatasetInput(
            name=HOSTILE,
            digest=HOSTILE[:30],
            source_type=HOSTILE,
            source=HOSTILE,
            tags=(InputTag("mlflow.data.context", HOSTILE),),
        )
        self.home.do(self.home.tracking.link(run, datasets=[data]))
        for path, content in files(number).items():
            digest = self.home.tracking.blobs.put(content)
            self.home.do(keep(f"runs/{run}", path, digest, len(content)))
        if number:
            self.home.do(self.home.tracking.update_run(run, status="FINISHED", ended_ms=5000 + 1000 * number))
        return run

    def console(self, **options) -> Starlette:
        views = open_views(self.home.ledger)
        return create_console(views, self.home.ledger, tracked=self.home.desk.runs_read(), **options)

    def pages(self):
        """Return the addresses of all pages of runs."""
        one, other = self.runs[:2]
        both = f"/compare?runs={one}&runs={other}"
        artifact = f"/runs/{one}/artifacts"
        return [
            "/experiments",
            "/experiments?deleted=1&name=%25",
            f"/experiments/{self.experiment}",
            f"/experiments/{self.experiment}?group=folder&values=max",
            f"/experiments/{self.experiment}?group=params.kind&order=max(metrics.loss)%20desc&where=params.depth='1'",
            f"/runs/{one}",
            f"/runs/{other}?metric=loss&axis=wall&smooth=0.5&log=1",
            artifact,
            *(
                f"{artifact}?path={path}"
                for path in ("text.txt", "rows.csv", "table.json", "plot.png", "bad.svg")
            ),
            "/compare",
            both,
            f"{both}&all=1&axis=relative&file=text.txt&x=params.b/x-y%20z&y=metrics.loss",
            f"/compare?runs={','.join(self.runs)}&group=params.{KEYED}",
            "/models",
        ]


def files(number):
    """Return artifacts of all kinds that a page shows, or must not show."""
    return {
        "text.txt": f"{HOSTILE}\nline {number}\n".encode(),
        "rows.csv": f"a,<b>\n1,'{HOSTILE.replace(chr(34), '')}'\n".encode(),
        "table.json": b'{"columns": ["<b>"], "data": [["<script>x</script>"]]}',
        "plot.png": png(),
        "bad.svg": SVG,
        f"deep/{HOSTILE.replace('/', '').replace('#', '')}": b"\x00\x01",
    }


def png() -> bytes:
    """Return a picture of one dot."""
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0\1\2\3")),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
