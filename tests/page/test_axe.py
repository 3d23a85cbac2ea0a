"""Nobody is kept out: axe-core's rules, WCAG 2.2 AA among them, on each page in light and dark."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.page.site import Site
from tests.page.test_views import LETTERS

SERIOUS = {"serious", "critical"}


def found(page: Page) -> list[str]:
    violations = Axe().run(page).response["violations"]
    return [
        f"{rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in violations
        if rule["impact"] in SERIOUS
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_no_serious_finding(site: Site, browser: Browser, theme: str, width: int) -> None:
    paused = site.trigger("o-1", trouble="fraud")
    site.state(paused, "PAUSED")
    site.state(site.trigger("o-2"), "COMPLETED")
    pickup = site.trigger("o-3", trouble="pickup")
    site.until(pickup, lambda run: run.timers)
    for number in range(3):
        site.trigger(f"r-{number}", "reports", day="broken")
    context = browser.new_context(
        viewport={"width": width, "height": 800},
        color_scheme="dark" if theme == "dark" else "light",
        reduced_motion="reduce",
    )
    page = context.new_page()
    answer = {"letters": LETTERS, "count": 3, "cursor": "x"}
    page.route("**/api/v1/dead-letters**", lambda route: route.fulfill(json=answer))
    views = {
        "#/": "Waits for a person",
        "#/workflow/orders": "Runs by status",
        "#/runs?workflow=orders&state=PAUSED&state=RUNNING": "o-1",
        f"#/run/{paused}": "Timeline",
        f"#/run/{pickup}": "Waits for",
        "#/letters": "it is no JSON",
        "#/schedules": "nightly",
    }
    findings = {}
    for view, shown in views.items():
        page.goto(f"{site.url}/{view}")
        expect(page.get_by_text(shown).first).to_be_visible()
        findings[view] = found(page)
    page.goto(f"{site.url}/#/run/{paused}")
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    findings["dialog"] = found(page)
    context.close()
    assert findings == {view: [] for view in [*views, "dialog"]}
