"""Roles: their names."""

from enum import Enum, IntEnum, StrEnum, auto

import pytest

from streamwf.naming import Process, role_name


class Numbered(IntEnum):
    CREATED = 1


class Told(StrEnum):
    CREATED = auto()
    Awaiting_Email = "awaiting email"


class Plain(Enum):
    Created = object()


@pytest.mark.parametrize(
    ("workflow", "status", "process", "place", "name"),
    [
        (
            "order processing",
            Numbered.CREATED,
            "consumer",
            (1, 1),
            "order_processing-1-consumer-1-of-1",
        ),
        (
            "user-onboarding",
            Told.Awaiting_Email,
            Process.TIMEOUT,
            (2, 3),
            "user-onboarding-awaiting_email-timeout-consumer-2-of-3",
        ),
        (
            "orders",
            Plain.Created,
            Process.CALLBACK,
            (3, 8),
            "orders-created-callback-consumer-3-of-8",
        ),
    ],
)
def test_a_role_is_called(
    workflow: str, status: Enum, process: str, place: tuple[int, int], name: str
) -> None:
    assert role_name(workflow, status, process, *place) == name
