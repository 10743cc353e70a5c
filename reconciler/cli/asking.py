"""One question to the platform from a command that runs nothing: what is this dock status?"""

from __future__ import annotations

import asyncio

from reconciler.errors import AuthenticationError, PlatformUnreachable, TlsTrustError
from reconciler.platform.client import HttpPlatform
from reconciler.platform.endings import DockAnswer, Unauthorized, Unreachable, read_dock_status


def ask(platform: HttpPlatform, dock_status_id: str) -> DockAnswer:
    """The platform's answer. Raises AuthenticationError, TlsTrustError or PlatformUnreachable where there is none."""

    async def asked() -> DockAnswer:
        try:
            return read_dock_status(await platform.ask(dock_status_id), dock_status_id=dock_status_id)
        finally:
            await platform.close()

    match asyncio.run(asked()):
        case Unauthorized(message=why):
            raise AuthenticationError(f"{platform.origin} refuses the API key: {why}.")
        case Unreachable(error=why, trust=True):
            raise TlsTrustError(f"{platform.origin}: {why}.")
        case Unreachable(error=why):
            raise PlatformUnreachable(f"{platform.origin} cannot be reached: {why}.")
        case answer:
            return answer
