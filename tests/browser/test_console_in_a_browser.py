"""The console as people meet it: in Chromium, light and dark, wide and narrow, without one axe violation."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette
from tests.fronts.history import comparison, empty, held_rows, history
from tests.fronts.tracked import Tracked
from tests.home.labelling.labelled_home import Labelled, M

from varv.fronts.web.console import create_console
from varv.fronts.web.labelling import LabelDesk
from varv.fronts.web.report import write_report

playwright = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")

CHROMIUM = Path("/usr/bin/chromium")
PAGES = [
    "/",
    "/models",
    "/models/late-arrival",
    "/models/late-arrival/versions/3",
    "/rollouts",
    "/rollouts/late-arrival/1",
    "/rollouts/late-arrival/2",
    "/rollouts/late-arrival/5",
    "/monitors",
    "/monitors/late-arrival",
    "/data",
    "/data/flights",
    "/data/flights/profile",
    "/data/flights/quarantine/requested_at/day-021",
    "/data/flights/quarantine/requested_at/day-020-again",
    "/ledger",
    "/ledger/60",
    "/ledger?name=nothing",
    "/nix",
]
MOST_BYTES = 60 * 1024
MOST_REQUESTS = 4

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser at {CHROMIUM}"),
]


class Served:
    """A console behind a port of this machine."""

    def __init__(self, console: Starlette) -> None:
        self.server = uvicorn.Server(uvicorn.Config(console, port=0, log_level="error", lifespan="off"))
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        while not self.server.started:
            self.thread.join(0.01)
        self.url = f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}"

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join()


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> Iterator[Served]:
    views, ledger = history()
    columns = held_rows(tmp_path_factory.mktemp("home"))
    served = Served(create_console(views, ledger, columns=columns))
    yield served
    served.stop()


@pytest.fixture(scope="module")
def bare() -> Iterator[Served]:
    views, ledger = empty()
    served = Served(create_console(views, ledger))
    yield served
    served.stop()


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Iterator[Served]:
    tracked = Tracked(tmp_path_factory.mktemp("tracked"))
    served = Served(tracked.console())
    served.tracked = tracked
    yield served
    served.stop()
    tracked.home.close()


@pytest.fixture
def labels(lived, tmp_path) -> Iterator[Served]:
    lived(tmp_path).close()
    home = Labelled(tmp_path)
    desk = LabelDesk(labelling=lambda: home.labelling, allow=lambda _: None, allow_writing=lambda _: None)
    served = Served(create_console(home.home.views, home.home.ledger, labels=desk))
    yield served
    served.stop()
    home.close()


@pytest.fixture(scope="module")
def browser():
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=str(CHROMIUM), args=options)
        yield chromium
        chromium.close()


@pytest.fixture
def tab(browser, request):
    """A page of the asked colour scheme and width; what the browser complains of fails the test."""
    mode, width = getattr(request, "param", ("light", 1440))
    context = browser.new_context(color_scheme=mode, viewport={"width": width, "height": 900})
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    yield page
    context.close()
    assert [text for text in complaints if "404 (Not Found)" not in text] == []


def violations(page) -> list[str]:
    found = axe.Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['html'][:200]}" for one in found for node in one["nodes"]]


def is_scrolled_sideways(page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")


@pytest.mark.parametrize(
    "tab", [("light", 1440), ("dark", 1440), ("light", 360), ("dark", 360)], indirect=True
)
@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_no_violation_and_never_scrolls_sideways(tab, told, path):
    tab.goto(told.url + path)
    assert violations(tab) == []
    assert not is_scrolled_sideways(tab)


@pytest.mark.parametrize("tab", [("light", 360), ("dark", 1440)], indirect=True)
@pytest.mark.parametrize("path", ["/", "/models", "/rollouts", "/monitors", "/data", "/ledger"])
def test_an_empty_page_has_no_violation(tab, bare, path):
    tab.goto(bare.url + path)
    assert violations(tab) == []
    assert not is_scrolled_sideways(tab)


@pytest.mark.parametrize("tab", [("light", 1440), ("dark", 360)], indirect=True)
def test_the_report_has_no_violation_and_asks_the_network_for_nothing(tab, tmp_path):
    views, _ = history()
    write_report(comparison(), views, tmp_path / "report.html")
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(f"file://{tmp_path}/report.html")
    tab.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert violations(tab) == []
    assert not is_scrolled_sideways(tab)
    assert len(asked) == 1


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_light_on_the_wire(tab, told, path):
    sizes: list[int] = []
    tab.on("requestfinished", lambda request: sizes.append(request.sizes()["responseBodySize"]))
    tab.goto(told.url + path, wait_until="load")
    assert len(sizes) <= MOST_REQUESTS
    assert sum(sizes) < MOST_BYTES


def test_the_first_stop_of_the_keyboard_leads_past_the_navigation(tab, told):
    tab.goto(told.url + "/ledger")
    tab.keyboard.press("Tab")
    skip = tab.locator(".skip")
    assert skip.evaluate("one => one === document.activeElement")
    assert skip.bounding_box()["x"] >= 0
    tab.keyboard.press("Enter")
    playwright.expect(tab.locator("#main")).to_be_focused()


def test_the_ledger_is_filtered_by_its_form(tab, told):
    tab.goto(told.url + "/ledger")
    tab.get_by_label("Event").fill("rollout.stepped")
    tab.get_by_role("button", name="Filter").click()
    # The address changes before the page does, so the rows are waited for.
    playwright.expect(tab.locator("tbody tr")).to_have_count(4)
    assert "name=rollout.stepped" in tab.url


def test_a_chart_keeps_the_size_of_its_text_at_every_width(browser, told):
    heights = set()
    for width in (600, 1440):
        context = browser.new_context(viewport={"width": width, "height": 900})
        page = context.new_page()
        page.goto(told.url + "/models/late-arrival")
        heights.add(round(page.locator(".chart text").first.bounding_box()["height"]))
        context.close()
    assert len(heights) == 1


# Runs: a page of each kind, since each test opens all of them


@pytest.mark.parametrize("tab", [("light", 1440), ("dark", 360)], indirect=True)
def test_pages_of_runs_have_no_violation_run_no_markup_and_are_light(tab, runs):
    dialogs: list[str] = []
    tab.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    for path in runs.tracked.pages():
        sizes: list[int] = []
        tab.on(
            "requestfinished", lambda request, sizes=sizes: sizes.append(request.sizes()["responseBodySize"])
        )
        tab.goto(runs.url + path, wait_until="load")
        assert (path, violations(tab)) == (path, [])
        assert (path, is_scrolled_sideways(tab)) == (path, False)
        assert (path, sum(sizes) < MOST_BYTES) == (path, True)
    assert dialogs == []


def test_a_page_shows_what_a_run_logs_meanwhile(tab, runs):
    tab.goto(f"{runs.url}/runs/{runs.tracked.runs[0]}")
    tab.wait_for_timeout(300)  # until it listens
    runs.tracked.home.log(runs.tracked.runs[0], ("late", 77.25, 5000))
    playwright.expect(tab.get_by_role("row", name="late")).to_contain_text("77.25")


def filled(text, said):
    for name, value in said.items():
        text = text.replace(f"{{{name}}}", value)
    return text


@pytest.mark.parametrize(
    ("link", "leads_to"),
    [
        ("#/experiments/{experiment}", "/experiments/{experiment}"),
        ("#/experiments/{experiment}/runs/{run}", "/runs/{run}"),
        ('#/compare-runs?runs=["{run}","{other}"]&experiments=["1"]', "/compare?runs={run}&runs={other}"),
        ("#/models/late-arrival/versions/3", "/models/late-arrival/versions/3"),
        ("#//elsewhere.example/experiments/1", "/#//elsewhere.example/experiments/1"),
    ],
)
def test_a_link_that_a_client_has_printed_leads_to_the_page(tab, runs, link, leads_to):
    run, other = runs.tracked.runs[:2]
    said = {"experiment": runs.tracked.experiment, "run": run, "other": other}
    tab.goto(f"{runs.url}/{filled(link, said)}")
    tab.wait_for_url(f"{runs.url}{filled(leads_to, said)}")


def test_marked_runs_are_compared(tab, runs):
    tab.goto(f"{runs.url}/experiments/{runs.tracked.experiment}")
    for box in tab.get_by_role("checkbox").all()[:2]:
        box.check()
    tab.get_by_role("button", name="Compare the marked runs").click()
    playwright.expect(tab.locator("h1")).to_have_text("Compare 2 runs")


@pytest.mark.parametrize("tab", [("light", 1440), ("dark", 360)], indirect=True)
def test_requests_are_labelled_by_the_keyboard_alone(tab, labels):
    tab.goto(f"{labels.url}/labels")
    assert violations(tab) == []
    tab.goto(f"{labels.url}/labels/{M}")
    tab.get_by_label("Your name").fill("ana")
    tab.keyboard.press("Enter")
    for key, done in (("2", "1 labelled, 0 without"), ("n", "1 labelled, 1 without"), ("s", "7 open")):
        tab.get_by_role("heading", name="What is").wait_for()
        assert violations(tab) == []
        assert not is_scrolled_sideways(tab)
        tab.get_by_label("Note").fill("2")
        tab.keyboard.press("Enter")
        tab.evaluate("document.activeElement.blur()")
        tab.keyboard.press(key)
        tab.get_by_text(done).wait_for()
