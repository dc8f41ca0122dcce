"""A live home publishes datasets that are declared so: on the beat, and what models are trained on."""

from __future__ import annotations

import polars as pl
import pytest
from tests.home.live_home import REQUEST, LiveHome
from tests.loop.synthetic import declared

from varv.data.versions import table_of
from varv.home.publishing import AGAIN_AFTER
from varv.kernel.clock import MINUTE

EVERY = 15 * MINUTE


@pytest.mark.slow
def test_a_dataset_is_published_on_its_beat_and_before_it_is_trained_on(lived, tmp_path, caplog):
    lived(tmp_path).close()
    model = declared().models[0]
    model.requests.publish_every = EVERY
    home = LiveHome(tmp_path, model, capture="two")
    datasets, publications = home.home.datasets, home.home.publications
    data = home.parts.schema.requests

    def answer(name):
        home.answering.answer(REQUEST, name)
        home.ingest()
        return publications.published(data)

    assert answer("r-1") == datasets.version(data)
    first = publications.published(data)
    assert answer("r-2") == first
    home.clock.move_to(home.clock.now() + EVERY)
    assert answer("r-3") == first + 2
    answer("r-4")
    home.home.publish_used(data, datasets.version(data))
    assert publications.published(data) == datasets.version(data) == first + 3
    folder = tmp_path / "columns" / table_of(data.name, data.event_time)
    assert pl.scan_delta(folder).collect().height == datasets.read_part(data, data.event_time).height

    # Somebody else writes to the table: rows are ingested as before, and the server says why.
    rows = pl.scan_delta(folder).head(1).collect()
    rows.write_delta(folder, mode="append")
    home.clock.move_to(home.clock.now() + EVERY)
    assert answer("r-5") == first + 3
    assert datasets.version(data) == first + 4
    n_said = caplog.text.count("publication.failed")
    assert n_said == 1
    answer("r-6")
    assert caplog.text.count("publication.failed") == n_said
    home.clock.move_to(home.clock.now() + AGAIN_AFTER)
    answer("r-7")
    assert caplog.text.count("publication.failed") == n_said + 1
    home.close()
