"""What the wheel needs and what is in the image, as bills of materials: CycloneDX 1.6, JSON, the same bytes every time.

    tools/sbom.py wheel [--out FILE]               every package that requirements/runtime.lock pins, with its hashes
    tools/sbom.py image --root FOLDER [--out FILE] Debian's packages and Python's below a mounted image (tools/image.sh)

No time, no place of this machine and no address of an index stands in them: a package is named by its purl.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

ROOT = Path(__file__).resolve().parent.parent
SHIPPED_EXTRAS = ("server", "notify")  # those that runtime.lock is made with

_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)(.*)$", re.MULTILINE)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_NAME = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Part:
    """One package; `purl` names it, `hashes` are the SHA-256 of the files that may be installed."""

    name: str
    version: str
    purl: str
    hashes: tuple[str, ...] = ()


def main() -> None:
    """Writes one bill."""
    options = _options()
    text = of_image(options.root) if options.what == "image" else of_wheel(ROOT)
    if options.out is None:
        sys.stdout.write(text)
    else:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, encoding="utf-8")


def of_wheel(root: Path) -> str:
    """What `pip install` of the wheel with the extras that are shipped brings, as locked."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    parts = list(locked((root / "requirements/runtime.lock").read_text(encoding="utf-8")))
    wanted = [*project["dependencies"]]
    for extra in SHIPPED_EXTRAS:
        wanted += project["optional-dependencies"][extra]
    direct = {_normal(match[0]) for text in wanted if (match := _NAME.match(text))}
    return _bill(project["version"], ComponentType.APPLICATION, parts, direct)


def of_image(root: Path) -> str:
    """What lies below a folder that is the image's root."""
    parts = [*debian(root), *python(root)]
    versions = [part.version for part in parts if part.name == "reconciler"]
    others = [part for part in parts if part.name != "reconciler"]
    return _bill(
        versions[0] if versions else "unknown", ComponentType.CONTAINER, others, {part.name for part in others}
    )


def locked(text: str) -> Iterator[Part]:
    """The packages of a file of pinned requirements."""
    for match in _PINNED.finditer(text.replace("\\\n", " ")):
        name, version = _normal(match[1]), match[2]
        purl = PackageURL("pypi", None, name, version).to_string()
        yield Part(name=name, version=version, purl=purl, hashes=tuple(sorted(_HASH.findall(match[3]))))


def debian(root: Path) -> Iterator[Part]:
    """The packages that dpkg knows as installed."""
    status, release = root / "var/lib/dpkg/status", root / "etc/os-release"
    if not status.exists():
        return
    about = release.read_text(encoding="utf-8") if release.exists() else ""
    named = dict(re.findall(r'^(ID|VERSION_ID)="?([^"\n]+)"?$', about, re.MULTILINE))
    distro = "-".join(named[name] for name in ("ID", "VERSION_ID") if name in named)
    for block in status.read_text(encoding="utf-8").split("\n\n"):
        fields = dict(re.findall(r"^(Package|Version|Architecture|Status): (.*)$", block, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            name, version = fields["Package"], fields["Version"]
            more = {"arch": fields["Architecture"], "distro": distro or "debian"}
            yield Part(name=name, version=version, purl=PackageURL("deb", "debian", name, version, more).to_string())


def python(root: Path) -> Iterator[Part]:
    """The packages of every Python environment below /opt."""
    places = sorted(str(path) for path in (root / "opt").glob("*/lib/python*/site-packages"))
    for found in distributions(path=places):
        name, version = _normal(found.metadata["Name"]), found.version
        yield Part(name=name, version=version, purl=PackageURL("pypi", None, name, version).to_string())


def _bill(version: str, kind: ComponentType, parts: Iterable[Part], direct: set[str]) -> str:
    components = {part: _component(part) for part in sorted(set(parts))}
    root = Component(
        name="reconciler",
        version=version,
        type=kind,
        bom_ref="reconciler",
        purl=PackageURL("pypi", None, "reconciler", version),
        licenses=[LicenseExpression("Apache-2.0")],
    )
    names = "\n".join((version, str(kind), *(f"{part.purl} {' '.join(part.hashes)}" for part in components)))
    bom = Bom(components=components.values(), serial_number=uuid5(NAMESPACE_URL, names))
    bom.metadata.component = root
    bom.metadata.timestamp = None  # type: ignore[assignment]  # the bill depends on what is in it and on nothing else
    bom.register_dependency(root, [one for part, one in components.items() if part.name in direct])
    return JsonV1Dot6(bom).output_as_string(indent=1) + "\n"


def _component(part: Part) -> Component:
    return Component(
        name=part.name,
        version=part.version,
        bom_ref=part.purl,
        purl=PackageURL.from_string(part.purl),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=content) for content in part.hashes],
    )


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["wheel", "image"])
    parser.add_argument("--root", type=Path, default=Path("/"))
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
