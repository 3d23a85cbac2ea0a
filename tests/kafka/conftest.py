"""A cluster of workers for each test."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streamwf.adapters.local_kafka import LocalKafka
from tests.kafka.cluster import Cluster
from tests.kafka.secure import SecureKafka

MakeCluster = Callable[..., Cluster]


@pytest.fixture
def make_cluster(tmp_path: Path) -> Iterator[MakeCluster]:
    """Makes clusters on a given broker, and ends their workers after the test."""
    made: list[Cluster] = []

    def make(brokers: str, **environment: str) -> Cluster:
        prefix = f"t{uuid.uuid4().hex[:8]}."
        made.append(Cluster(brokers, tmp_path, prefix, **environment))
        return made[-1]

    yield make
    for cluster in made:
        cluster.close()


@pytest.fixture
def cluster(kafka: str, make_cluster: MakeCluster) -> Cluster:
    """A cluster on the session's broker, with no worker started yet."""
    return make_cluster(kafka)


@pytest.fixture(scope="session")
def secure_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    """A broker that speaks TLS and wants a log-in."""
    with SecureKafka(tmp_path_factory.mktemp("certificates")) as broker:
        yield broker


@pytest.fixture
def own_cluster(own_kafka: LocalKafka, make_cluster: MakeCluster) -> Cluster:
    """A cluster on a broker of its own."""
    return make_cluster(own_kafka.bootstrap)
