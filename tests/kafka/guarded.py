"""A broker whose users may do what they were granted, and no more."""

from collections.abc import Iterable

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest

from streamwf.adapters.local_kafka import LocalKafka, _free_ports

PASSWORD = "Tr0ub4dor-and-3"

#: What may be granted, and on what, by Kafka's numbers.
TOPICS, GROUPS, CLUSTER, TRANSACTIONS = (2, "*"), (3, "*"), (4, "kafka-cluster"), (5, "*")
ALL, READ, DESCRIBE = 2, 3, 8

#: Each user lacks what its name says.
GRANTS = {
    "anything": ([], []),
    "groups": ([TOPICS, CLUSTER, TRANSACTIONS], [ALL]),
    "transactions": ([TOPICS, GROUPS, CLUSTER], [ALL]),
    "writing": ([TOPICS, GROUPS], [READ, DESCRIBE]),
}

_LITERAL, _ALLOW = 3, 3
_MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule"


class GuardedKafka(LocalKafka):
    """Who logs in at `guarded` has the rights of that user; at `bootstrap`, all."""

    def __init__(self) -> None:
        super().__init__()
        self.guarded = f"127.0.0.1:{_free_ports(1)[0]}"

    def settings(self, user: str) -> dict[str, str]:
        """The environment of who logs in as a user."""
        return {
            "STREAMWF_BROKERS": self.guarded,
            "STREAMWF_KAFKA_SECURITY_PROTOCOL": "sasl_plaintext",
            "STREAMWF_KAFKA_SASL_MECHANISM": "PLAIN",
            "STREAMWF_KAFKA_USERNAME": user,
            "STREAMWF_KAFKA_PASSWORD": PASSWORD,
        }

    async def grant_all(self) -> None:
        client = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await client.start()
        try:
            for user, (resources, operations) in GRANTS.items():
                await self._grant(client, user, resources, operations)
        finally:
            await client.close()

    async def _grant(
        self,
        client: AIOKafkaAdminClient,
        user: str,
        resources: Iterable[tuple[int, str]],
        operations: Iterable[int],
    ) -> None:
        for kind, name in resources:
            for operation in operations:
                asked = (kind, name, _LITERAL, f"User:{user}", "*", operation, _ALLOW)
                told = await client._send_request(CreateAclsRequest(*asked))
                assert [code for code, _ in told.creation_responses] == [0]

    def _properties(self) -> dict[str, str]:
        found = super()._properties()
        users = " ".join(f'user_{user}="{PASSWORD}"' for user in GRANTS)
        return {
            **found,
            "listeners": f"{found['listeners']},LOGIN://{self.guarded}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap},LOGIN://{self.guarded}",
            "listener.security.protocol.map": (
                f"{found['listener.security.protocol.map']},LOGIN:SASL_PLAINTEXT"
            ),
            "listener.name.login.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.login.plain.sasl.jaas.config": f"{_MODULE} required {users};",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }
