"""Settings: by flag, by environment, in code, in that order of precedence."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from .errors import InvalidSettings

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def _duration(value: Any) -> Any:
    """Read what people write, like 250ms, 10s or 2m; seconds without a unit."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)?", value) if isinstance(value, str) else None
    if match is None:
        return value
    try:
        return timedelta(seconds=float(match[1]) * _SECONDS[match[2] or "s"])
    except OverflowError:
        raise ValueError("it is too long") from None


Duration = Annotated[timedelta, BeforeValidator(_duration)]

#: As Kafka calls them; people write them in either case.
Protocol = Annotated[
    Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"],
    BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value),
]
Mechanism = Annotated[
    Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"],
    BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),
]


class KafkaSecurity(BaseModel):
    """How a connection to Kafka is secured: a part of `Settings`, and what a `KafkaTopic` of
    another cluster has of its own."""

    # No error shows what was given: it may be a secret.
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    kafka_security_protocol: Protocol = Field(
        default="plaintext",
        description="what the brokers speak: plaintext, ssl, sasl_plaintext or sasl_ssl",
    )
    kafka_sasl_mechanism: Mechanism = Field(
        default="SCRAM-SHA-512",
        description="how to log in to Kafka: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
    )
    kafka_username: str | None = Field(default=None, description="user to log in to Kafka as")
    kafka_password: SecretStr | None = Field(
        default=None, description="the password of kafka_username"
    )
    kafka_password_file: Path | None = Field(
        default=None, description="file with the password of kafka_username"
    )
    kafka_ca_file: Path | None = Field(
        default=None,
        description="certificates (PEM) of who signs those of the brokers; the system's if not set",
    )
    kafka_cert_file: Path | None = Field(
        default=None, description="certificate (PEM) to show to the brokers"
    )
    kafka_key_file: Path | None = Field(
        default=None, description="the private key (PEM) of kafka_cert_file, if it is not in it"
    )
    kafka_key_password: SecretStr | None = Field(
        default=None, description="the password of kafka_key_file"
    )
    kafka_key_password_file: Path | None = Field(
        default=None, description="file with the password of kafka_key_file"
    )
    kafka_check_hostname: bool = Field(
        default=True, description="whether the brokers' certificates have to name their hosts"
    )


class WebAccess(BaseModel):
    """Who gets in over HTTP, and by which connection: a part of `Settings`."""

    web_token_file: Path | None = Field(
        default=None,
        description="file with who may do what over HTTP, by their tokens: `streamwf token` writes"
        " it; read again when it changes",
    )
    web_token: SecretStr | None = Field(
        default=None,
        min_length=20,
        description="a token whose bearer may do everything over HTTP, as `admin`",
    )
    web_authenticator: str | None = Field(
        default=None,
        pattern=r"^[\w.]+:\w+$",
        description="MODULE:NAME of an object of your own that says who asks over HTTP",
    )
    web_open: bool = Field(
        default=False,
        description="whether anybody who reaches the address may do everything, because something"
        " before it sees to who gets in",
    )
    web_allowed_hosts: str | None = Field(
        default=None,
        description="names that requests may be for, separated by commas, beside those of this"
        " machine and that of `advertise`; any, if it listens on other addresses than this"
        " machine's own",
    )
    web_cert_file: Path | None = Field(
        default=None,
        description="certificate (PEM) with its chain to serve HTTPS with, instead of HTTP; read"
        " again when it changes",
    )
    web_key_file: Path | None = Field(
        default=None, description="the private key (PEM) of web_cert_file, if it is not in it"
    )
    web_key_password: SecretStr | None = Field(
        default=None, description="the password of web_key_file"
    )
    web_client_ca_file: Path | None = Field(
        default=None,
        description="certificates (PEM) of who signs those of clients: whoever connects by HTTPS"
        " has to show one, other workers too",
    )
    web_ca_file: Path | None = Field(
        default=None,
        description="certificates (PEM) of who signs those of other workers; the system's if not"
        " set",
    )


