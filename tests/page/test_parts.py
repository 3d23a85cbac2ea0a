"""Parts of the page that are somebody else's: shown, and all else as it was."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import ConsoleMessage, Page, expect

from streamwf.adapters.web.answers import POLICY
from streamwf.adapters.web.page import PARTS
from tests.docs.readme import ROOT, blocks
from tests.page.site import serving

DOCS = (ROOT / "docs" / "page.md").read_text(encoding="utf-8")

RUN = """
import { ask, path } from "./api.js";
import { html } from "./core.js";
import { useLive } from "./live.js";
import { Head, Loaded, State } from "./parts.js";

export function Run({ at }) {
  const id = at.parts[1];
  const run = useLive(`mine ${id}`, (signal) => ask(path("runs", id), { signal }), {
    events: `run_id=${encodeURIComponent(id)}`,
  });
  return html`<${Loaded} of=${run}>${(told) => html`<${Head} title=${`Parcel ${told.foreign_id}`} />
    <p class="mine"><${State} state=${told.state} /> of ${told.object.customer}</p>`}<//>`;
}
"""


def everything_else_works(page: Page, root: str) -> None:
    for view, heading in (
        ("", "Overview"),
        ("runs", "Runs"),
        ("letters", "Dead letters"),
        ("schedules", "Schedules"),
        ("workflow/orders", "orders"),
    ):
        page.goto(f"{root}#/{view}")
        expect(page.get_by_role("heading", name=heading, exact=True).first).to_be_visible()
        expect(page.get_by_text("This view can't be shown")).to_have_count(0)


@pytest.mark.parametrize("prefix", ["", "/shop/flows"])
def test_a_view_of_ones_own_is_shown_and_follows_its_run(
    page: Page, tmp_path: Path, prefix: str
) -> None:
    (tmp_path / "run.js").write_text(RUN)
    (tmp_path / "theme.css").write_text(".mine { text-transform: uppercase; }")
    with serving(prefix, tmp_path) as site:
        run_id = site.trigger("o-1", trouble="review")
        site.state(run_id, "PAUSED")
        answer = page.goto(f"{site.url}{prefix}/#/run/{run_id}")
        assert answer is not None
        assert answer.headers["content-security-policy"] == POLICY
        expect(page.get_by_role("heading", name="Parcel o-1")).to_be_visible()
        mine = page.locator("p.mine")
        expect(mine).to_have_text("Paused of ann")
        expect(mine).to_have_css("text-transform", "uppercase")
        site.do(site.client.resume(run_id))
        expect(mine).to_have_text("Completed of ann")
        everything_else_works(page, f"{site.url}{prefix}/")


def test_a_smaller_part_of_ones_own(page: Page, tmp_path: Path) -> None:
    mine = tmp_path / "mine.js"
    mine.write_text(
        'import { html } from "./core.js";'
        "export const Diagram = ({ flow, statuses }) =>"
        " html`<p>${flow.name}: ${statuses.map((of) => `${of.status} ${of.live}`).join(', ')}</p>`;"
    )
    with serving(replaced={"diagram.js": mine}) as site:
        site.state(site.trigger("o-1", trouble="review"), "PAUSED")
        page.goto(f"{site.url}/#/workflow/orders")
        expect(page.get_by_text("orders: CREATED 1, PAID 0, ")).to_be_visible()
        expect(page.get_by_role("heading", name="Runs by status")).to_be_visible()


def test_what_the_documentation_shows_stands_around_ours(page: Page, tmp_path: Path) -> None:
    [code] = blocks("js", DOCS)
    (tmp_path / "run.js").write_text(code.text)
    with serving(replaced=tmp_path) as site:
        run_id = site.trigger("o-1")
        site.state(run_id, "COMPLETED")
        page.goto(f"{site.url}/#/run/{run_id}")
        link = page.get_by_role("link", name="Logs of this run")
        expect(link).to_have_attribute("href", f"https://logs.example/?q={run_id}")
        expect(page.get_by_role("heading", name="o-1")).to_be_visible()
        expect(page.get_by_role("region", name="Timeline")).to_be_visible()


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("export const Other = 1;", "exports no Run"),
        ("export const Run = () => { throw new Error('my mistake'); };", "my mistake"),
        ("this is no JavaScript", "Unexpected"),
        ('import { nothing } from "./core.js"; export const Run = nothing;', "nothing"),
        ('export const Run = () => eval("1");', "unsafe-eval|blocked by CSP|Content Security"),
    ],
)
def test_one_that_fails_says_so_and_the_others_work(
    page: Page, tmp_path: Path, source: str, why: str
) -> None:
    (tmp_path / "run.js").write_text(source)
    told: list[str] = []
    with serving(replaced=tmp_path) as broken:
        window = page.context.new_page()

        def heard(message: ConsoleMessage) -> None:
            told.append(message.text)

        window.on("console", heard)
        window.goto(f"{broken.url}/#/run/r-1")
        expect(window.get_by_text("This view can't be shown")).to_be_visible()
        expect(window.get_by_text(re.compile(why))).to_be_visible()
        everything_else_works(window, f"{broken.url}/")
        window.close()
    assert told


def test_the_documentation_tells_of_each_part_and_what_it_exports() -> None:
    table, _, _ = DOCS.partition("| module |")
    rows = dict(re.findall(r"^\| `([\w.]+)` \| (.*?) \|", table, re.MULTILINE))
    told = {name: tuple(re.findall(r"`(\w+)`", exports)) for name, exports in rows.items()}
    assert told == dict(PARTS)
