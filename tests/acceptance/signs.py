"""What steps and tests tell each other, although they may be in different processes."""

import asyncio
import os
from pathlib import Path

#: Seconds between two looks.
PAUSE = 0.005


class Signs:
    """A folder, whose path a run carries in its object: notes that steps leave there, and signs
    that tests put up for them. Without a folder nobody looks."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder or os.devnull)

    @property
    def folder(self) -> str:
        return str(self._folder)

    def note(self, text: str) -> int:
        """Leave a note, also of an attempt that fails; how many there are of this text."""
        if not self._folder.is_dir():
            return 0
        file = os.open(self._notes, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
        try:
            os.write(file, f"{text}\n".encode())
        finally:
            os.close(file)
        return self.notes().count(text)

    def notes(self) -> list[str]:
        """All notes, in their order."""
        return self._notes.read_text().splitlines() if self._notes.exists() else []

    def put_up(self, sign: str) -> None:
        (self._folder / sign).touch()

    def take_down(self, sign: str) -> None:
        (self._folder / sign).unlink()

    def is_up(self, sign: str) -> bool:
        return (self._folder / sign).exists()

    async def wait_for(self, sign: str) -> None:
        """Hold up a step until the test puts up a sign."""
        while not self.is_up(sign):
            await asyncio.sleep(PAUSE)

    @property
    def _notes(self) -> Path:
        return self._folder / "notes"
