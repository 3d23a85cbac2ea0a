"""Pictures of each page for the documentation: `make screenshots`."""

import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page, Route, expect, sync_playwright

from tests.page.conftest import FLAGS, chromium
from tests.page.site import Site, serving
from tests.page.test_views import LETTERS

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"

CUSTOMERS = ["ann", "bob", "carol", "dave"]
CITIES = ["Bremen", "Leipzig", "Ulm"]


def busy(site: Site) -> dict[str, str]:
    """Give a shop something to do; the ids of runs that are worth a look."""
    for number in range(40):
        site.trigger(
            f"order-{1040 + number}",
            customer=CUSTOMERS[number % 4],
            price=20 + number,
            address={"city": CITIES[number % 3]},
            trouble="slow" if number % 13 == 5 else "pickup" if number % 17 == 3 else "",
        )
    ids = {
        name: site.trigger(f"order-{name}", trouble=name) for name in ("review", "fraud", "bank")
    }
    for number in range(3):
        site.trigger(f"report-{number}", "reports", day="broken")
    for name in ("review", "fraud"):
        site.state(ids[name], "PAUSED")
    site.do(site.client.resume(ids["review"], "looked at it: a good customer"))
    site.state(ids["review"], "COMPLETED")
    site.state(site.trigger("order-1081", trouble="review", customer="dave"), "PAUSED")
    return ids


def run(route: Route) -> None:
    """A run as it is, but for where this checkout lies, which its tracebacks tell."""
    answer = route.fetch()
    route.fulfill(response=answer, body=answer.text().replace(str(ROOT), "/srv/shop"))


def letters(route: Route) -> None:
    route.fulfill(json={"letters": LETTERS, "count": 2, "cursor": None})


def picture(page: Page, site: Site, view: str, shown: str, name: str) -> None:
    page.goto(f"{site.url}/{view}")
    expect(page.get_by_text(shown).first).to_be_visible()
    page.locator(".loading").first.wait_for(state="detached")
    if view == "#/":
        # So that there is something to be seen over time.
        for number in range(8):
            for more in range(number % 3 * 4 + 1):
                site.trigger(f"{name}-{10 * number + more}")
            page.wait_for_timeout(1_300)
    path = IMAGES / f"{name}.png"
    page.screenshot(path=path)
    if shrink := shutil.which("pngquant"):
        subprocess.run([shrink, "--force", "--ext", ".png", "64", str(path)], check=True)
    print(path.name, f"{path.stat().st_size:,}", file=sys.stderr)


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with serving() as site, sync_playwright() as playwright:
        ids = busy(site)
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        views = [
            ("#/", "Waits for a person", "overview"),
            ("#/workflow/orders", "Runs by status", "workflow"),
            ("#/runs?workflow=orders&order=created", "Completed", "runs"),
            (f"#/run/{ids['fraud']}", "Traceback", "run"),
            ("#/letters", "it is no JSON", "letters"),
            ("#/schedules", "nightly", "schedules"),
        ]
        for theme, size in (("light", (1280, 760)), ("dark", (1280, 760)), ("phone", (390, 760))):
            context = browser.new_context(
                viewport={"width": size[0], "height": size[1]},
                color_scheme="dark" if theme == "dark" else "light",
            )
            page = context.new_page()
            page.route("**/api/v1/dead-letters**", letters)
            page.route("**/api/v1/runs/**", run)
            for view, shown, name in views:
                if theme != "phone" or name in ("overview", "runs", "run"):
                    picture(page, site, view, shown, f"{name}-{theme}")
            context.close()
        browser.close()


if __name__ == "__main__":
    main()
