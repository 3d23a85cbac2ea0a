"""What is served: all of it from here, as it was fetched, and nothing else."""

import hashlib
import json
import re
from pathlib import Path

from playwright.sync_api import Page, expect

import streamwf.adapters.web.page as package
from streamwf.adapters.web.answers import POLICY
from tests.page.site import Site, serving

STATIC = Path(package.__file__).parent / "static"
VENDOR = STATIC / "vendor"


def test_vendored_files_are_those_that_were_fetched() -> None:
    told = json.loads((VENDOR / "vendor.json").read_text())
    for entry in told:
        content = (VENDOR / entry["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"], entry["file"]
        assert entry["integrity"].startswith("sha512-")
    listed = {entry[name] for entry in told for name in ("file", "license")} | {"vendor.json"}
    assert {path.name for path in VENDOR.iterdir()} == listed


def test_no_text_of_ours_is_made_markup() -> None:
    for path in STATIC.glob("*.js"):
        source = path.read_text()
        for word in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval("):
            assert word not in source, path.name
    index = (STATIC / "index.html").read_text()
    assert not re.search(r"<style|style=|\son\w+=|<script(?![^>]*src=)", index)


def test_nothing_is_loaded_from_elsewhere_or_against_the_policy(site: Site, page: Page) -> None:
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    answer = page.goto(site.url)
    assert answer is not None
    assert answer.headers["content-security-policy"] == POLICY
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    expect(page.get_by_role("region", name="Workers")).to_contain_text("this worker")
    assert [url for url in urls if not url.startswith(site.url)] == []
    assert f"{site.url}/page/vendor/preact.js" in urls


def test_the_page_works_below_a_prefix(page: Page) -> None:
    with serving("/shop/flows") as site:
        site.state(site.trigger("o-1"), "COMPLETED")
        page.goto(f"{site.url}/shop/flows")
        page.get_by_role("link", name="Runs").first.click()
        expect(page.get_by_role("link", name="o-1")).to_be_visible()
        expect(page).to_have_url(f"{site.url}/shop/flows/#/runs")
