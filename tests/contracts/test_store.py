"""The contract, for every store there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.state.file import FileStore
from reconciler.state.memory import MemoryStore
from reconciler.state.store import Store
from tests.contracts.store_contract import Opener, StoreContract


class _OneStore(Opener):
    """The memory store is its own state: every handle is the same."""

    def __init__(self) -> None:
        self._store = MemoryStore("production")

    def open(self) -> Store:
        return self._store


class _OneFolder(Opener):
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self) -> Store:
        return FileStore(self._folder, "production")


class TestMemoryStore(StoreContract):
    """In memory."""

    @pytest.fixture
    def opener(self) -> Opener:
        return _OneStore()


class TestFileStore(StoreContract):
    """In a folder."""

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        return _OneFolder(tmp_path / "state")
