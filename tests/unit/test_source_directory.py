"""Reading files from a real folder, kind and hostile."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from reconciler.errors import SourceError
from reconciler.load.guard import MAX_BYTES
from reconciler.source.directory import MAX_FOLDERS, read_manifests, read_project

Answer = tuple[list[str], list[tuple[str, str]]]


def write(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(f"# {path}\n")


def read(root: Path, *folders: str, ignore: tuple[str, ...] = ()) -> Answer:
    """The paths of what was read, and place and code of each diagnostic."""
    files, found = read_manifests(root, folders or ("manifests/",), ignore)
    for file in files:
        assert file.data, "no half-read file"
    return [file.path for file in files], [(d.position.file if d.position else "", d.code) for d in found]


@contextmanager
def within(folder: Path) -> Iterator[None]:
    """Sockets have short paths, so they are made from inside."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def nobody_special(folder: Path) -> Iterator[None]:
    """Nothing is unreadable to root, so root becomes somebody else for a while, to whom the folder belongs."""
    user = os.geteuid()
    if user == 0:
        os.chown(folder, 65534, -1)
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_what_is_read(tmp_path: Path) -> None:
    """Both endings at any depth, sorted by path; other files are not looked at."""
    write(tmp_path, "manifests/b.yaml", "manifests/a/deep/er/c.yml", "manifests/README.md", "other/x.yaml")
    assert read(tmp_path) == (["manifests/a/deep/er/c.yml", "manifests/b.yaml"], [])


def test_bytes_are_untouched(tmp_path: Path) -> None:
    """Bytes arrive as they are, empty files too."""
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests/a.yaml").write_bytes(b"\xff\x00\r\n")
    (tmp_path / "manifests/b.yaml").write_bytes(b"")
    (tmp_path / "manifests/c.yaml").write_bytes(b"x" * MAX_BYTES)
    files, found = read_manifests(tmp_path, ("manifests",), ())
    assert [file.data for file in files] == [b"\xff\x00\r\n", b"", b"x" * MAX_BYTES]
    assert not found


def test_hidden_is_skipped(tmp_path: Path) -> None:
    """Names that begin with a dot are skipped, unless the project names such a folder itself."""
    write(tmp_path, "manifests/a.yaml", "manifests/.b.yaml", "manifests/.git/c.yaml", ".deploy/d.yaml")
    assert read(tmp_path) == (["manifests/a.yaml"], [])
    assert read(tmp_path, ".deploy") == ([".deploy/d.yaml"], [])


def test_ignored(tmp_path: Path) -> None:
    """Ignored files and everything below ignored folders are left out, whatever they are."""
    write(tmp_path, "manifests/a.yaml", "manifests/kustomization.yaml", "manifests/drafts/b.yaml")
    os.mkfifo(tmp_path / "manifests/pipe.yaml")
    patterns = ("**/kustomization.yaml", "manifests/drafts", "pipe.*")
    assert read(tmp_path, ignore=patterns) == (["manifests/a.yaml"], [])


def test_project_file_is_no_manifest(tmp_path: Path) -> None:
    """The project file is not read as a manifest; others of its name are."""
    write(tmp_path, "reconciler.yaml", "a.yaml", "sub/reconciler.yaml")
    (tmp_path / "sub/link.yaml").symlink_to("../reconciler.yaml")
    assert read(tmp_path, ".") == (["a.yaml", "sub/reconciler.yaml"], [])


def test_overlapping_folders(tmp_path: Path) -> None:
    """A file that several folders hold is read once, under the same path in any order."""
    write(tmp_path, "manifests/a.yaml", "manifests/sub/b.yaml")
    expected: Answer = (["manifests/a.yaml", "manifests/sub/b.yaml"], [])
    assert read(tmp_path, "manifests", "manifests/sub", "./manifests/") == expected
    assert read(tmp_path, "manifests/sub", "manifests") == expected
    assert read(tmp_path, ".", "manifests/sub") == expected


