"""The simulated platform and the project folder of the service tests."""

from __future__ import annotations

from tests.service.conftest import _server, platform, project

__all__ = ["_server", "platform", "project"]
