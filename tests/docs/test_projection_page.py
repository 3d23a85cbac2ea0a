"""What docs/projection.md shows is what happens, on a real broker and a real PostgreSQL."""

import json
import os
import shlex
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from streamwf.adapters.kafka.topics import ensure_topics
from streamwf.adapters.sql.engine import create, writing
from streamwf.settings import Settings
from tests.docs.readme import ROOT, blocks
from tests.kafka.cluster import until

PAGE = (ROOT / "docs" / "projection.md").read_text(encoding="utf-8")
[SHOP] = blocks("python", PAGE)
[PROJECT] = blocks("sh", PAGE)
[QUERY] = blocks("sql", PAGE)
[SHOWN] = blocks("text", PAGE)
COMMAND = (sys.executable, "-m", "streamwf.cli")


@contextmanager
def running(*command: str, folder: Path, settings: dict[str, str]) -> Iterator[None]:
    with (folder / "log").open("ab") as log:
        environment = {**os.environ, **settings}
        process = subprocess.Popen(
            [*COMMAND, *command], cwd=folder, env=environment, stdout=log, stderr=log
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


async def test_the_query_finds_what_the_page_shows(
    kafka: str, postgres_url: str, tmp_path: Path
) -> None:
    (tmp_path / "shop.py").write_text(SHOP.text, encoding="utf-8")
    placed = [("o-1", "ada"), ("o-2", "ada"), ("o-3", "kurt")]
    lines = [
        json.dumps({"foreign_id": order, "object": {"customer": customer, "total": 10}})
        for order, customer in placed
    ]
    (tmp_path / "orders.jsonl").write_text("\n".join(lines), encoding="utf-8")
    prefix = f"t{uuid.uuid4().hex[:8]}."
    settings = {
        "STREAMWF_BROKERS": kafka,
        "STREAMWF_TOPIC_PREFIX": prefix,
        "STREAMWF_WEB_PORT": "0",
    }
    await ensure_topics(["orders"], Settings(brokers=kafka, topic_prefix=prefix))
    trigger = ("trigger", "orders", "--from", "orders.jsonl", "--brokers", kafka)
    subprocess.run([*COMMAND, *trigger], cwd=tmp_path, env={**os.environ, **settings}, check=True)
    engine = create(postgres_url, "store")
    async with writing(engine) as connection:
        await connection.execute(text("CREATE TABLE customers (id text, name text)"))
        people = "INSERT INTO customers VALUES ('ada', 'Ada'), ('kurt', 'Kurt')"
        await connection.execute(text(people))

    async def found() -> bool:
        try:
            async with engine.connect() as connection:
                rows = await connection.execute(text(QUERY.text))
                told = [" | ".join(rows.keys()), *(" | ".join(map(str, row)) for row in rows)]
        except ProgrammingError:  # There is no table yet.
            return False
        return "\n".join(told) + "\n" == SHOWN.text

    name, *project = shlex.split(PROJECT.text)
    assert name == "streamwf"
    project[project.index("--store") + 1] = postgres_url
    with ExitStack() as stack:
        for command in (["worker", "shop.py"], project):
            stack.enter_context(running(*command, folder=tmp_path, settings=settings))
        await until(found, "what the page shows")
    await engine.dispose()