@pytest.mark.parametrize("folder", ["nope", "nope/deeper", "a.yaml", "nul\0", "empty", "none"])
def test_no_manifests(tmp_path: Path, folder: str) -> None:
    """A manifest folder that is missing, no folder, empty, or without a YAML file is an error."""
    write(tmp_path, "a.yaml", "none/a.txt")
    (tmp_path / "empty").mkdir()
    assert read(tmp_path, folder) == ([], [(folder, "RC101")])


def test_all_ignored(tmp_path: Path) -> None:
    """A folder in which everything is ignored holds no manifests."""
    write(tmp_path, "manifests/a.yaml")
    assert read(tmp_path, ignore=("*.yaml",)) == ([], [("manifests", "RC101")])


def test_one_of_two_folders_is_missing(tmp_path: Path) -> None:
    """The folder that is there is read, and the other one told of."""
    write(tmp_path, "manifests/a.yaml")
    assert read(tmp_path, "manifests", "gone") == (["manifests/a.yaml"], [("gone", "RC101")])


def test_missing_root(tmp_path: Path) -> None:
    """A root that is not there has no manifests."""
    assert read(tmp_path / "nope") == ([], [("manifests", "RC101")])


@pytest.mark.parametrize("folder", ["..", "../sister", "/etc", "manifests/../../sister", "out"])
def test_folder_out_of_the_root(tmp_path: Path, folder: str) -> None:
    """A manifest folder outside the project is refused, however it is named."""
    root = tmp_path / "root"
    write(tmp_path, "root/manifests/a.yaml", "sister/b.yaml")
    (root / "out").symlink_to("../sister")
    files, found = read(root, folder)
    assert (files, [code for _, code in found]) == ([], ["RC104"])


@pytest.mark.parametrize("kind", ["fifo", "socket", "device", "folder link"])
def test_not_regular(tmp_path: Path, kind: str) -> None:
    """What is no regular file is told of at once, never opened; the rest is read."""
    write(tmp_path, "manifests/a.yaml")
    hostile = tmp_path / "manifests/b.yaml"
    match kind:
        case "fifo":
            os.mkfifo(hostile)
        case "socket":
            with within(hostile.parent), socket.socket(socket.AF_UNIX) as listening:
                listening.bind(hostile.name)
        case "device":
            try:
                os.mknod(hostile, 0o600 | 0o020000, os.makedev(1, 5))
            except PermissionError:
                pytest.skip("only root makes devices")
        case _:
            os.mkfifo(tmp_path / "pipe")
            hostile.symlink_to("../pipe")
    assert read(tmp_path) == (["manifests/a.yaml"], [("manifests/b.yaml", "RC103")])


def test_folder_named_like_a_manifest(tmp_path: Path) -> None:
    """A folder is walked whatever its name is."""
    write(tmp_path, "manifests/a.yaml/b.yaml")
    assert read(tmp_path) == (["manifests/a.yaml/b.yaml"], [])


def test_too_large(tmp_path: Path) -> None:
    """A file over the limit is told of and not kept, a sparse one of a terabyte too."""
    write(tmp_path, "manifests/a.yaml", "manifests/b.yaml", "manifests/c.yaml")
    os.truncate(tmp_path / "manifests/a.yaml", MAX_BYTES + 1)
    os.truncate(tmp_path / "manifests/b.yaml", 2**40)
    assert read(tmp_path) == (["manifests/c.yaml"], [("manifests/a.yaml", "RC202"), ("manifests/b.yaml", "RC202")])


def test_files_that_lie_about_their_size() -> None:
    """Size is only a hint: files of the kernel say 0 and are read to their end."""
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc here")
    file = read_project(Path("/proc/self"), "status")
    assert file is not None
    assert file.data.startswith(b"Name:")


