"""What an editor says about manifests: the real yaml-language-server, led to the schemas by the files' own modelines."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.language_server import LanguageServer, installed

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = [*sorted(ROOT.glob("manifests/**/*.yaml")), ROOT / "reconciler.yaml"]
FLAN = ROOT / "manifests" / "flan-t5.yaml"
TICKETS = ROOT / "manifests" / "support" / "tickets.yaml"
BOTH = "# yaml-language-server: $schema=schemas/reconciler.json\n"
KEY_IN_SIGHT = "apiVersion: reconciler/v1\nkind: Project\nenvironments: {a: {host: h, apiKey: kg-1}}\n"

# name of a file that is only pretended -> (its text, what the editor must say about it)
BROKEN = {
    "manifests/misspelled.yaml": (FLAN.read_text().replace("maxTokens", "maxTokenz"), "maxTokenz is not allowed"),
    "manifests/range.yaml": (FLAN.read_text().replace("topK: 50", "topK: 101"), "100"),
    "manifests/enum.yaml": (FLAN.read_text().replace("g5.xlarge", "g5.tiny"), "g4dn.xlarge"),
    "manifests/null.yaml": (FLAN.read_text().replace("topK: 50", "topK: null"), "integer"),
    "manifests/name.yaml": (FLAN.read_text().replace("name: flan-t5", "name: Flan_T5"), "pattern"),
    "manifests/missing.yaml": (FLAN.read_text().replace("kind: ModelDeployment\n", ""), "kind"),
    "manifests/override.yaml": (f"{FLAN.read_text()}  environments: {{a: {{topK: 1}}}}\n", "topK is not allowed"),
    "manifests/support/second.yaml": (TICKETS.read_text().replace("maxBatchSize: 32", "maxBatchSize: 0"), "1"),
    "both.yaml": (f"{BOTH}{KEY_IN_SIGHT}", "ApiKey"),
}


@pytest.mark.node
def test_editor_accepts_examples_and_finds_mistakes() -> None:
    """The editor finds nothing in the examples, and each mistake in a broken manifest."""
    script = installed(Path(sys.prefix) / "node")  # goes with the environment, and no linter looks into it
    if isinstance(script, str):
        pytest.skip(script)
    texts = {path: path.read_text(encoding="utf-8") for path in EXAMPLES}
    texts |= {ROOT / name: text for name, (text, _) in BROKEN.items()}
    texts[ROOT / "fine.yaml"] = BOTH + FLAN.read_text(encoding="utf-8")
    with LanguageServer(script) as server:
        found = server.diagnose(texts)
    assert {path.name: found[path] for path in (*EXAMPLES, ROOT / "fine.yaml") if found[path]} == {}
    for name, (_, expected) in BROKEN.items():
        messages = found[ROOT / name]
        assert any(expected in message for message in messages), (name, messages)
