"""Each view, in a real browser."""

import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from tests.page.site import Site


def test_the_overview_tells_how_everything_is(site: Site, page: Page) -> None:
    site.state(site.trigger("o-1"), "COMPLETED")
    site.state(site.trigger("o-2", trouble="fraud"), "PAUSED")
    page.goto(site.url)
    expect(page).to_have_title("Overview · streamwf")
    expect(page.get_by_role("link", name="Paused 1")).to_be_visible()
    expect(page.get_by_role("link", name="Completed 1")).to_be_visible()
    waiting = page.get_by_role("region", name="Waits for a person")
    expect(waiting).to_contain_text("Fatal: card number 4 is on the list")
    expect(page.get_by_role("region", name="Workers")).to_contain_text("orders, reports")


def test_a_step_that_is_held_stands_out(site: Site, page: Page) -> None:
    for number in range(3):
        site.trigger(f"r-{number}", "reports", day="broken")
    page.goto(site.url)
    waiting = page.get_by_role("region", name="Waits for a person")
    expect(waiting).to_contain_text("3 failures in a row: OSError: the mail server is full")
    waiting.get_by_role("link", name="reports").click()
    expect(page.locator("a.node.held")).to_contain_text("held")


def test_a_workflow_has_a_diagram_with_counts(site: Site, page: Page) -> None:
    site.state(site.trigger("o-1", trouble="fraud"), "PAUSED")
    site.until(site.trigger("o-2", trouble="pickup"), lambda run: run.status == "AWAITING_PICKUP")
    page.goto(f"{site.url}/#/workflow/orders")
    expect(page.locator("a.node")).to_have_count(7)
    expect(page.locator("path.move")).to_have_count(8)
    expect(page.get_by_role("link", name="Awaiting pickup, 1 Running")).to_be_visible()
    created = page.get_by_role("link", name="Created, 1 Paused, 1 error")
    expect(created).to_have_class("node paused")
    created.click()
    expect(page).to_have_url(f"{site.url}/#/runs?workflow=orders&status=CREATED")
    expect(page.get_by_role("link", name="o-1")).to_be_visible()


def test_a_step_that_takes_long_anywhere_stands_out(site: Site, page: Page) -> None:
    def elsewhere(route: Route) -> None:
        told = route.fetch().json()
        told["steps"] = {"PAID": {"count": 4, "seconds": 48, "errors": 2}}
        route.fulfill(json=told)

    page.route("**/api/v1/workflows/orders", elsewhere)
    page.goto(f"{site.url}/#/workflow/orders")
    expect(page.get_by_role("link", name="Paid, 2 errors, slow")).to_have_class("node failing")
    row = page.get_by_role("region", name="Runs by status").get_by_role("row", name="Paid")
    expect(row).to_contain_text("12 s")


def test_a_run_is_started_from_its_workflow(site: Site, page: Page) -> None:
    page.goto(f"{site.url}/#/workflow/orders")
    page.get_by_role("button", name="Start a run").click()
    page.get_by_label("Foreign id").fill("by-hand")
    page.get_by_label("Object").fill("{")
    expect(page.get_by_text("Not JSON yet")).to_be_visible()
    page.get_by_label("Object").fill('{"customer": "eve"}')
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("heading", name="by-hand")).to_be_visible()
    expect(page.get_by_label("Object").get_by_text('"eve"')).to_be_visible()


def test_filters_of_the_list_are_in_the_address(site: Site, page: Page) -> None:
    site.state(site.trigger("a-1", customer="ann"), "COMPLETED")
    site.state(site.trigger("a-2", customer="bob"), "COMPLETED")
    site.state(site.trigger("b-1", customer="bob", trouble="fraud"), "PAUSED")
    page.goto(f"{site.url}/#/runs")
    rows = page.locator("tr.run")
    expect(rows).to_have_count(3)
    page.get_by_label("Workflow", exact=True).select_option("orders")
    page.get_by_label("Foreign id begins with").fill("a-")
    expect(rows).to_have_count(2)
    page.get_by_label("Value of customer").fill("bob")
    page.get_by_label("Value of customer").press("Enter")
    expect(rows).to_have_count(1)
    expect(page.get_by_role("columnheader", name="customer")).to_be_visible()
    expect(rows.first).to_contain_text("bob")
    page.get_by_role("button", name="Completed").click()
    expect(page.get_by_role("status").get_by_text("1 run", exact=True)).to_be_visible()
    asked = parse_qs(urlsplit(page.url).fragment.partition("?")[2])
    assert asked == {
        "workflow": ["orders"],
        "prefix": ["a-"],
        "search.customer": ["bob"],
        "state": ["COMPLETED"],
    }
    page.reload()
    expect(rows).to_have_count(1)
    page.get_by_role("button", name="Without: customer is bob").click()
    expect(rows).to_have_count(2)
    page.go_back()
    expect(rows).to_have_count(1)


