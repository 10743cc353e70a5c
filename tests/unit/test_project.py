"""The project file becomes environments, or every mistake in it is said, and no key in it is ever repeated."""

from __future__ import annotations

import json
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.diagnostics import Diagnostic, in_order
from reconciler.load.codes import CODES
from reconciler.load.project import NO_HOST, Fallback, Settled, is_loopback, load_project, origin_of
from reconciler.load.shape import MODELS
from reconciler.load.widening import NO_WIDENING, Widening
from reconciler.model.notification import Channel, Outcome
from reconciler.model.project import OutcomeWord
from reconciler.model.resource import Environment, KeyReference, RateLimit
from reconciler.model.snapshot import SourceFile
from reconciler.report.diagnostics import diagnostics_text
from reconciler.report.style import PLAIN
from tests.support.documents import mutated, projects

HEAD = "apiVersion: reconciler/v1\nkind: Project\n"
ENVIRONMENT = "{host: h, apiKey: {env: KEY}}"
FALLBACK = Fallback(host=None)


def settled(text: str) -> Settled:
    result, found = load_project(SourceFile(path="reconciler.yaml", data=text.encode()), FALLBACK)
    assert found == ()
    assert result is not None
    return result


def mistakes(text: str) -> list[Diagnostic]:
    result, found = load_project(SourceFile(path="reconciler.yaml", data=text.encode()), FALLBACK)
    assert result is None
    return list(in_order(found))


def test_the_shortest_project() -> None:
    """A project needs an environment with a host and a key reference; everything else has a default."""
    project = settled(f"{HEAD}environments: {{staging: {ENVIRONMENT}}}")
    assert project == Settled(
        environments=(
            Environment(
                name="staging",
                origin="https://h",
                api_key=KeyReference(kind="env", value="KEY"),
                state=".reconciler",
                defaults={},
            ),
        ),
        manifests=("manifests/",),
        ignore=(),
        state=".reconciler",
        widening=NO_WIDENING,
    )


def test_the_longest_project() -> None:
    """Every field is understood, and environments are in the order of their names."""
    project = settled(f"""\
{HEAD}
manifests: [a/, b/]
ignore: ["**/kustomization.yaml"]
state: s3://bucket/state
platform:
  deviceTypes: [p5.48xlarge]
  ranges: {{hyperParameters.maxTokens: [0, 4096]}}
  extraFields: [hyperParameters.minP]
environments:
  staging: {ENVIRONMENT}
  production:
    host: https://Platform.Example.com:443/
    apiKey: {{file: /run/secrets/key}}
    caFile: /etc/ssl/corp.pem
    prune: true
    rateLimit: {{perMinute: 30, perHour: 0}}
    defaults: {{deviceType: p5.48xlarge, hyperParameters: {{maxTokens: 4096, minP: 0.1}}}}
""")
    production, staging = project.environments
    assert (production.name, staging.name) == ("production", "staging")
    assert production.origin == "https://platform.example.com"
    assert production.api_key == KeyReference(kind="file", value="/run/secrets/key")
    assert production.ca_file == "/etc/ssl/corp.pem"
    assert production.prune
    assert production.rate_limit == RateLimit(per_minute=30, per_hour=0)
    assert production.defaults == {"deviceType": "p5.48xlarge", "hyperParameters": {"maxTokens": 4096, "minP": 0.1}}
    assert (project.manifests, project.ignore) == (("a/", "b/"), ("**/kustomization.yaml",))
    assert {environment.state for environment in project.environments} == {"s3://bucket/state"}
    assert project.widening == Widening(
        device_types=frozenset({"p5.48xlarge"}),
        ranges={"hyperParameters.maxTokens": (0, 4096)},
        extra_fields=frozenset({"hyperParameters.minP"}),
    )


def test_without_a_file_there_is_one_environment() -> None:
    """Without a project file there is `default`, at the host that was given, or at none while nothing is called."""
    given_host, found = load_project(None, Fallback(host="platform.example.com"))
    assert found == ()
    assert given_host is not None
    assert [(one.name, one.origin) for one in given_host.environments] == [("default", "https://platform.example.com")]
    no_host, _ = load_project(None, FALLBACK)
    assert no_host is not None
    assert no_host.environments[0].origin == NO_HOST
    refused, (wrong,) = load_project(None, Fallback(host="ftp://x"))
    assert refused is None
    assert (wrong.code, wrong.position) == ("RC501", None)