class Settings(BaseSettings, KafkaSecurity, WebAccess):
    """How a host runs. Each field can be set as STREAMWF_<NAME> in the environment.

    What is passed in code is the default that the environment and flags override; see `load`.
    """

    model_config = SettingsConfigDict(
        env_prefix="STREAMWF_", extra="forbid", populate_by_name=True, hide_input_in_errors=True
    )

    brokers: str = Field(
        default="127.0.0.1:9092",
        validation_alias=AliasChoices("STREAMWF_BROKERS", "KAFKA_BROKERS"),
        description="Kafka brokers, HOST:PORT separated by commas",
    )
    adapters: Literal["memory", "sqlite", "sql", "redis", "kafka"] = Field(
        default="sqlite",
        validation_alias=AliasChoices("STREAMWF_ADAPTERS", "WORKFLOW_ADAPTERS"),
        description="what `streamwf dev` runs on: memory, sqlite (a file), sql (the database in"
        " `database_url`), redis (the one in `redis_url`) or kafka",
    )
    store: SecretStr | None = Field(
        default=None,
        description="the URL of a database, like sqlite:///orders.db or"
        " postgresql://user@host/orders: where `streamwf dev` keeps everything, before what"
        " `adapters` says (or memory, for nowhere), and where a relay finds the outbox; with the"
        " log in Kafka it may be redis://host or rocksdb:///directory, too",
    )
    log: Literal["store", "kafka"] = Field(
        default="store",
        description="where `streamwf dev` has the log of what it keeps: in the store, or in the"
        " topics of kafka",
    )
    database_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("STREAMWF_DATABASE_URL", "DATABASE_URL"),
        description="the same for `adapters` sql, and for a relay, where `store` is not given",
    )
    store_password: SecretStr | None = Field(
        default=None,
        description="the password for `store`, `database_url` or `redis_url`, if it is not in it",
    )
    store_password_file: Path | None = Field(
        default=None,
        description="file with the password for `store`, `database_url` or `redis_url`",
    )
    redis_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("STREAMWF_REDIS_URL", "REDIS_URL"),
        description="the URL of a Redis for `adapters` redis, where `store` is not given",
    )
    lease: Duration = Field(
        default=timedelta(seconds=10),
        description="a process on a store that is silent for so long is replaced",
    )
    relay: bool = Field(
        default=False, description="whether a worker relays the outbox of the store"
    )
    app_id: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._-]{1,100}$",
        description="the name of the worker group; its workers share the partitions",
    )
    topic_prefix: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._-]{0,80}$",
        description="put before the name of every topic",
    )
    partitions: int = Field(default=8, ge=1, le=10_000, description="shards of each workflow")
    replication_factor: int = Field(default=1, ge=1, description="of topics that are created")
    standby_replicas: int = Field(
        default=0, ge=0, description="workers that keep a copy of each table"
    )
    data_dir: Path = Field(default=Path(".streamwf"), description="where a worker keeps its tables")
    web_host: str = Field(default="127.0.0.1", description="address to listen on")
    web_port: int = Field(
        default=6066, ge=0, le=65_535, description="port to listen on; 0 for a free one"
    )
    advertise: str | None = Field(
        default=None, description="URL at which other workers reach this one"
    )
    checkpoint_interval: Duration = Field(
        default=timedelta(milliseconds=250), description="how often changed rows are made durable"
    )
    processing_guarantee: Literal["at_least_once", "exactly_once"] = Field(
        default="at_least_once",
        description="of workers on Kafka: whether a result may be in the topic again after a crash,"
        " where the fold passes over it (at_least_once), or whoever reads what is committed sees it"
        " once (exactly_once), a transaction's time later",
    )
    session_timeout: Duration = Field(
        default=timedelta(seconds=10),
        description="a worker that is silent for so long is replaced: with 10s its work goes on"
        " elsewhere within 12s of a crash; with 2s within 3s, but the brokers have to allow that in"
        " group.min.session.timeout.ms, and a worker that is held up for 2s is taken for gone",
    )
    shutdown_grace: Duration = Field(
        default=timedelta(seconds=5),
        description="what steps in progress get to finish in at a stop",
    )
    max_record_bytes: int = Field(
        default=1_000_000,
        ge=1_000,
        le=50_000_000,
        description="the largest record that is accepted",
    )
    watchers: int = Field(
        default=1_000, ge=1, description="how many may watch the events of a worker at a time"
    )
    threads: int = Field(default=64, ge=1, description="threads for steps that are plain functions")
    log_level: str = Field(
        default="info",
        pattern="^(debug|info|warning|error)$",
        description="the least that is logged: debug, info, warning or error",
    )
    log_objects: bool = Field(
        default=False,
        description="whether the lines of a workflow that is debugged tell what its runs carry",
    )
    page_dir: Path | None = Field(
        default=None,
        description="directory with files that are served for parts of the page, called like them",
    )
    trace_url: str | None = Field(
        default=None,
        pattern=r"^https?://.*\{trace_id\}",
        description="where the page leads to for a trace, like `http://jaeger:16686/trace/{trace_id}`",
    )


def load(flags: dict[str, Any] | None = None, code: Settings | None = None) -> Settings:
    """Settings from flags, then the environment, then those given in code, then the defaults.

    flags: those that were really given, by field name; None counts as not given.

    Raises InvalidSettings, with every mistake.
    """
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    try:
        told = Settings(**given)
        merged = {} if code is None else code.model_dump(include=code.model_fields_set)
        merged |= told.model_dump(include=told.model_fields_set)
        return Settings.model_validate(merged)
    except ValidationError as error:
        mistakes = "\n".join(
            f"- {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()
        )
        raise InvalidSettings(mistakes=mistakes) from None
