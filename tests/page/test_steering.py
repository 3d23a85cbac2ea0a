"""What people do to runs from the page, and what they are told."""

import json

from playwright.sync_api import Page, Route, expect

from tests.page.site import Site


def test_from_the_overview_to_a_run_that_goes_on(site: Site, page: Page) -> None:
    """The person at three in the morning."""
    run_id = site.trigger("o-1", trouble="review")
    site.state(run_id, "PAUSED")
    page.goto(site.url)
    page.get_by_role("region", name="Waits for a person").get_by_role("link", name="o-1").click()
    why = page.get_by_role("region", name="Why it is where it is")
    expect(why).to_contain_text("Nothing happens until somebody resumes it.")
    expect(why).to_contain_text("over 1,000: look at it, then resume")
    page.get_by_role("button", name="Resume").click()
    page.get_by_label("Reason").fill("looked at it")
    page.get_by_role("dialog").get_by_role("button", name="Resume").click()
    expect(page.get_by_role("banner").or_(page.locator(".view > header"))).to_contain_text(
        "Completed"
    )
    timeline = page.get_by_role("region", name="Timeline")
    expect(timeline).to_contain_text("looked at it")
    expect(timeline).to_contain_text("Delivered")
    site.state(run_id, "COMPLETED")


def test_a_refusal_is_told_in_its_own_words(site: Site, page: Page) -> None:
    run_id = site.trigger("o-1", trouble="review")
    site.state(run_id, "PAUSED")
    page.goto(f"{site.url}/#/run/{run_id}")
    page.get_by_role("button", name="Cancel").click()
    detail = "ann has the role viewer of orders; operator is needed."
    problem = {"title": "Forbidden", "status": 403, "detail": detail}
    page.route("**/cancel", lambda route: route.fulfill(status=403, json=problem))
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    told = page.get_by_role("dialog").get_by_role("alert")
    expect(told).to_contain_text("You may not do this")
    expect(told).to_contain_text(detail)
    page.unroute("**/cancel")
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Cancelled at Created")).to_be_visible()


def test_what_was_seen_is_what_is_steered(site: Site, page: Page) -> None:
    """An answer with an ETag is steered by it; whoever was too late sees how it is now."""
    run_id = site.trigger("o-1", trouble="review")
    site.state(run_id, "PAUSED")
    asked: list[str | None] = []

    def tagged(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, headers={**response.headers, "ETag": '"2"'})

    def late(route: Route) -> None:
        asked.append(route.request.headers.get("if-match"))
        route.fulfill(status=412, json={"title": "Version differs", "status": 412})

    page.route(f"**/api/v1/runs/{run_id}", tagged)
    page.route(f"**/api/v1/runs/{run_id}/resume", late)
    page.goto(f"{site.url}/#/run/{run_id}")
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("dialog").get_by_role("button", name="Resume").click()
    expect(page.get_by_role("alert")).to_contain_text("It has changed meanwhile")
    assert asked == ['"2"']


def test_a_fork_from_a_version(site: Site, page: Page) -> None:
    run_id = site.trigger("o-1")
    site.state(run_id, "COMPLETED")
    page.goto(f"{site.url}/#/run/{run_id}")
    page.get_by_role("button", name="Fork from version 1", exact=True).click()
    page.get_by_label("Foreign id").fill("again")
    page.get_by_role("dialog").get_by_role("button", name="Fork").click()
    expect(page.get_by_role("heading", name="again")).to_be_visible()
    expect(page.get_by_role("region", name="Facts")).to_contain_text(f"{run_id}, version 1")


def test_the_data_of_a_run_is_deleted(site: Site, page: Page) -> None:
    run_id = site.trigger("o-1", customer="secret")
    site.state(run_id, "COMPLETED")
    page.goto(f"{site.url}/#/run/{run_id}")
    page.get_by_role("button", name="Delete data").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete data").click()
    expect(page.get_by_text("Data deleted", exact=True)).to_be_visible()
    expect(page.get_by_text("secret")).to_have_count(0)


def test_those_that_are_selected(site: Site, page: Page) -> None:
    for number in range(3):
        site.state(site.trigger(f"o-{number}", trouble="review"), "PAUSED")
    page.goto(f"{site.url}/#/runs?workflow=orders")
    page.get_by_role("checkbox", name="Select o-0").check()
    page.get_by_role("checkbox", name="Select o-1").check()
    bulk = page.get_by_role("region", name="Selection")
    expect(bulk).to_contain_text("2 runs selected")
    bulk.get_by_role("button", name="Resume").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading")).to_have_text("Resume: 2 runs?")
    dialog.get_by_role("button", name="Resume 2").click()
    expect(dialog).to_contain_text("2 changed, 0 refused.")
    dialog.get_by_role("button", name="Close").click()
    expect(page.locator("tr.run").get_by_text("Completed")).to_have_count(2)
    expect(page.locator("tr.run").get_by_text("Paused")).to_have_count(1)


def test_all_that_fit_and_those_that_refuse(site: Site, page: Page) -> None:
    site.trigger_all([f"o-{number:04}" for number in range(250)], trouble="gone")
    site.state(site.trigger("o-done"), "COMPLETED")
    bodies = []
    page.on("request", lambda asked: asked.url.endswith("/bulk") and bodies.append(asked.post_data))
    page.goto(f"{site.url}/#/runs?workflow=orders&prefix=o-")
    page.get_by_role("checkbox", name="Select all that are loaded").check()
    bulk = page.get_by_role("region", name="Selection")
    bulk.get_by_role("button", name="Select all 251 that fit").click()
    expect(bulk).to_contain_text("All 251 runs that fit")
    bulk.get_by_role("button", name="Cancel").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("sold out")
    dialog.get_by_role("button", name="Cancel 251").click()
    expect(dialog).to_contain_text("250 changed, 1 refused.")
    expect(dialog.get_by_role("list", name="Refused")).to_contain_text("o-done")
    asked = [json.loads(body) for body in bodies]
    assert [body["query"] for body in asked] == [{"workflow": "orders", "prefix": "o-"}] * 2
    assert len({body["key"] for body in asked}) == 1
