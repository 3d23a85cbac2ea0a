"""Text from outside is text: whatever it says, nothing of it is carried out."""

import pytest
from playwright.sync_api import Page, Route, expect

from tests.page.site import Site

HOSTILE = (
    "<img src=x onerror=\"window.hit='img'\"><script>window.hit='script'</script>"
    "'\"><svg onload=window.hit='svg'>{{7*7}}${window.hit='template'}javascript:window.hit=1"
    "</textarea></pre>"
)


def unharmed(page: Page) -> None:
    page.wait_for_timeout(100)
    assert page.evaluate("window.hit === undefined")
    assert page.locator("main img, main script, main [onload], main [onerror]").count() == 0


@pytest.fixture
def hostile(site: Site) -> str:
    """The id of a run that is hostile wherever somebody outside has a say."""
    object_ = {"customer": HOSTILE, "note": HOSTILE, "address": {"city": HOSTILE}}
    run_id = site.trigger(HOSTILE, trouble="gone", **object_)
    site.do(site.client.pause(run_id, HOSTILE))
    return run_id


@pytest.mark.parametrize(
    ("view", "text"),
    [("#/", "<img"), ("#/runs?workflow=orders", "<img"), ("#/workflow/orders", "Created")],
)
def test_in_lists(site: Site, page: Page, hostile: str, view: str, text: str) -> None:
    page.goto(f"{site.url}/{view}")
    shown = page.locator("a.node" if "workflow/" in view else "main a").filter(has_text=text)
    expect(shown.first).to_be_visible()
    unharmed(page)


def test_in_a_run(site: Site, page: Page, hostile: str) -> None:
    page.goto(f"{site.url}/#/run/{hostile}")
    expect(page.get_by_role("heading", name="onerror").first).to_have_text(HOSTILE)
    expect(page.get_by_role("group", name="Object")).to_contain_text("<img src=x onerror=")
    expect(page.get_by_role("region", name="Timeline")).to_contain_text("<script>")
    page.get_by_label("Compare with version").select_option("1")
    page.get_by_role("button", name="Fork", exact=True).click()
    expect(page.get_by_label("Foreign id")).to_have_value(HOSTILE)
    unharmed(page)


def test_in_whatever_the_api_tells(site: Site, page: Page) -> None:
    """Fields that a workflow's own code fills."""
    at, error = "2026-11-28T12:00:00Z", {"type": HOSTILE, "message": HOSTILE, "traceback": HOSTILE}
    run = {
        "workflow": HOSTILE,
        "foreign_id": HOSTILE,
        "run_id": "r",
        "status": HOSTILE,
        "state": "PAUSED",
        "version": 1,
        "object": {HOSTILE: [HOSTILE]},
        "created_at": at,
        "updated_at": at,
        "attempt": 1,
        "error": error,
        "reason": HOSTILE,
        "due_at": None,
        "timers": [{"name": HOSTILE, "due_at": at}],
        "hooks": [HOSTILE],
        "resume_at": None,
        "callbacks": [{"id": "c", "name": HOSTILE, "due_at": at, "until": at, "attempt": 0}],
        "children": [{"workflow": HOSTILE, "foreign_id": HOSTILE, "run_id": HOSTILE}],
        "parent": f"{HOSTILE}/{HOSTILE}/x",
        "origin": f"{HOSTILE}@1",
        "trace_id": HOSTILE,
    }
    event = {
        "offset": 0,
        "id": "e",
        "type": HOSTILE,
        "time": at,
        "version": 1,
        "status": HOSTILE,
        "state": HOSTILE,
        "timer": HOSTILE,
        "call": HOSTILE,
        "hook": HOSTILE,
        "due_at": at,
        "attempt": 1,
        "reason": HOSTILE,
        "error": error,
        "object": HOSTILE,
    }
    history = {"run_id": "r", "truncated": False, "events": [event]}
    page.route("**/api/v1/runs/r", lambda route: route.fulfill(json=run))
    page.route("**/api/v1/runs/r/history", lambda route: route.fulfill(json=history))
    page.goto(f"{site.url}/#/run/r")
    expect(page.get_by_role("region", name="Waits for")).to_contain_text("<img")
    unharmed(page)


def test_in_dead_letters_and_problems(site: Site, page: Page) -> None:
    letter = {
        "id": HOSTILE,
        "workflow": HOSTILE,
        "reason": HOSTILE,
        "key": HOSTILE,
        "text": HOSTILE,
        "at": "2026-11-28T12:00:00Z",
        "source": HOSTILE,
        "partition": HOSTILE,
        "position": "1",
    }

    def answer(route: Route) -> None:
        if route.request.method == "POST":
            route.fulfill(status=409, json={"title": HOSTILE, "status": 409, "detail": HOSTILE})
        else:
            route.fulfill(json={"letters": [letter], "count": 1, "cursor": HOSTILE})

    page.route("**/api/v1/dead-letters**", answer)
    page.goto(f"{site.url}/#/letters")
    page.get_by_role("button", name="Retry").click()
    page.get_by_role("dialog").get_by_role("button", name="Retry").click()
    expect(page.get_by_role("alert")).to_contain_text("<img src=x")
    unharmed(page)


def test_in_the_address(site: Site, page: Page) -> None:
    for view in ("runs?workflow=%s&prefix=%s&search.x=%s", "run/%s%s%s", "workflow/%s%s%s"):
        script = "%3Cimg%20src%3Dx%20onerror%3Dwindow.hit%3D1%3E%22%27"
        page.goto(f"{site.url}/#/{view % (script, script, script)}")
        expect(page.get_by_role("alert").or_(page.locator(".empty")).first).to_be_visible()
        unharmed(page)
    page.goto(f"{site.url}/#/run/%E0%A4%A")
    unharmed(page)