def test_the_order_of_the_list(site: Site, page: Page) -> None:
    for name in ("c", "a", "b"):
        site.state(site.trigger(name), "COMPLETED")
    page.goto(f"{site.url}/#/runs")
    names = page.locator("tr.run a.cell")
    expect(names).to_have_text(["b", "a", "c"])
    page.get_by_role("button", name="Foreign id", exact=True).click()
    expect(names).to_have_text(["a", "b", "c"])
    heading = page.get_by_role("columnheader", name="Foreign id")
    expect(heading).to_have_attribute("aria-sort", "ascending")


def test_a_run_shows_its_events_and_what_changed(site: Site, page: Page) -> None:
    run_id = site.trigger("o-1")
    site.state(run_id, "COMPLETED")
    page.goto(f"{site.url}/#/run/{run_id}")
    timeline = page.get_by_role("region", name="Timeline")
    expect(timeline.get_by_role("listitem").first).to_contain_text("Trigger Created")
    expect(timeline.get_by_role("listitem").last).to_contain_text("Delivered")
    page.get_by_label("Compare with version").select_option("1")
    difference = page.get_by_role("group", name="Difference")
    expect(difference.locator(".removed")).to_contain_text('"payment": ""')
    expect(difference.locator(".added")).to_contain_text('"payment": "payment-o-1"')
    page.get_by_label("Version", exact=True).select_option("1")
    expect(page.get_by_text("No difference")).to_be_visible()
    page.get_by_label("Compare with version").select_option("")
    expect(page.get_by_role("group", name="Object")).to_contain_text('"payment": ""')


def test_a_run_says_why_it_stands_still(site: Site, page: Page) -> None:
    bank, pickup = site.trigger("o-1", trouble="bank"), site.trigger("o-2", trouble="pickup")
    site.until(bank, lambda run: run.error is not None)
    page.goto(f"{site.url}/#/run/{bank}")
    why = page.get_by_role("region", name="Why it is where it is")
    expect(why).to_contain_text("Attempt 1 failed. The next one is in 59 min")
    why.locator("summary").click()
    expect(why.get_by_role("group", name="Traceback")).to_contain_text("in pay")
    site.until(pickup, lambda run: run.timers)
    page.goto(f"{site.url}/#/run/{pickup}")
    expect(page.get_by_role("region", name="Waits for")).to_contain_text("in 2 d 23 h")


def test_no_such_run(site: Site, page: Page) -> None:
    page.goto(f"{site.url}/#/run/nobody")
    expect(page.get_by_text("No such run")).to_be_visible()
    page.goto(f"{site.url}/#/nowhere")
    expect(page.get_by_text("Nothing is here")).to_be_visible()


def test_schedules(site: Site, page: Page) -> None:
    page.goto(f"{site.url}/#/schedules")
    card = page.get_by_role("region", name="nightly")
    expect(card).to_contain_text("0 3 * * *")
    expect(card.get_by_role("listitem")).to_have_count(5)
    card.get_by_role("button", name="Pause").click()
    page.get_by_label("Reason").fill("holidays")
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(card).to_contain_text("holidays")
    expect(card).to_contain_text("Nothing is started while it is paused.")
    card.get_by_role("button", name="Resume").click()
    page.get_by_role("dialog").get_by_role("button", name="Resume").click()
    expect(card.get_by_role("button", name="Pause")).to_be_visible()


def test_a_schedule_is_run_now_and_for_the_past(site: Site, page: Page) -> None:
    page.goto(f"{site.url}/#/schedules")
    card = page.get_by_role("region", name="nightly")
    card.get_by_role("button", name="Backfill").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("From").fill("2026-11-01T00:00")
    dialog.get_by_label("Until").fill("2026-11-03T00:00")
    dialog.get_by_role("button", name="Backfill").click()
    expect(dialog).to_contain_text("2 slots looked at")
    dialog.get_by_role("button", name="Close").click()
    card.get_by_role("button", name="Pause").click()
    dialog.get_by_role("button", name="Pause").click()
    expect(card).to_contain_text("Nothing is started while it is paused.")
    card.get_by_role("button", name="Run now").click()
    dialog.get_by_label("Reason").fill("the board asks")
    dialog.get_by_role("button", name="Run now").click()
    expect(page.get_by_role("heading", name=re.compile("^report@run-"))).to_be_visible()
    expect(page.get_by_role("main")).to_contain_text("schedule nightly, run now: the board asks")


LETTERS = [
    {
        "id": "orders:0:7",
        "workflow": "orders",
        "reason": "it is no JSON",
        "key": "o-7",
        "at": "2026-11-28T12:00:00Z",
        "source": "orders.events",
        "partition": "0",
        "position": "7",
        "text": "{oops",
    },
    {
        "id": "orders:0:9",
        "workflow": "orders",
        "reason": "too large",
        "key": "",
        "at": "2026-11-28T12:00:01Z",
        "source": "orders.events",
        "partition": "0",
        "position": "9",
        "base64": "AAEC",
    },
]


