"""What is checked before anything leaves, and what is taken out of what comes back. Pure.

The host, the proxy, the files and the key that `client` is given; the key must go nowhere but into its header.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from importlib.util import find_spec
from ipaddress import ip_address
from urllib.parse import urlsplit

from reconciler.errors import AuthenticationError, InvalidInput
from reconciler.platform.disguises import disguises_of
from reconciler.platform.replies import clean

REDACTED = "[redacted]"


def checked_key(key: str) -> str:
    """The key, if a header can carry it. Raises AuthenticationError, which never shows it."""
    for place, char in enumerate(key, 1):
        if not "!" <= char <= "~":
            what = "a line break or blank" if char.isspace() else "a character outside printable ASCII"
            raise AuthenticationError(
                f"The API key cannot be sent: its character {place} of {len(key)} is {what}.",
                next_step="Store the key alone, on one line.",
            )
    if not key:
        raise AuthenticationError("The API key is empty.")
    return key


def redacted(body: bytes, key: str) -> bytes:
    """A body without the key in any spelling that is known, also where the body ends inside it."""
    disguises = disguises_of(key)
    return body if disguises is None else disguises.taken_out(body, REDACTED.encode())


def redacted_text(text: str, key: str) -> str:
    """As `redacted`, for what is text already."""
    return redacted(text.encode("utf-8", "surrogatepass"), key).decode("utf-8", "replace")


def checked_origin(origin: str) -> str:
    """Scheme, host and port. Raises InvalidInput for anything else, AuthenticationError for plain http to elsewhere."""
    try:
        url = urlsplit(origin)
        port = url.port
    except ValueError as error:
        raise InvalidInput(f"The host {clean(origin, 200)!r} is not an address.") from error
    more = "@" in url.netloc or url.query or url.fragment or url.path not in {"", "/"} or port == 0
    odd = any(char.isspace() or not char.isprintable() for char in origin)  # urlsplit drops some of them silently
    if url.scheme not in {"https", "http"} or not url.hostname or more or odd:
        raise InvalidInput(f"The host must be like https://agent-platform.example.com, not {clean(origin, 200)!r}.")
    if url.scheme == "http" and not is_loopback(url.hostname):
        raise AuthenticationError(
            f"The host {clean(url.hostname, 200)} is to be called over plain http: everybody on the way could read the API key.",
            next_step="Write https://; plain http is only for a simulator on this machine.",
        )
    return f"{url.scheme}://{url.netloc}"


def is_loopback(host: str) -> bool:
    """Whether a host name can only mean this machine."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def proxy_for(host: str, port: int, environ: Mapping[str, str]) -> str | None:
    """The proxy that the usual variables name for an https host; lower case wins, as in curl. None: go there directly."""
    if is_loopback(host) or _is_exempt(host, port, environ.get("no_proxy") or environ.get("NO_PROXY") or ""):
        return None
    names = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
    proxy = next((value for name in names if (value := environ.get(name, "").strip())), None)
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"


def _is_exempt(host: str, port: int, no_proxy: str) -> bool:
    """`no_proxy` lists `*`, names, `.suffixes` and addresses, each perhaps with a port; a name stands for its subdomains too."""
    name = host.rstrip(".").lower()
    for entry in (part.strip().lower() for part in no_proxy.split(",")):
        pattern = entry.removesuffix(f":{port}").strip("[]").removeprefix("*.").lstrip(".")
        if entry == "*" or (pattern and (name == pattern or name.endswith(f".{pattern}"))):
            return True
    return False


def checked_proxy(proxy: str | None) -> str | None:
    """Raises InvalidInput; a proxy's address may hold a password, so it is never shown."""
    if proxy is None:
        return None
    try:
        url = urlsplit(proxy)
        usable = url.scheme in {"http", "https", "socks5", "socks5h"} and bool(url.hostname) and url.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise InvalidInput(
            "The proxy in https_proxy or all_proxy is not an address like http://proxy.example.com:3128."
        )
    if url.scheme.startswith("socks") and find_spec("socksio") is None:
        raise InvalidInput("The proxy in https_proxy or all_proxy speaks SOCKS: install httpx[socks] to use it.")
    return proxy


def checked_ca_file(ca_file: str | None) -> str | None:
    if ca_file is None:
        return None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(ca_file)
    except OSError as error:  # ssl.SSLError is one
        why = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise InvalidInput(f"The caFile {ca_file} cannot be used: {why}.") from error
    return ca_file