HOSTS = {
    "platform.example.com": "https://platform.example.com",
    "Platform.Example.com:8443": "https://platform.example.com:8443",
    "https://platform.example.com/": "https://platform.example.com",
    "https://platform.example.com:443": "https://platform.example.com",
    "http://localhost:8080/": "http://localhost:8080",
    "http://127.0.0.1:80": "http://127.0.0.1",
    "http://[::1]:9000": "http://[::1]:9000",
    "https://[2001:DB8::1]": "https://[2001:db8::1]",
}
NO_HOSTS = {
    "ftp://platform.example.com": "not spoken",
    "http://platform.example.com": "plain http",
    "http://10.0.0.1": "plain http",
    "https://platform.example.com/api/public": "leave out /api/public",
    "https://user:password@platform.example.com": "only a host",
    "https://platform.example.com?x=1": "only a host",
    "https://platform.example.com#x": "only a host",
    "https://": "not a host name",
    "https:///x": "leave out",
    "a b": "not a host name",
    "-": "not a host name",
    "https://platform.example.com:99999": "ort",
    "https://[::1": "IPv6",
    "https://плат.example": "not a host name",
    "": "not a host name",
}


@pytest.mark.parametrize(("written", "origin"), HOSTS.items())
def test_host_is_understood_as_the_vendor_writes_it(written: str, origin: str) -> None:
    """A bare name, a port, a URL and a slash at its end all name the same platform."""
    assert origin_of(written) == origin


@pytest.mark.parametrize(("written", "word"), NO_HOSTS.items())
def test_what_is_no_host(written: str, word: str) -> None:
    """Whatever could send a key elsewhere, or unencrypted, is refused and said why."""
    with pytest.raises(ValueError, match=word):
        origin_of(written)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(written=st.text(alphabet="ab.:/@?#[]-_%1é\n\t\\ ", max_size=12) | st.text(max_size=8))
def test_an_origin_is_an_origin(written: str) -> None:
    """Whatever is accepted is a scheme, a host and a port, is plain ASCII, and means itself."""
    try:
        origin = origin_of(written)
    except ValueError:
        return
    assert origin.isascii()
    assert origin_of(origin) == origin
    assert origin.count("/") == 2


