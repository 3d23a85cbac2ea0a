"""TLS between a process and its store, on real servers that insist on it."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, make_url, text

from streamwf.adapters.redis.client import Server
from streamwf.adapters.sql.engine import create
from streamwf.errors import (
    InvalidSettings,
    StoreDenied,
    StoreMisnamed,
    StoreNotTrusted,
    StoreUnreachable,
)
from tests.certificates import Authority
from tests.servers import MariaDB, Postgres, PrivateServer, Redis
from tests.stores.conftest import SETTING

KEY_PASSWORD = "Tr0ub4dor-and-3"


def text_of(url: URL) -> str:
    return url.render_as_string(hide_password=False)


class Secure:
    """A server that insists on TLS. Its certificate is for localhost alone."""

    def __init__(self, server: PrivateServer, authority: Authority) -> None:
        self.server = server
        self.authority = authority

    def url(self, host: str = "localhost", **parameters: str) -> str:
        url = make_url(self.server.url).set(host=host).update_query_dict(parameters)
        return text_of(url.set(drivername="rediss") if url.drivername == "redis" else url)

    def plain_url(self) -> str:
        url = self.server.url
        return url if url.startswith("redis:") else f"{url}?sslmode=disable"


def postgres(folder: Path, authority: Authority) -> PrivateServer:
    server = Postgres()
    files = put(server, authority)
    hba = server.directory / "hba.conf"
    # In one of its databases it wants a certificate as well.
    hba.write_text(
        "hostssl template1 all all scram-sha-256 clientcert=verify-ca\n"
        "hostssl all all all scram-sha-256\n"
    )
    hba.chmod(0o644)
    server.settings = tuple(
        part
        for setting in (
            "ssl=on",
            f"ssl_cert_file={files['server']}",
            f"ssl_key_file={files['server']}",
            f"ssl_ca_file={files['authority']}",
            f"hba_file={hba}",
        )
        for part in ("-c", setting)
    )
    return server


def mariadb(folder: Path, authority: Authority) -> PrivateServer:
    server = MariaDB()
    files = put(server, authority)
    server.settings = (
        f"--ssl-cert={files['server']}",
        f"--ssl-key={files['server']}",
        f"--ssl-ca={files['authority']}",
        "--require-secure-transport=ON",
    )
    return server


def redis(folder: Path, authority: Authority) -> PrivateServer:
    server = Redis()
    files = put(server, authority)
    server.settings = (
        *("--port", "0", "--tls-port", str(server.port), "--tls-auth-clients", "no"),
        *("--tls-cert-file", str(files["server"]), "--tls-key-file", str(files["server"])),
        *("--tls-ca-cert-file", str(files["authority"])),
    )
    return server


def put(server: PrivateServer, authority: Authority) -> dict[str, Path]:
    """The certificates where the server reads them, as its account."""
    found = {}
    for file in (authority.issue("server", ["localhost"]), authority.ca_file):
        found[file.stem] = place = Path(shutil.copy(file, server.directory / file.name))
        place.chmod(0o600)
        server.own(place)
    return found


@pytest.fixture(scope="module", params=[postgres, mariadb, redis], ids=lambda kind: kind.__name__)
def secure(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Secure]:
    make: Callable[[Path, Authority], PrivateServer] = request.param
    folder = tmp_path_factory.mktemp("certificates")
    authority = Authority(folder, "authority")
    with make(folder, authority) as server:
        yield Secure(server, authority)


async def connect(url: str) -> None:
    """Ask a server something, by a connection with TLS if it speaks of that."""
    if url.startswith("redis"):
        server = Server(url, SETTING)
        try:
            with server.reached():
                await server.client.set("key", "value")
        finally:
            await server.close()
    else:
        assert await cipher(url)


async def cipher(url: str) -> str:
    """What cipher a connection has, as its server says."""
    engine = create(url, SETTING)
    query = "SELECT cipher FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    if engine.dialect.name != "postgresql":
        query = "SELECT VARIABLE_VALUE FROM information_schema.SESSION_STATUS"
        query += " WHERE VARIABLE_NAME = 'Ssl_cipher'"
    try:
        async with engine.connect() as connection:
            return str((await connection.execute(text(query))).scalar_one())
    finally:
        await engine.dispose()


async def test_with_who_signs_the_certificate_named(secure: Secure) -> None:
    ca_file = str(secure.authority.ca_file)
    for mode in ({}, {"sslmode": "verify-full"}, {"sslmode": "verify-ca"}, {"sslmode": "require"}):
        await connect(secure.url(sslrootcert=ca_file, **mode))


async def test_without_a_look_at_the_certificate(secure: Secure) -> None:
    await connect(secure.url(sslmode="require"))


async def test_who_signs_it_is_not_trusted(secure: Secure, tmp_path: Path) -> None:
    stranger = str(Authority(tmp_path, "stranger").ca_file)
    for parameters in ({"sslmode": "verify-full"}, {"sslrootcert": stranger}):
        with pytest.raises(StoreNotTrusted, match=SETTING):
            await connect(secure.url(**parameters))


async def test_a_certificate_of_another_host(secure: Secure) -> None:
    ca_file = str(secure.authority.ca_file)
    with pytest.raises(StoreMisnamed, match=SETTING):
        await connect(secure.url("127.0.0.1", sslrootcert=ca_file))
    await connect(secure.url("127.0.0.1", sslrootcert=ca_file, sslmode="verify-ca"))


async def test_in_the_plain_it_does_not_let_one_in(secure: Secure) -> None:
    with pytest.raises(StoreUnreachable):
        await connect(secure.plain_url())


@pytest.mark.parametrize("which", ["postgres_url", "mariadb_url"])
async def test_a_server_without_tls_is_refused(which: str, request: pytest.FixtureRequest) -> None:
    url = make_url(request.getfixturevalue(which)).update_query_dict({"sslmode": "require"})
    with pytest.raises(StoreUnreachable):
        await connect(text_of(url))


@pytest.mark.parametrize("secure", [postgres], indirect=True)
async def test_a_certificate_of_ones_own(secure: Secure) -> None:
    url = make_url(secure.url(sslrootcert=str(secure.authority.ca_file))).set(database="template1")
    with pytest.raises(StoreDenied, match="certificate"):
        await connect(text_of(url))
    mine = str(secure.authority.issue("client", password=KEY_PASSWORD))
    shown = {"sslcert": mine, "sslpassword": KEY_PASSWORD}
    await connect(text_of(url.update_query_dict(shown)))


def test_parameters_of_a_redis_url_that_is_none_of_tls() -> None:
    with pytest.raises(InvalidSettings, match="no parameter 'sslmode'"):
        Server("redis://localhost/0?sslmode=require", SETTING)


async def test_mistakes_are_told_by_their_names(secure: Secure, tmp_path: Path) -> None:
    sealed = str(secure.authority.issue("client", password=KEY_PASSWORD))
    for parameters, said in (
        ({"sslmode": "sometimes"}, "sslmode is 'sometimes'"),
        ({"sslrootcert": "nowhere.pem"}, "sslrootcert: nowhere.pem can't be read"),
        ({"sslkey": sealed}, "the key of an sslcert, which is missing"),
        ({"sslcert": sealed, "sslpassword": "guessed"}, "sslpassword: it does not open"),
    ):
        with pytest.raises(InvalidSettings, match=said) as raised:
            await connect(secure.url(**parameters))
        assert SETTING in str(raised.value)
        assert "guessed" not in str(raised.value)
