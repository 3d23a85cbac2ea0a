"""What docs/page.md shows is what happens."""

import re
import subprocess
import sys
from pathlib import Path

from tests.docs.readme import ROOT, blocks

PAGE = (ROOT / "docs" / "page.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_is_mounted(tmp_path: Path) -> None:
    [code] = blocks("python", PAGE)
    [output] = blocks("text", PAGE)
    (tmp_path / "hello.py").write_text(blocks("python", README)[0].text)
    (tmp_path / "mounted.py").write_text(code.text)
    told = subprocess.run(
        [sys.executable, "mounted.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert told.stderr == ""
    assert told.stdout == output.text


def test_every_picture_is_there() -> None:
    pictures = re.findall(r"images/[a-z-]+\.png", PAGE)
    assert len(pictures) >= 5
    assert [name for name in pictures if not (ROOT / "docs" / name).is_file()] == []
