"""The stored results as a page: `python -m benchmarks.report` writes docs/benchmarks.md.

The page is Markdown with SVG beside it, which code hosts show as they are. Needs the dependency
group `report`: `python -m pip install --group report`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import pygal
from pygal.style import CleanStyle

from benchmarks.aims import AIMS, figure_of, number
from benchmarks.history import FOLDER, Result, last_of, stored
from benchmarks.machine import IDLE

DOCS = Path(__file__).parent.parent / "docs"

#: Figures whose history is a picture.
HISTORY = ("ratio", "latency_p99_ms")


def without_script(root: Any) -> Any:
    """A picture is to be looked at; pages that show it refuse scripts."""
    for parent in root.iter():
        for script in parent.findall("script"):
            parent.remove(script)
    return root


def picture(title: str, x: str, y: str, points: Sequence[tuple[str, float]], path: Path) -> None:
    """Evenly spaced points: sizes grow by factors."""
    style = CleanStyle(background="white", plot_background="white", colors=("#2563eb",))
    chart = pygal.Line(
        js=(), style=style, title=title, x_title=x, y_title=y, show_legend=False, width=720,
        height=360, min_scale=4, range=(0, 1.2 * max(value for _, value in points)),
        x_label_rotation=0 if len(points) < 8 else 30, print_values=True, pretty_print=False,
        margin_right=60, no_prefix=True, value_formatter=number, disable_xml_declaration=True,
    )  # fmt: skip
    chart.x_labels = [label for label, _ in points]
    chart.add("", [value for _, value in points])
    chart.add_xml_filter(without_script)
    path.parent.mkdir(exist_ok=True)
    path.write_text(chart.render(is_unicode=True), encoding="utf-8")


def aims_table(results: Sequence[Result]) -> Iterator[str]:
    yield "| what | aim | result | met | of |"
    yield "| --- | --- | --- | --- | --- |"
    for aim in AIMS:
        value = last_of(results, aim)
        if value is None:
            yield f"| {aim.what} | {aim.told} | not measured | | |"
            continue
        found = next(r for r in reversed(results) if figure_of(r.figures, aim) is not None)
        busy = ", busy machine" if found.busy.get(aim.benchmark, 0) > IDLE else ""
        met = "yes" if aim.reached(value) else "no"
        told = f"{number(value)} {aim.unit}".strip()
        yield f"| {aim.what} | {aim.told} | {told} | {met} | {found.at[:10]}{busy} |"


def growth(results: Sequence[Result], folder: Path) -> Iterator[str]:
    newest = {name: points for result in results for name, points in result.growth.items()}
    for name, points in newest.items():
        path = folder / f"growth-{name.replace(' ', '-')}.svg"
        labelled = [(f"{size:,.0f}", cost) for size, cost in points]
        picture(f"CPU of a transition, by {name}", name, "microseconds", labelled, path)
        yield f"![CPU of a transition by {name}]({folder.name}/{path.name})"


def history(results: Sequence[Result], folder: Path) -> Iterator[str]:
    for aim in AIMS:
        known = [(r.at[:10], figure_of(r.figures, aim)) for r in results]
        points = [(day, value) for day, value in known if value is not None]
        if aim.figure not in HISTORY or len(points) < 2:
            continue
        path = folder / f"history-{aim.figure}.svg"
        picture(aim.what, "measured", aim.unit, points, path)
        yield f"![{aim.what}, over time]({folder.name}/{path.name})"


def machine(result: Result) -> str:
    named = {k: v for k, v in result.machine.items() if k != "packages"}
    packages = ", ".join(f"{k} {v}" for k, v in result.machine.get("packages", {}).items())
    facts = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in named.items())
    return f"The last result is of {result.at[:10]}, commit {result.commit}: {facts}; {packages}."


def write(results: Sequence[Result], docs: Path) -> Path:
    """The page and its pictures. results: the oldest first, at least one."""
    folder = docs / "benchmarks"
    parts = ["# Benchmarks", "Written by `python -m benchmarks.report`; not by hand."]
    parts += [machine(results[-1]), "\n".join(aims_table(results))]
    for title, found in (
        ("How cost grows", list(growth(results, folder))),
        ("Over time", list(history(results, folder))),
    ):
        parts += [f"## {title}", *found] if found else []
    page = docs / "benchmarks.md"
    page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return page


@click.command()
@click.option("--results", type=click.Path(path_type=Path), default=FOLDER)
@click.option("--docs", type=click.Path(path_type=Path), default=DOCS)
def main(results: Path, docs: Path) -> None:
    """Write the page of the results that are stored."""
    found = stored(results)
    if not found:
        raise click.ClickException("No result is stored: run make bench first.")
    print(f"written: {write(found, docs).name}")


if __name__ == "__main__":
    main()
