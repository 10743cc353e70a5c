"""Addresses of stores for people: without the user name and password that they may hold. Pure."""

from __future__ import annotations

import re

_USERINFO = re.compile(r"(?<=://)[^/\s?#'\"]*@")
_PARAMETER = re.compile(r"(?i)([?&](?:password|sslpassword|passfile|sig|[a-z_-]*(?:token|secret|key))=)[^&\s'\"#]*")


def without_credentials(text: str) -> str:
    """The text, with what stands before an `@` in any address in it taken out, and passwords among its parameters."""
    return _PARAMETER.sub(r"\1…", _USERINFO.sub("", text))