def test_dead_letters(site: Site, page: Page) -> None:
    left, asked = [*LETTERS], []

    def answer(route: Route) -> None:
        request, path = route.request, urlsplit(route.request.url).path
        if request.method == "POST":
            asked.append((path, json.loads(request.post_data or "")))
            left.pop(0)
        if path.endswith("orders%3A0%3A7"):
            route.fulfill(json={**LETTERS[0], "text": "{oops, and all the rest"})
        else:
            route.fulfill(json={"letters": left, "count": len(left), "cursor": None})

    page.route("**/api/v1/dead-letters**", answer)
    page.goto(f"{site.url}/#/letters")
    items = page.locator(".letters > li")
    expect(items).to_have_count(2)
    expect(items.first).to_contain_text("it is no JSON")
    expect(items.first).to_contain_text("orders.events · 0 · 7")
    items.first.get_by_text("Content", exact=True).click()
    expect(items.first.get_by_role("group", name="Content")).to_have_text("{oops, and all the rest")
    expect(items.last).to_contain_text("as base64")
    items.first.get_by_role("button", name="Retry").click()
    page.get_by_label("Reason").fill("mended")
    page.get_by_role("dialog").get_by_role("button", name="Retry").click()
    expect(items).to_have_count(1)
    items.first.get_by_role("button", name="Drop").click()
    page.get_by_role("dialog").get_by_role("button", name="Drop").click()
    expect(page.get_by_text("No dead letters")).to_be_visible()
    assert asked == [
        ("/api/v1/dead-letters/orders%3A0%3A7/retry", {"reason": "mended"}),
        ("/api/v1/dead-letters/orders%3A0%3A9/drop", {"reason": ""}),
    ]


def test_a_worker_that_tells_no_dead_letters(site: Site, page: Page) -> None:
    page.route("**/api/v1/dead-letters**", lambda route: route.fulfill(status=404, json={}))
    page.goto(f"{site.url}/#/letters")
    expect(page.get_by_text("This worker does not tell its dead letters")).to_be_visible()


def test_the_keyboard_goes_everywhere(site: Site, page: Page) -> None:
    site.state(site.trigger("o-1"), "COMPLETED")
    site.state(site.trigger("o-2"), "COMPLETED")
    page.goto(site.url)
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    page.keyboard.press("g")
    page.keyboard.press("r")
    expect(page.get_by_role("heading", name="Runs", exact=True)).to_be_focused()
    page.locator("tr.run").first.wait_for()
    page.get_by_role("group", name="Runs").focus()
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.get_by_role("region", name="Selection")).to_contain_text("1 run selected")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="o-1")).to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Next or previous row")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_light_and_dark(site: Site, page: Page) -> None:
    page.goto(site.url)
    root = page.locator("html")
    expect(root).to_have_attribute("data-theme", "light")
    page.get_by_role("button", name="Dark").click()
    page.reload()
    expect(root).to_have_attribute("data-theme", "dark")


def test_what_has_happened_lately(site: Site, page: Page) -> None:
    buckets = [
        {
            "at": f"2026-11-28T12:0{n}:00Z",
            "transitions": 10 * n,
            "failures": n,
            "started": 0,
            "ended": 0,
        }
        for n in range(4)
    ]
    known = {"counts": {}, "held": {}, "shards": 4, "live": 3, "lag": 7, "buckets": buckets}
    told = {
        "at": "2026-11-28T12:03:00Z",
        "bucket": 10,
        "workers": [],
        "missing": [],
        "workflows": [{"name": "orders", **known}, {"name": "reports", **known}],
    }
    page.route("**/api/v1/overview?**", lambda route: route.fulfill(json=told))
    page.goto(site.url)
    totals = page.get_by_role("region", name="Totals")
    expect(totals).to_contain_text("Moves per second4.0")
    expect(totals.get_by_role("img", name="Errors per second")).to_be_visible()
    expect(totals).to_contain_text("Lag14 events")
    row = page.get_by_role("region", name="Workflows").get_by_role("row").nth(1)
    expect(row.get_by_role("cell", name="3 of 4")).to_be_visible()


def test_the_link_to_a_trace(site: Site, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMWF_TRACE_URL", "https://traces.example/trace/{trace_id}?from=page")
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    traced = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
    asked = {"foreign_id": "o-1", "object": {"trouble": "gone"}}
    page.request.post(f"{site.url}/api/v1/workflows/orders/runs", data=asked, headers=traced)
    [run] = page.request.get(f"{site.url}/api/v1/runs").json()["runs"]
    page.goto(f"{site.url}/#/run/{run['run_id']}")
    link = page.get_by_role("link", name=trace_id)
    expect(link).to_have_attribute("href", f"https://traces.example/trace/{trace_id}?from=page")


def test_the_list_at_the_width_of_a_phone(site: Site, page: Page) -> None:
    for number in range(100):
        site.trigger(f"order-{number:03}")
    page.set_viewport_size({"width": 390, "height": 700})
    page.goto(f"{site.url}/#/runs?workflow=orders&order=foreign_id")
    first = page.locator("tr.run").first
    expect(first).to_contain_text("Delivered")
    shown = first.locator("td.id").bounding_box()
    assert shown is not None
    assert shown["width"] > 110
    width = "document.documentElement.scrollWidth"
    assert page.evaluate(width) == 390
