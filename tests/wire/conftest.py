"""Two certificate authorities for the tests of this folder; where openssl is missing, what needs them is skipped."""

from __future__ import annotations

import pytest

from tests.support.certificates import OPENSSL, Authority, make_authority


def _made(tmp_path_factory: pytest.TempPathFactory, name: str) -> Authority:
    if OPENSSL is None:
        pytest.skip("the openssl program, which makes the certificates, is not there")
    return make_authority(tmp_path_factory.mktemp(name))


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that only `ca_file` makes trusted."""
    return _made(tmp_path_factory, "authority")


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Another authority, of the same name."""
    return _made(tmp_path_factory, "stranger")