@pytest.mark.parametrize("target", ["/dev/zero", "/etc/passwd", "../../secret.yaml"])
def test_link_out_of_the_root(tmp_path: Path, target: str) -> None:
    """A link that leads out is told of and not followed."""
    root = tmp_path / "root"
    write(tmp_path, "root/manifests/a.yaml", "secret.yaml")
    (root / "manifests/b.yaml").symlink_to(target)
    assert read(root) == (["manifests/a.yaml"], [("manifests/b.yaml", "RC104")])


def test_folder_link_out_of_the_root(tmp_path: Path) -> None:
    """A folder outside is not walked through a link, though its name says nothing."""
    root = tmp_path / "root"
    write(tmp_path, "root/manifests/a.yaml", "sister/b.yaml")
    (root / "manifests/more").symlink_to(tmp_path / "sister")
    assert read(root) == (["manifests/a.yaml"], [("manifests/more", "RC104")])


def test_a_sister_with_the_same_beginning(tmp_path: Path) -> None:
    """`root-2` is not inside `root`."""
    write(tmp_path, "root/manifests/a.yaml", "root-2/b.yaml")
    (tmp_path / "root/manifests/b.yaml").symlink_to(tmp_path / "root-2/b.yaml")
    assert read(tmp_path / "root") == (["manifests/a.yaml"], [("manifests/b.yaml", "RC104")])


def test_links_inside_the_root(tmp_path: Path) -> None:
    """Links to files and folders inside are read under the link's path, hidden targets too (as mounted config maps have)."""
    write(tmp_path, "manifests/..data/a.yaml", "shared/b.yaml", "shared/deep/c.yaml")
    (tmp_path / "manifests/a.yaml").symlink_to("..data/a.yaml")
    (tmp_path / "manifests/more").symlink_to("../shared")
    assert read(tmp_path) == (["manifests/a.yaml", "manifests/more/b.yaml", "manifests/more/deep/c.yaml"], [])


def test_linked_twice(tmp_path: Path) -> None:
    """What is reached twice is read once: under its own path, else under the link that sorts first."""
    write(tmp_path, "manifests/a.yaml", "shared/b.yaml")
    for name in ("z.yaml", "0.yaml"):
        (tmp_path / "manifests" / name).symlink_to("a.yaml")
    for name in ("x", "y"):
        (tmp_path / "manifests" / name).symlink_to("../shared")
    (tmp_path / "manifests/w.yaml").symlink_to("../shared/b.yaml")
    assert read(tmp_path) == (["manifests/a.yaml", "manifests/w.yaml"], [])


def test_manifest_folder_is_a_link(tmp_path: Path) -> None:
    """The folder may be a link itself, as `current` is where releases are swapped."""
    write(tmp_path, "releases/3/a.yaml")
    (tmp_path / "manifests").symlink_to("releases/3")
    assert read(tmp_path) == (["manifests/a.yaml"], [])


def test_links_in_circles(tmp_path: Path) -> None:
    """Links that lead to themselves or to a folder above them are told of, and end nothing else."""
    write(tmp_path, "manifests/a.yaml", "manifests/sub/b.yaml")
    (tmp_path / "manifests/self.yaml").symlink_to("self.yaml")
    (tmp_path / "manifests/sub/up").symlink_to("..")
    (tmp_path / "manifests/sub/root").symlink_to("../..")
    (tmp_path / "manifests/here").symlink_to(".")
    assert read(tmp_path) == (
        ["manifests/a.yaml", "manifests/sub/b.yaml"],
        [(f"manifests/{name}", "RC105") for name in ("here", "self.yaml", "sub/root", "sub/up")],
    )


def test_folders_that_link_to_each_other(tmp_path: Path) -> None:
    """Two folders linked into each other hold each file once."""
    write(tmp_path, "manifests/a/1.yaml", "manifests/b/2.yaml")
    (tmp_path / "manifests/a/b").symlink_to("../b")
    (tmp_path / "manifests/b/a").symlink_to("../a")
    assert read(tmp_path) == (["manifests/a/1.yaml", "manifests/b/2.yaml"], [])


