"""One warm parent for all crash tests of a pytest process, and scratch folders that cost no disk."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.nursery import Nursery

_MEMORY = Path("/dev/shm")  # a kill leaves what the kernel has, wherever that is; power cuts are made by the injector


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Forks workers."""
    with Nursery() as nursery:
        yield nursery


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder in memory where there is one."""
    parent = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="reconciler-crash-", dir=parent))
    yield folder
    shutil.rmtree(folder)
