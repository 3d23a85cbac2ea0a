"""Workers that want to know who asks."""

from playwright.sync_api import Page, Route, expect

from tests.page.site import Site

TOKEN = "s3cret"


def guarded(route: Route) -> None:
    """As a worker with tokens answers."""
    authorization = route.request.headers.get("authorization")
    if authorization == f"Bearer {TOKEN}":
        route.continue_()
    else:
        detail = "No such token." if authorization else "A token is needed."
        route.fulfill(status=401, json={"title": "Unauthorized", "status": 401, "detail": detail})


def test_a_token_is_asked_for_and_kept_for_the_tab(site: Site, page: Page) -> None:
    site.state(site.trigger("o-1"), "COMPLETED")
    page.route("**/api/v1/**", guarded)
    page.goto(f"{site.url}/#/runs")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("No such token.")
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_label("Token").press("Enter")
    expect(page.get_by_role("link", name="o-1")).to_be_visible()
    page.reload()
    expect(page.get_by_role("link", name="o-1")).to_be_visible()
    assert page.evaluate("JSON.stringify(localStorage) + document.cookie").find(TOKEN) == -1
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0


def test_what_may_not_be_seen_is_said(site: Site, page: Page) -> None:
    detail = "ann has no role for any workflow."
    problem = {"title": "Forbidden", "status": 403, "detail": detail}
    page.route("**/api/v1/runs?**", lambda route: route.fulfill(status=403, json=problem))
    page.goto(f"{site.url}/#/runs")
    expect(page.get_by_role("alert").first).to_contain_text("You may not do this")
    expect(page.get_by_role("alert").first).to_contain_text(detail)
