"""What docs/lists.md shows is what happens."""

import contextlib
import io
import json

from streamwf.views import BulkSteering, Filter
from tests.docs.readme import ROOT, blocks

PAGE = (ROOT / "docs" / "lists.md").read_text(encoding="utf-8")


def test_the_example_prints_what_the_page_shows() -> None:
    [example], [shown] = blocks("python", PAGE), blocks("text", PAGE)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(example.text, "lists.py", "exec"), {"__name__": "lists"})
    assert printed.getvalue() == shown.text


def test_the_request_can_be_sent() -> None:
    [request] = blocks("json", PAGE)
    assert BulkSteering.of(**json.loads(request.text)).action == "cancel"


def test_every_filter_is_there() -> None:
    for name in Filter.model_fields:
        assert f"`{name}" in PAGE
