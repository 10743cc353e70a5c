"""A disk that is full, broken, read-only or forbidden, at every call that changes a file."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tests.crash.disk import ERRORS, THREE, file_calls, refuse
from tests.crash.evidence import folder_for
from tests.crash.history import write_project
from tests.crash.injector import Fault, How
from tests.crash.nursery import Nursery

pytestmark = pytest.mark.crash


@pytest.mark.parametrize(("part", "how"), [(0, "error"), (1, "errors")])
def test_a_disk_that_refuses(part: int, how: How, nursery: Nursery, scratch: Path, tmp_path: Path) -> None:
    """Nothing is sent that cannot be recorded, what cannot be recorded is told, and the next run goes on.

    Calls fail once and from there on by turns, with each error by turns; `make torture` tries every one with everything.
    """
    project = write_project(scratch / "project", THREE)
    (scratch / "peace").mkdir()
    codes = set()
    for number, at in enumerate(file_calls(nursery, scratch / "peace", project)):
        if number % 2 != part:
            continue
        fault = Fault(at=at, how=how, errno=ERRORS[(at // 2) % len(ERRORS)])
        repeat = f"disk --at {at} --how {how} --errno {errno.errorcode[fault.errno]}"
        with folder_for(scratch, f"at{at}", tmp_path, repeat) as folder:
            codes.add(refuse(nursery, folder, project, fault))
    assert codes == {0, 6, 9}
