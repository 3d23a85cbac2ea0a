"""Roles in memory hold to the contract."""

import pytest

from streamwf.adapters.roles.memory import MemoryRoles, MemoryRoleScheduler
from streamwf.testing.contracts.role_scheduler import Make, RoleSchedulerContract


class TestMemoryRoles(RoleSchedulerContract):
    lease = 0.1

    @pytest.fixture
    def another(self) -> Make:
        roles = MemoryRoles()
        return lambda: MemoryRoleScheduler(roles)
