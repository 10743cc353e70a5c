"""The state in a bucket: answers that are lost, writers that slept, buckets that are not there or keep no conditions."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.errors import AuthenticationError, StateCorrupt, StateError, StateForeign, UsageError
from reconciler.state.bucket import Bucket, Version
from reconciler.state.fold import fold
from reconciler.state.objects import KEPT, LOOK_AGAIN, ObjectStore, environments_in
from reconciler.state.store import Conflict, DurabilityLost
from tests.support.fake_gcs import GcsFake
from tests.support.records import HOLDER, empty, note


@pytest.fixture
def fake(gcs: GcsFake) -> Iterator[GcsFake]:
    yield gcs
    gcs.lost = gcs.cut = 0
    gcs.forbidden = gcs.missing = gcs.ignores_conditions = False


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"gs://bucket-{tmp_path.name.replace('[', '-').replace(']', '')}/prefix"


class Clock:
    """Seconds, as a test wants them."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def store_of(url: str, clock: Clock | None = None) -> ObjectStore:
    return ObjectStore(Bucket(url, os.environ), "production", clock=clock or Clock())


def begun(url: str) -> ObjectStore:
    store = store_of(url)
    store.create(empty())
    return store


def logs(fake: GcsFake, url: str) -> list[str]:
    """The names of the log's objects."""
    folder = f"{url.removeprefix('gs://')}/production/log/"
    return sorted(path.removeprefix(folder) for path in fake.objects if path.startswith(folder))


def compact(store: ObjectStore) -> None:
    stored = store.read()
    store.compact(stored.seq, fold(stored.snapshot, stored.records))


# Answers that are lost


@pytest.mark.parametrize("lost", [1, 3])
def test_a_lost_answer_is_read_back(fake: GcsFake, url: str, lost: int) -> None:
    """The write counted, its repetition is refused because of it, and it is known as our own."""
    store = begun(url)
    fake.lost = lost
    assert store.append(0, [note(1)]) == 1
    assert store.append(1, [note(2)]) == 2
    assert store_of(url).read().records == (note(1), note(2))


def test_a_lost_request_is_sent_again(fake: GcsFake, url: str) -> None:
    """The write did not get there: it is sent again, and counts once."""
    store = begun(url)
    fake.cut = 2
    assert store.append(0, [note(1)]) == 1
    assert store_of(url).read().records == (note(1),)


def test_two_who_write_the_same_are_told_apart(fake: GcsFake, url: str) -> None:
    """Equal records of two writers are two writes: one is refused, also when its answer was lost."""
    one, other = begun(url), store_of(url)
    other.read()
    one.append(0, [note(1)])
    fake.lost = 1
    with pytest.raises(Conflict):
        other.append(0, [note(1)])


def test_a_lost_answer_to_a_compaction(fake: GcsFake, url: str) -> None:
    """The snapshot counts once."""
    store = begun(url)
    store.append(0, [note(1)])
    fake.lost = 1
    compact(store)
    assert store_of(url).read().snapshot.serial == 1


class _Overtaken(Bucket):
    """Somebody else is faster between the last look at the snapshot and the next write."""

    meddle: Callable[[], None] | None = None

    def replace(self, name: str, data: bytes, before: Version) -> Version | None:
        self._be_overtaken()
        return super().replace(name, data, before)

    def put(self, name: str, data: bytes) -> None:
        self._be_overtaken()
        super().put(name, data)

    def _be_overtaken(self) -> None:
        meddle, self.meddle = self.meddle, None
        if meddle is not None:
            meddle()


def test_a_compaction_replaces_only_what_it_read(fake: GcsFake, url: str) -> None:
    """A snapshot that somebody else replaced meanwhile is not overwritten by an older one."""
    begun(url).append(0, [note(1)])
    bucket, other = _Overtaken(url, os.environ), store_of(url)
    store = ObjectStore(bucket, "production", clock=Clock())
    stored = store.read()

    def append_and_compact() -> None:
        other.append(1, [note(2)])
        compact(other)

    other.read()
    bucket.meddle = append_and_compact
    with pytest.raises(Conflict):
        store.compact(1, fold(stored.snapshot, stored.records))
    assert (store_of(url).read().snapshot.seq, store_of(url).read().snapshot.serial) == (2, 1)


def test_lost_answers_about_the_run_lock(fake: GcsFake, url: str) -> None:
    """Taken, renewed and released, each without an answer: it stays the same lock, and is free in the end."""
    store = begun(url)
    fake.lost = 1
    lock = store.lock_run(HOLDER)
    for _ in range(2):
        fake.lost = 1
        lock.renew()
    assert not store_of(url).sender_is_dead()
    fake.lost = 1
    lock.release()
    assert store_of(url).sender_is_dead()


def test_without_any_answer_nothing_is_said(fake: GcsFake, url: str) -> None:
    """A store that is gone leaves the append in doubt, and the handle writes nothing more."""
    store = begun(url)
    fake.cut = 1000
    with pytest.raises(DurabilityLost, match="cannot be told"):
        store.append(0, [note(1)])
    fake.cut = 0
    with pytest.raises(DurabilityLost):
        store.append(0, [note(1)])
    assert store_of(url).append(0, [note(1)]) == 1


# Sleepers


def test_spent_objects_go_after_a_day(fake: GcsFake, url: str) -> None:
    """What a snapshot holds is kept for a day in the log too, and then cleared up by the next compaction."""
    store = begun(url)
    store.append(0, [note(1)])
    compact(store)
    store.append(1, [note(2)])
    compact(store)
    assert len(logs(fake, url)) == 2
    fake.age(f"{url.removeprefix('gs://')}/production/log/{1:020d}", KEPT * 2)
    store.append(2, [note(3)])
    compact(store)
    assert logs(fake, url) == [f"{2:020d}.json", f"{3:020d}.json"]
    assert set(store_of(url).read().snapshot.entries) == {"cm-1", "cm-2", "cm-3"}


