"""The platform's API description, as something a test can hold requests and replies against."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import yaml
from jsonschema import Draft202012Validator

FILE = Path(__file__).parents[2] / "schemas" / "platform.openapi.yaml"
BASE = "/api/public"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A request as it was on the wire; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @classmethod
    def from_wire(cls, raw: bytes) -> Seen:
        """One HTTP/1.1 request."""
        head, _, body = raw.partition(b"\r\n\r\n")
        line, *rest = head.decode("ascii").split("\r\n")
        method, target, version = line.split(" ")
        assert version == "HTTP/1.1"
        fields = [(name.lower(), value.strip()) for name, _, value in (field.partition(":") for field in rest)]
        assert len(dict(fields)) == len(fields), "a header occurs twice"
        return cls(method=method, target=target, headers=dict(fields), body=body)


class Description:
    """An OpenAPI 3.1 document and what it says about a call."""

    def __init__(self, path: Path = FILE) -> None:
        self.document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))

    def resolve(self, node: Any) -> Any:
        """The node, or what its $ref leads to."""
        while isinstance(node, dict) and "$ref" in node:
            reference = node["$ref"]
            assert reference.startswith("#/"), reference
            node = self.document
            for part in reference[2:].split("/"):
                node = node[part]
        return node

    def mistakes(self, schema: Any, value: Any) -> list[str]:
        """What is wrong with a value by a schema of the document."""
        whole = {"$ref": "#/x", "x": schema, "components": self.document["components"]}
        return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(whole).iter_errors(value)]

    def schema(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.document["components"]["schemas"][name]
        return found

    def request_mistakes(self, seen: Seen) -> list[str]:
        """What is wrong with a request: path, method, parameters, key, content type, body."""
        path, _, query = seen.target.partition("?")
        found = self._operation(path, seen.method)
        if found is None:
            return [f"{seen.method} {path} is no call"]
        operation, values = found
        mistakes = [] if seen.headers.get("x-api-key") else ["the key is missing"]
        given = parse_qs(query, keep_blank_values=True, strict_parsing=bool(query))
        for parameter in map(self.resolve, operation.get("parameters", ())):
            name = parameter["name"]
            got = [values[name]] if parameter["in"] == "path" else given.pop(name, [])
            if len(got) != 1:
                mistakes.append(f"{name} must be given once")
            else:
                mistakes += self.mistakes(parameter["schema"], got[0])
        mistakes += [f"the parameter {name} is not documented" for name in given]
        return mistakes + self._body_mistakes(operation.get("requestBody"), seen)

    def _body_mistakes(self, described: Any, seen: Seen) -> list[str]:
        if described is None:
            return ["a body that is not documented"] if seen.body or "content-type" in seen.headers else []
        if seen.headers.get("content-type") != "application/json":
            return ["the content type is not JSON"]
        return self.mistakes(described["content"]["application/json"]["schema"], json.loads(seen.body))

    def reply_mistakes(self, method: str, target: str, status: int, headers: dict[str, str], body: bytes) -> list[str]:
        """What is wrong with a reply to a call."""
        found = self._operation(target.partition("?")[0], method)
        assert found is not None, (method, target)
        responses = found[0]["responses"]
        response = self.resolve(responses.get(str(status), responses["default"]))
        kind = headers["content-type"].partition(";")[0]
        if kind not in response["content"]:
            return [f"{kind} is not documented for {status}"]
        value = json.loads(body) if kind == "application/json" else body.decode()
        return self.mistakes(response["content"][kind]["schema"], value)

    def _operation(self, path: str, method: str) -> tuple[Any, dict[str, str]] | None:
        for template, item in self.document["paths"].items():
            pattern = BASE + re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template)
            match = re.fullmatch(pattern, path)
            if match and method.lower() in item:
                return item[method.lower()], {name: unquote(value) for name, value in match.groupdict().items()}
        return None


DESCRIPTION = Description()
