"""Certificates for tests, made by the openssl program: an authority, and servers that are in order, out of date or misnamed."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

OPENSSL = shutil.which("openssl")

_CONFIG = """\
[req]
distinguished_name = dn
prompt = no
[dn]
CN = {name}
[ca]
default_ca = usual
[usual]
database = {folder}/index.txt
rand_serial = yes
default_md = sha256
policy = any
email_in_dn = no
unique_subject = no
new_certs_dir = {folder}
[any]
commonName = supplied
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[alone]
basicConstraints = critical, CA:false
subjectAltName = {alternative}
[server]
basicConstraints = critical, CA:false
subjectAltName = {alternative}
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always
"""
When = Literal["now", "expired", "not yet"]
_VALID: dict[When, tuple[str, str]] = {
    "now": ("20200101000000Z", "20991231235959Z"),
    "expired": ("20200101000000Z", "20200102000000Z"),
    "not yet": ("20980101000000Z", "20991231235959Z"),
}


@dataclass(frozen=True, kw_only=True)
class Authority:
    """One certificate authority in a folder of its own."""

    folder: Path

    @property
    def ca_file(self) -> str:
        return str(self.folder / "authority.pem")

    def server(self, name: str = "localhost", *, valid: When = "now") -> ssl.SSLContext:
        """A server's side of TLS with a certificate for `name`."""
        place = self.folder / f"{name} {valid}"
        if not place.exists():
            place.mkdir()
            self._sign(place, name, _VALID[valid])
        return _server_side(place)

    def self_signed(self, name: str = "localhost") -> ssl.SSLContext:
        """A server that nobody but itself vouches for."""
        place = self.folder / f"{name} alone"
        if not place.exists():
            place.mkdir()
            config = _write_config(place, name, f"DNS:{name}")
            _new_key(place / "key.pem")
            _openssl(
                *("req", "-new", "-x509", "-config", config, "-extensions", "alone", "-days", "3650"),
                *("-key", place / "key.pem", "-out", place / "cert.pem"),
            )
        return _server_side(place)

    def _sign(self, place: Path, name: str, valid: tuple[str, str]) -> None:
        kind = "IP" if name.replace(".", "").isdigit() else "DNS"
        config = _write_config(place, name, f"{kind}:{name}")
        _new_key(place / "key.pem")
        _openssl("req", "-new", "-config", config, "-key", place / "key.pem", "-out", place / "request.pem")
        (place / "index.txt").touch()
        _openssl(
            *("ca", "-batch", "-notext", "-config", config, "-extensions", "server"),
            *("-cert", self.ca_file, "-keyfile", self.folder / "key.pem"),
            *("-startdate", valid[0], "-enddate", valid[1]),
            *("-in", place / "request.pem", "-out", place / "cert.pem"),
        )


def _server_side(place: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place / "cert.pem", place / "key.pem")
    return context


def make_authority(folder: Path) -> Authority:
    """A new authority; its files go into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    config = _write_config(folder, "An authority for tests", "DNS:unused")
    _new_key(folder / "key.pem")
    _openssl(
        *("req", "-new", "-x509", "-config", config, "-extensions", "authority", "-days", "3650"),
        *("-key", folder / "key.pem", "-out", folder / "authority.pem"),
    )
    return Authority(folder=folder)


def _write_config(folder: Path, name: str, alternative: str) -> Path:
    config = folder / "openssl.cnf"
    config.write_text(_CONFIG.format(folder=folder, name=name, alternative=alternative), encoding="utf-8")
    return config


def _new_key(path: Path) -> None:
    _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path)


def _openssl(*arguments: str | Path) -> None:
    assert OPENSSL is not None
    done = subprocess.run([OPENSSL, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