def test_a_writer_who_slept_finds_no_free_name(fake: GcsFake, url: str) -> None:
    """The name that it would write to was used and cleared up meanwhile: it looks again, and is refused."""
    clock = Clock()
    begun(url)
    sleeper, other = store_of(url, clock), store_of(url)
    assert sleeper.read().seq == 0
    for n in range(3):
        other.append(n, [note(n)])
    compact(other)
    fake.age("/log/", KEPT * 2)
    other.append(3, [note(3)])
    compact(other)
    assert f"{1:020d}.json" not in logs(fake, url)
    clock.time += LOOK_AGAIN + 1
    with pytest.raises(Conflict):
        sleeper.append(0, [note(9)])
    assert sleeper.read_since(0) is None
    assert "cm-9" not in store_of(url).read().snapshot.entries


def test_a_writer_who_slept_while_it_wrote_says_so(fake: GcsFake, url: str) -> None:
    """Whether its record counts cannot be known then; it writes nothing more."""

    class Slow(Bucket):
        def create(self, name: str, data: bytes) -> Version | None:
            clock.time += KEPT.total_seconds()
            return super().create(name, data)

    clock = Clock()
    begun(url)
    store = ObjectStore(Slow(url, os.environ), "production", clock=clock)
    store.read()
    with pytest.raises(DurabilityLost, match="slept"):
        store.append(0, [note(1)])


# What is not as it should be


def test_a_store_without_conditions_is_refused(fake: GcsFake, url: str) -> None:
    """It would let two write the same record: no state is made there, and nothing is left behind."""
    fake.ignores_conditions = True
    with pytest.raises(StateError, match="ignores conditions"):
        store_of(url).create(empty())
    assert not [path for path in fake.objects if url.removeprefix("gs://") in path]


def test_a_bucket_that_is_not_there(fake: GcsFake, url: str) -> None:
    """It says so, instead of that there is no state."""
    fake.missing = True
    for use in (store_of(url).read, lambda: store_of(url).create(empty())):
        with pytest.raises(StateError, match="no such bucket"):
            use()


def test_whoever_may_not_is_told(fake: GcsFake, url: str) -> None:
    """Exit 4, with what the credentials must allow."""
    store = begun(url)
    fake.forbidden = True
    for use in (store.read, lambda: store.append(0, [note(1)]), lambda: store.lock_run(HOLDER)):
        with pytest.raises(AuthenticationError) as refused:
            use()
        assert "read, write and list" in refused.value.next_step


def test_who_may_only_read_sees_the_lock_as_held(fake: GcsFake, url: str) -> None:
    """Without the store's time nobody is declared dead."""
    begun(url).lock_run(HOLDER)
    fake.age("/lock.json", timedelta(days=1))

    class ReadOnly(Bucket):
        def put(self, name: str, data: bytes) -> None:
            raise AuthenticationError("read only")

    assert not ObjectStore(ReadOnly(url, os.environ), "production").sender_is_dead()
    assert store_of(url).sender_is_dead()


@pytest.mark.parametrize(
    ("part", "text", "why"),
    [
        ("state.json", b"{}", "damaged"),
        ("state.json", None, "is gone"),
        (f"log/{1:020d}.json", b"[]", "damaged"),
        (f"log/{1:020d}.json", None, "is gone"),
        ("lock.json", b"{}", "damaged"),
    ],
)
def test_damage_is_named(fake: GcsFake, url: str, part: str, text: bytes | None, why: str) -> None:
    """An object that somebody changed or removed stops everything."""
    store = begun(url)
    store.append(0, [note(1)])
    store.append(1, [note(2)])
    bucket = Bucket(url, os.environ)
    if text is None:
        bucket.delete([f"production/{part}"])
    else:
        bucket.put(f"production/{part}", text)
    with pytest.raises(StateCorrupt, match=why):
        store_of(url).lock_run(HOLDER) if part == "lock.json" else store_of(url).read()


def test_remains_are_not_written_over(fake: GcsFake, url: str) -> None:
    """A log without its snapshot is no place for a new state."""
    begun(url).append(0, [note(1)])
    Bucket(url, os.environ).delete(["production/state.json"])
    with pytest.raises(StateForeign):
        store_of(url).create(empty())


def test_the_environments_of_a_bucket(fake: GcsFake, url: str) -> None:
    """Those that have a state; the prefix belongs to nobody else."""
    begun(url)
    ObjectStore(Bucket(url, os.environ), "staging").create(empty("staging"))
    assert environments_in(Bucket(url, os.environ)) == ("production", "staging")
    assert environments_in(Bucket(f"{url}/elsewhere", os.environ)) == ()


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3:///x",
        "s3://key:secret@bucket/x",
        "s3://bucket/x?secret=y",
        "s3://bucket/../x",
        "gs://b u/x",
        "az://-x/y",
    ],
)
def test_addresses_that_are_none(url: str) -> None:
    """They are refused, and what looks like a secret in them is not repeated."""
    with pytest.raises(UsageError) as refused:
        Bucket(url, {})
    assert "key:secret" not in str(refused.value)


def test_without_obstore_it_says_what_to_install() -> None:
    """The extra is named."""
    program = "import sys; sys.modules['obstore'] = None; sys.modules['obstore.store'] = None\n"
    program += "from reconciler.state.bucket import Bucket\n"
    program += "try: Bucket('s3://bucket', {})\nexcept Exception as e: print(type(e).__name__, e, e.next_step)"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.startswith("UsageError")
    assert "pip install 'reconciler[objectstore]'" in said
