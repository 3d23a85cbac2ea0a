"""Pages that stay open: what changes is seen, and a worker may go and come back."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest
from playwright.sync_api import Page, Route, expect

from tests.page.site import PATIENCE, Site
from tests.servers import free_port

MODULE = "from tests.page import flows\n\norders = flows.orders()\n"


def test_what_changes_is_seen_without_a_reload(site: Site, page: Page) -> None:
    page.goto(f"{site.url}/#/runs")
    expect(page.get_by_text("No runs")).to_be_visible()
    page.evaluate("window.before = true")
    run_id = site.trigger("o-1", trouble="review")
    row = page.locator("tr.run")
    expect(row).to_contain_text("Paused")
    site.do(site.client.resume(run_id, "looked at"))
    expect(row).to_contain_text("Completed")
    assert page.evaluate("window.before")


def test_a_run_moves_before_ones_eyes(site: Site, page: Page) -> None:
    run_id = site.trigger("o-1", trouble="review")
    site.state(run_id, "PAUSED")
    page.goto(f"{site.url}/#/run/{run_id}")
    expect(page.get_by_text("Paused at Created")).to_be_visible()
    site.do(site.client.resume(run_id, "by a colleague"))
    timeline = page.get_by_role("region", name="Timeline")
    expect(timeline).to_contain_text("by a colleague")
    expect(timeline).to_contain_text("Delivered")


#: Stands in for a worker's events: `tell()` is one of them, `heard` how often they are listened to.
EVENTS = """
  const real = window.fetch;
  window.heard = 0;
  window.fetch = (url, options) => {
    if (!String(url).includes('/api/v1/events')) return real(url, options);
    window.heard += 1;
    options.signal.addEventListener('abort', () => (window.heard -= 1));
    const encoder = new TextEncoder();
    const body = new ReadableStream({
      start: (stream) => (window.tell = () => stream.enqueue(encoder.encode('data: {}\\n\\n'))),
    });
    const headers = { 'Content-Type': 'text/event-stream' };
    return Promise.resolve(new Response(body, { headers }));
  };
"""


def until_heard(page: Page, times: int) -> None:
    """Not `wait_for_function`: it would need what the page's policy forbids."""
    deadline = time.monotonic() + PATIENCE
    while page.evaluate("window.heard") != times:
        assert time.monotonic() < deadline
        page.wait_for_timeout(20)


def test_events_are_heard_where_they_are_served(site: Site, page: Page) -> None:
    """With events nobody has to ask: between two looks there is a quarter of a minute."""
    page.add_init_script(EVENTS)
    page.goto(f"{site.url}/#/runs")
    expect(page.get_by_text("No runs")).to_be_visible()
    until_heard(page, 1)
    # What was asked when the stream was opened is answered by then.
    page.wait_for_timeout(2_500)
    site.state(site.trigger("o-1"), "COMPLETED")
    page.wait_for_timeout(2_500)
    expect(page.locator("tr.run")).to_have_count(0)
    page.evaluate("tell()")
    expect(page.locator("tr.run")).to_contain_text("Completed")


def test_a_window_that_nobody_sees_holds_no_connection(site: Site, page: Page) -> None:
    page.add_init_script(EVENTS)
    page.goto(f"{site.url}/#/runs")
    until_heard(page, 1)
    hide = (
        "hidden => Object.defineProperty(document, 'hidden', {value: hidden, configurable: true})"
    )
    for hidden, times in ((True, 0), (False, 1)):
        page.evaluate(hide, hidden)
        page.evaluate("document.dispatchEvent(new Event('visibilitychange')) && undefined")
        until_heard(page, times)


def test_ten_thousand_rows(site: Site, page: Page) -> None:
    site.trigger_all([f"o-{number:05}" for number in range(10_000)], trouble="gone")
    page.goto(f"{site.url}/#/runs?order=foreign_id")
    expect(page.get_by_text("10,000 runs")).to_be_visible()
    box, last = page.get_by_role("group", name="Runs"), page.get_by_text("o-09999", exact=True)
    deadline = time.monotonic() + PATIENCE
    while not last.is_visible():
        assert time.monotonic() < deadline
        box.evaluate("box => box.scrollTop = box.scrollHeight")
        page.wait_for_timeout(50)
        assert page.locator("tr.run").count() < 80
    assert box.evaluate("box => box.scrollHeight") > 10_000 * 30
    assert last.locator("xpath=ancestor::tr").get_attribute("aria-rowindex") == "10001"
    box.evaluate("box => box.scrollTop = 0")
    expect(page.get_by_text("o-00000", exact=True)).to_be_visible()


@pytest.fixture
def port() -> int:
    """It stays free while the worker is gone: no system lends it to who connects somewhere."""
    return free_port()


@contextmanager
def worker(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that serves the page of what is in a folder; killed at the end."""
    module = folder / "shop.py"
    module.write_text(MODULE)
    command = ["-m", "streamwf.cli", "dev", str(module), "--port", str(port)]
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": root},
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while not answers(port):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def answers(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=PATIENCE) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_a_worker_is_killed_while_its_page_is_open(tmp_path: Path, port: int, page: Page) -> None:
    with worker(tmp_path, port):
        page.goto(f"http://127.0.0.1:{port}/#/workflow/orders")
        page.get_by_role("button", name="Start a run").click()
        page.get_by_label("Foreign id").fill("o-1")
        page.get_by_label("Object").fill('{"trouble": "review"}')
        page.get_by_role("button", name="Start", exact=True).click()
        expect(page.get_by_text("Paused at Created")).to_be_visible()
    lost = page.get_by_role("alert").get_by_text("The worker does not answer")
    expect(lost).to_be_visible()
    expect(page.get_by_text("Paused at Created")).to_be_visible()
    with worker(tmp_path, port):
        expect(lost).to_have_count(0)
        page.get_by_role("button", name="Resume").click()
        page.get_by_role("dialog").get_by_role("button", name="Resume").click()
        expect(page.get_by_role("region", name="Timeline")).to_contain_text("Delivered")


def test_what_a_worker_that_is_gone_would_have_told_is_missed(site: Site, page: Page) -> None:
    site.state(site.trigger("o-1"), "COMPLETED")

    def without_one(route: Route) -> None:
        told = route.fetch().json()
        route.fulfill(json={**told, "missing": ["http://b:6066"]})

    page.route("**/api/v1/runs?**", without_one)
    page.goto(f"{site.url}/#/runs")
    expect(page.get_by_role("link", name="o-1")).to_be_visible()
    missed = page.get_by_role("status").filter(has_text="Not everything is here")
    expect(missed).to_contain_text("No answer came from http://b:6066")
    page.unroute("**/api/v1/runs?**")
    expect(missed).to_have_count(0)