def test_loopback() -> None:
    """This machine is known by its names and addresses, and nothing else is taken for it."""
    assert all(map(is_loopback, ["localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "::1"]))
    assert not any(map(is_loopback, ["localhost.example.com", "10.0.0.1", "::2", "", "notlocalhost"]))


# what stands behind the head -> code, path, a word of what is said or suggested
MISTAKES: dict[str, list[tuple[str, str, str]]] = {
    "": [("RC302", "environments", "required")],
    "environments: {}": [("RC302", "environments", "too few")],
    "environments: []": [("RC303", "environments", "not a mapping")],
    "environments: {a: null}": [("RC303", "environments.a", "not a mapping")],
    f"environments: {{A: {ENVIRONMENT}}}": [("RC306", "environments.A", "badly spelled")],
    f"manifest: [a]\nenvironments: {{a: {ENVIRONMENT}}}": [("RC301", "manifest", "Did you mean manifests?")],
    f"prune: true\nenvironments: {{a: {ENVIRONMENT}}}": [("RC301", "prune", "It belongs under environments.NAME.")],
    f"manifests: []\nenvironments: {{a: {ENVIRONMENT}}}": [("RC302", "manifests", "too few")],
    f"manifests: a\nenvironments: {{a: {ENVIRONMENT}}}": [("RC303", "manifests", "not a list")],
    f"state: ''\nenvironments: {{a: {ENVIRONMENT}}}": [("RC306", "state", "empty")],
    f"state:\nenvironments: {{a: {ENVIRONMENT}}}": [("RC303", "state", "not text")],
    f"platform: {{deviceType: [x]}}\nenvironments: {{a: {ENVIRONMENT}}}": [
        ("RC301", "platform.deviceType", "Did you mean deviceTypes? deviceType itself belongs")
    ],
    f"platform: {{ranges: {{maxTokens: [1, 2]}}}}\nenvironments: {{a: {ENVIRONMENT}}}": [
        ("RC305", "platform.ranges.maxTokens", "not one of"),
    ],
    f"platform: {{ranges: {{hyperParameters.topK: [1]}}}}\nenvironments: {{a: {ENVIRONMENT}}}": [
        ("RC302", "platform.ranges.hyperParameters.topK", "too few"),
    ],
    f"platform: {{ranges: {{hyperParameters.topK: [9, 1]}}}}\nenvironments: {{a: {ENVIRONMENT}}}": [
        ("RC304", "platform.ranges.hyperParameters.topK", "above"),
    ],
    f"platform: {{extraFields: [spec.hyperParameters.minP]}}\nenvironments: {{a: {ENVIRONMENT}}}": [
        ("RC306", "platform.extraFields[0]", "badly spelled"),
    ],
    "environments: {a: {apiKey: {env: K}}}": [("RC302", "environments.a.host", "required")],
    "environments: {a: {host: h}}": [("RC302", "environments.a.apiKey", "required")],
    "environments: {a: {host: h, apiKey: }}": [("RC307", "environments.a.apiKey", "nothing to delete")],
    "environments: {a: {host: h, apiKey: {}}}": [("RC502", "environments.a.apiKey", "exactly one")],
    "environments: {a: {host: h, apiKey: {env: A, file: b}}}": [("RC502", "environments.a.apiKey", "exactly one")],
    "environments: {a: {host: h, apiKey: {env: 1A}}}": [("RC306", "environments.a.apiKey.env", "badly spelled")],
    "environments: {a: {host: http://h, apiKey: {env: K}}}": [("RC501", "environments.a.host", "plain http")],
    "environments: {a: {host: h, apiKey: {env: K}, caFile: }}": [
        ("RC307", "environments.a.caFile", "nothing to delete")
    ],
    "environments: {a: {host: h, apiKey: {env: K}, defaults: {topK: 1}}}": [
        ("RC301", "environments.a.defaults.topK", "It belongs under environments.a.defaults.hyperParameters."),
    ],
    "environments: {a: {host: h, apiKey: {env: K}, defaults: {modelId: cm-1}}}": [
        ("RC301", "environments.a.defaults.modelId", "unknown"),
    ],
    "environments: {a: {host: h, apiKey: {env: K}, defaults: {hyperParameters: {topK: null}}}}": [
        ("RC307", "environments.a.defaults.hyperParameters.topK", "nothing to delete"),
    ],
    "environments: {a: {host: h, apiKey: {env: K}, rateLimit: {perMinute: -1}}}": [
        ("RC304", "environments.a.rateLimit.perMinute", "too small"),
    ],
}


@pytest.mark.parametrize(("text", "said"), MISTAKES.items())
def test_mistake_says_what_where_and_what_was_meant(text: str, said: list[tuple[str, str, str]]) -> None:
    """Each mistake in a project file is said once, with its path and what was probably meant."""
    found = mistakes(f"{HEAD}{text}\n")
    assert [(one.code, one.path) for one in found] == [(code, path) for code, path, _ in said]
    for one, (_, _, word) in zip(found, said, strict=True):
        assert word in f"{one.message} {one.suggestion}"


WHOLE = {
    "": ("RC308", "0 documents"),
    "# nothing\n---\n": ("RC308", "0 documents"),
    f"{HEAD}environments: {{a: {ENVIRONMENT}}}\n---\n{HEAD}": ("RC308", "2 documents"),
    "[]": ("RC308", "not a reconciler/v1 Project"),
    "apiVersion: reconciler/v1\nkind: project": ("RC308", "Did you mean Project?"),
    "a: [": ("RC205", "flow"),
}


@pytest.mark.parametrize(("text", "said"), WHOLE.items())
def test_a_file_that_is_no_project(text: str, said: tuple[str, str]) -> None:
    """A project file is one document of kind Project; nothing in anything else is judged."""
    (found,) = mistakes(text)
    assert found.code == said[0]
    assert said[1] in f"{found.message} {found.suggestion}"


def test_empty_documents_before_the_project_do_not_matter() -> None:
    """A mistake is placed right when empty documents come first."""
    (found,) = mistakes(f"---\n---\n{HEAD}environments: {{a: {{host: h, apiKey: {{env: K}}, prune: 1}}}}\n")
    assert found.position is not None
    assert (found.position.line, found.position.column) == (5, 54)


SECRETS = [
    "kg-8f3b2c1d-5a3e-5c48-b77b-9f0e1d2c3b4a-eb1c2d3e-5f6b-4a7b-9c85-c0d1e2f3a4b3",
    "correct horse battery",
    "s3cr3t!",
]
PLACES = [
    "apiKey: {}",
    "apiKey: [{}]",
    "apiKey: {{env: {}}}",
    "apiKey: {{file: '', env: {}}}",
    "api_key: {}",
    "token: {}",
    "Password: {}",
    "x-api-key: {}",
    "apiKey: {{value: {}}}",
    "host: 'https://u:{}@h'",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("place", PLACES)
def test_no_key_is_repeated(place: str, secret: str) -> None:
    """A key that somebody wrote into the project file is refused, and stands in no diagnostic."""
    rest = "" if place.startswith("host") else "host: h, "
    found = mistakes(f"{HEAD}environments: {{a: {{{rest}{place.format(secret)}}}}}\n")
    assert found
    assert secret not in repr(found)


def test_a_key_in_a_path_is_a_key() -> None:
    """A key written where a file's path belongs is refused too."""
    found = mistakes(f"{HEAD}environments: {{a: {{host: h, apiKey: {{file: {SECRETS[0]}}}}}}}\n")
    assert [one.code for one in found] == ["RC502"]


def test_every_code_of_the_project_file_is_provoked() -> None:
    """Each code of hosts, keys and notifications is said of something in these tests' tables."""
    said = {code for found in MISTAKES.values() for code, _, _ in found}
    said |= {code for code, _ in NOTIFICATION_MISTAKES.values()}
    assert {code for code in CODES if code[2] == "5"} <= said


@settings(max_examples=80, deadline=None, derandomize=True)
@given(document=mutated(projects))
def test_defaults_of_fields_are_the_models(document: dict[str, object]) -> None:
    """What a project file leaves out is what its model says, though the model is not asked."""
    text = json.dumps(document, ensure_ascii=False)
    result, _ = load_project(SourceFile(path="reconciler.yaml", data=text.encode()), FALLBACK)
    if result is None:
        return
    model = MODELS["Project"].model_validate(document)
    said = model.model_dump(by_alias=True)
    assert (list(result.manifests), list(result.ignore), result.state) == (
        said["manifests"],
        said["ignore"],
        said["state"],
    )
    for environment in result.environments:
        spec = said["environments"][environment.name]
        limit = environment.rate_limit
        assert {"perMinute": limit.per_minute, "perHour": limit.per_hour} == spec["rateLimit"]
        assert (environment.prune, environment.ca_file) == (spec["prune"], spec["caFile"])


NOTIFICATIONS = f"{HEAD}environments: {{staging: {ENVIRONMENT}}}\nnotifications:\n"


def test_notifications() -> None:
    """A channel is where to tell, what, of which environments; what it does not say has a default."""
    project = settled(f"""{NOTIFICATIONS}
  - {{name: chat, type: apprise, url: {{file: /run/secrets/chat}}}}
  - name: on-call
    type: webhook
    url: {{env: URL}}
    secret: {{env: SECRET}}
    on: [held, failed]
    environments: [staging]
    perMinute: 2
    title: $summary
    line: $$ $address
""")
    assert project.notifications == (
        Channel(name="chat", type="apprise", url=KeyReference(kind="file", value="/run/secrets/chat")),
        Channel(
            name="on-call",
            type="webhook",
            url=KeyReference(kind="env", value="URL"),
            secret=KeyReference(kind="env", value="SECRET"),
            on=frozenset({Outcome.HELD, Outcome.FAILED}),
            environments=frozenset({"staging"}),
            per_minute=2,
            title="$summary",
            line="$$ $address",
        ),
    )


def test_outcome_words_are_the_models() -> None:
    """What `on:` may say are the words of Outcome, all of them, and the schema's default is the program's."""
    assert get_args(OutcomeWord) == tuple(Outcome)
    assert settled(f"{NOTIFICATIONS}  - {{name: a, type: webhook, url: {{env: A}}}}").notifications[0].on == set(
        Outcome
    ) - {Outcome.SUCCEEDED}


NOTIFICATION_MISTAKES = {
    "url: https://hooks.example.com/T0/canary": ("RC502", "notifications[0].url"),
    "url: {env: A, file: B}": ("RC502", "notifications[0].url"),
    "url: {env: A}, secret: canary": ("RC502", "notifications[0].secret"),
    "url: {env: A}, environments: [stagin]": ("RC408", "notifications[0].environments[0]"),
    "url: {env: A}, title: $canary": ("RC503", "notifications[0].title"),
    'url: {env: A}, line: "5 $ of"': ("RC503", "notifications[0].line"),
    "url: {env: A}, on: [success]": ("RC305", "notifications[0].on[0]"),
    "url: {env: A}, on: []": ("RC302", "notifications[0].on"),
}


@pytest.mark.parametrize("more", NOTIFICATION_MISTAKES)
def test_notification_mistakes(more: str) -> None:
    """Each mistake has its code and place, and no address or secret is repeated."""
    text = f"{NOTIFICATIONS}  - {{name: a, type: webhook, {more}}}\n"
    (wrong,) = mistakes(text)
    assert (wrong.code, wrong.path) == NOTIFICATION_MISTAKES[more]
    shown = diagnostics_text((wrong,), {"reconciler.yaml": text.encode()}, PLAIN)
    assert "canary" not in shown.replace("$canary", "")


def test_a_chat_is_not_signed_and_names_are_used_once() -> None:
    """A secret for what is not signed, and a second channel of one name, are mistakes."""
    found = mistakes(f"""{NOTIFICATIONS}
  - {{name: a, type: apprise, url: {{env: A}}, secret: {{env: B}}}}
  - {{name: a, type: webhook, url: {{env: A}}}}
""")
    assert [(one.code, one.path) for one in found] == [
        ("RC503", "notifications[0].secret"),
        ("RC503", "notifications[1].name"),
    ]
