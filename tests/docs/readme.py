"""The blocks of code in the README, and in other pages."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Block:
    """language: how it is highlighted. needs: what it takes to run it; empty if nothing."""

    language: str
    needs: str
    text: str


def blocks(language: str, page: str = README) -> list[Block]:
    found = re.findall(r"^```(\w+)(?: (\w+))?\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [Block(*parts) for parts in found if parts[0] == language]