def test_dangling_links(tmp_path: Path) -> None:
    """A link to nothing is told of when it is named as a manifest."""
    write(tmp_path, "manifests/a.yaml")
    (tmp_path / "manifests/gone.yaml").symlink_to("nothing.yaml")
    (tmp_path / "manifests/gone").symlink_to("nothing")
    (tmp_path / "manifests/.#a.yaml").symlink_to("user@host.1234")  # an editor's lock
    assert read(tmp_path) == (["manifests/a.yaml"], [("manifests/gone.yaml", "RC102")])


def test_unreadable() -> None:
    """A file or folder that may not be read is told of; what lies beside it is read."""
    with TemporaryDirectory() as folder, nobody_special(root := Path(folder)):
        write(root, "manifests/a.yaml", "manifests/secret.yaml", "manifests/closed/b.yaml")
        for closed in ("secret.yaml", "closed"):
            (root / "manifests" / closed).chmod(0)
        expected = [("manifests/closed", "RC102"), ("manifests/secret.yaml", "RC102")]
        assert read(root) == (["manifests/a.yaml"], expected)


def test_folders_too_deep(tmp_path: Path) -> None:
    """Beyond the limit folders are told of and not walked; the limit itself is fine."""
    allowed = "manifests" + "/d" * MAX_FOLDERS
    write(tmp_path, f"{allowed}/a.yaml", f"{allowed}/d/b.yaml")
    assert read(tmp_path) == ([f"{allowed}/a.yaml"], [(f"{allowed}/d", "RC102")])


def test_names_that_are_no_text(tmp_path: Path) -> None:
    """A name that is not UTF-8 is told of, spelled so that it can be printed."""
    write(tmp_path, "manifests/a.yaml")
    try:
        (tmp_path / os.fsdecode(b"manifests/\xff.yaml")).write_text("x: 1\n")
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    assert read(tmp_path) == (["manifests/a.yaml"], [("manifests/\\xff.yaml", "RC102")])


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    """Reading closes what it opens, also where it is refused."""
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("no /proc here")
    write(tmp_path, "manifests/a.yaml", "manifests/b/c.yaml")
    os.mkfifo(tmp_path / "manifests/p.yaml")
    (tmp_path / "manifests/up").symlink_to("..")
    (tmp_path / "manifests/l.yaml").symlink_to("b/c.yaml")
    before = len(list(descriptors.iterdir()))
    read(tmp_path)
    read(tmp_path, "nope/nope")
    assert len(list(descriptors.iterdir())) == before


def test_project(tmp_path: Path) -> None:
    """The project file is read when it is there, through a link inside its folder too."""
    assert read_project(tmp_path) is None
    write(tmp_path, "..data/reconciler.yaml")
    (tmp_path / "reconciler.yaml").symlink_to("..data/reconciler.yaml")
    file = read_project(tmp_path)
    assert file is not None
    assert (file.path, file.data) == ("reconciler.yaml", b"# ..data/reconciler.yaml\n")


@pytest.mark.parametrize(
    ("kind", "code"),
    [("fifo", "RC103"), ("folder", "RC103"), ("out", "RC104"), ("loop", "RC105"), ("gone", "RC102"), ("big", "RC202")],
)
def test_project_that_cannot_be_read(tmp_path: Path, kind: str, code: str) -> None:
    """A project file that is there and cannot be read is an error: going on without it would deploy elsewhere."""
    root = tmp_path / "root"
    root.mkdir()
    path = root / "reconciler.yaml"
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "out":
            write(tmp_path, "reconciler.yaml")
            path.symlink_to("../reconciler.yaml")
        case "loop":
            path.symlink_to("reconciler.yaml")
        case "gone":
            path.symlink_to("nothing.yaml")
        case _:
            path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(SourceError) as raised:
        read_project(root)
    assert [d.code for d in raised.value.diagnostics] == [code]
