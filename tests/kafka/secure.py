"""A broker that speaks TLS and wants a log-in, with certificates made for it."""

import subprocess
from pathlib import Path

from streamwf.adapters.kafka_jars import kafka_runtime
from streamwf.adapters.local_kafka import LocalKafka, _free_ports
from tests.certificates import Authority

USER = "parcels-worker"
PASSWORD = "Tr0ub4dor-and-3"
KEY_PASSWORD = "another-Tr0ub4dor"

_JAAS = "org.apache.kafka.common.security"

#: Each of the broker's listeners: what it speaks, and the host that it says it is at. The
#: certificate is for localhost alone.
LISTENERS = {
    "TLS": ("SSL", "localhost"),
    "MUTUAL": ("SSL", "localhost"),
    "MISNAMED": ("SSL", "127.0.0.1"),
    "LOGIN": ("SASL_SSL", "localhost"),
    "CLEAR": ("SASL_PLAINTEXT", "localhost"),
}


class SecureKafka(LocalKafka):
    """One listener for each way to connect, beside the plain one."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.authority = Authority(folder, "authority")
        self.stranger = Authority(folder, "stranger")
        self.client_file = self.authority.issue("client", password=KEY_PASSWORD)
        self._broker_file = self.authority.issue("broker", ["localhost"])
        self._ports = dict(zip(LISTENERS, _free_ports(len(LISTENERS)), strict=True))

    def at(self, listener: str, host: str = "localhost") -> str:
        """The address of a listener."""
        return f"{host}:{self._ports[listener]}"

    def start(self, timeout: float = 60.0) -> None:
        super().start(timeout)
        # By a command for each: a broker does not take both in one request.
        adding = [self._add_user(f"SCRAM-SHA-{bits}") for bits in (256, 512)]
        assert [process.wait(timeout) for process in adding] == [0, 0]

    def _add_user(self, mechanism: str) -> subprocess.Popen[bytes]:
        command = kafka_runtime().command(
            *("kafka.admin.ConfigCommand", "--bootstrap-server", self.bootstrap, "--alter"),
            *("--add-config", f"{mechanism}=[password={PASSWORD}]"),
            *("--entity-type", "users", "--entity-name", USER),
        )
        return subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def _properties(self) -> dict[str, str]:
        found = super()._properties()
        speaks = [f"{name}:{protocol}" for name, (protocol, _) in LISTENERS.items()]
        bound = [f"{name}://{self.at(name, '127.0.0.1')}" for name in LISTENERS]
        told = [f"{name}://{self.at(name, host)}" for name, (_, host) in LISTENERS.items()]
        scram = f"{_JAAS}.scram.ScramLoginModule required;"
        plain = f'{_JAAS}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
        for name in ("login", "clear"):
            found[f"listener.name.{name}.sasl.enabled.mechanisms"] = (
                "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512" if name == "login" else "PLAIN"
            )
            found[f"listener.name.{name}.plain.sasl.jaas.config"] = plain
            for bits in (256, 512):
                found[f"listener.name.{name}.scram-sha-{bits}.sasl.jaas.config"] = scram
        return {
            **found,
            "listeners": ",".join([found["listeners"], *bound]),
            "advertised.listeners": ",".join([f"PLAINTEXT://{self.bootstrap}", *told]),
            "listener.security.protocol.map": ",".join(
                [found["listener.security.protocol.map"], *speaks]
            ),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self._broker_file),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.authority.ca_file),
            "listener.name.mutual.ssl.client.auth": "required",
        }
