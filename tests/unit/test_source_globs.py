"""The globs of `ignore:`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.source.globs import matcher

MATCHES = [
    ("**/kustomization.yaml", "kustomization.yaml"),
    ("**/kustomization.yaml", "manifests/a/kustomization.yaml"),
    ("kustomization.yaml", "manifests/a/kustomization.yaml"),  # no slash: at any depth
    ("drafts", "manifests/drafts"),
    ("drafts/", "manifests/drafts"),
    ("manifests/drafts", "manifests/drafts"),
    ("./manifests/*.yaml", "manifests/a.yaml"),
    ("/manifests/*.yaml", "manifests/a.yaml"),
    ("manifests/**", "manifests/a/b/c.yaml"),
    ("manifests/**/c.yaml", "manifests/c.yaml"),
    ("manifests/**/**/c.yaml", "manifests/a/c.yaml"),
    ("*.yml", "manifests/a.yml"),
    ("a?.yaml", "ab.yaml"),
    ("a[0-9].yaml", "m/a7.yaml"),
    ("a[!0-9].yaml", "ax.yaml"),
    ("a[]].yaml", "a].yaml"),
    ("a[z-a].yaml", "a[z-a].yaml"),  # no such range: it stands for itself
    ("a[.yaml", "a[.yaml"),
    ("a+b(c).yaml", "a+b(c).yaml"),
]
DIFFER = [
    ("*.yaml", "a.yml"),
    ("manifests/*.yaml", "manifests/a/b.yaml"),  # a star stays within a name
    ("manifests/?.yaml", "manifests//.yaml"),
    ("manifests[/]a.yaml", "manifests/a.yaml"),
    ("**/x.yaml", "ax.yaml"),
    ("drafts", "manifests/drafts2"),
    ("a.yaml", "aXyaml"),
    ("a[!0-9].yaml", "a5.yaml"),
    ("x[!a]y", "x/y"),
    ("manifests/drafts", "other/manifests/drafts"),  # a slash: from the root
]


@pytest.mark.parametrize(("pattern", "path"), MATCHES)
def test_matches(pattern: str, path: str) -> None:
    """The pattern matches the path."""
    assert matcher([pattern])(path)


@pytest.mark.parametrize(("pattern", "path"), DIFFER)
def test_differs(pattern: str, path: str) -> None:
    """The pattern does not match the path."""
    assert not matcher([pattern])(path)


def test_any_of_several() -> None:
    """One matching pattern is enough, and none matches nothing."""
    assert matcher(["a", "b"])("b")
    assert not matcher([])("b")


@given(st.lists(st.text(max_size=12), max_size=4), st.text(max_size=12))
def test_never_raises(patterns: list[str], path: str) -> None:
    """Whatever is written as a pattern, matching gives an answer."""
    matcher(patterns)(path)
