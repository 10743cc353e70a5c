"""What an operator may write in `reconciler.yaml`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from reconciler.model.manifest import Name, Overridable, Written


class ApiKey(Written):
    """Where the API key is found, never the key: exactly one of the two."""

    env: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    file: Annotated[str, StringConstraints(min_length=1)] | None = None


class RateLimitSpec(Written):
    per_minute: int = Field(default=60, ge=0, le=100_000)
    per_hour: int = Field(default=1800, ge=0, le=1_000_000)


class EnvironmentSpec(Written):
    host: str = Field(min_length=1, description="A host name or URL of the platform.")
    api_key: ApiKey
    ca_file: str | None = Field(default=None, description="Authority for the host's certificate, PEM.")
    prune: bool = Field(default=False, description="Undeploy what has no manifest any more.")
    rate_limit: RateLimitSpec = Field(default_factory=RateLimitSpec)
    defaults: Overridable | None = Field(default=None, description="Values for every manifest in this environment.")


class PlatformSpec(Written):
    """Widens what is accepted when the vendor adds a device, a range or a field."""

    device_types: list[str] = Field(default_factory=list)
    ranges: dict[str, Annotated[list[float], Field(min_length=2, max_length=2)]] = Field(default_factory=dict)
    extra_fields: list[str] = Field(default_factory=list)


class Project(Written):
    api_version: Literal["reconciler/v1"]
    kind: Literal["Project"]
    manifests: list[Annotated[str, StringConstraints(min_length=1)]] = Field(default=["manifests/"], min_length=1)
    ignore: list[str] = Field(default_factory=list)
    state: Annotated[str, StringConstraints(min_length=1)] = ".reconciler"
    platform: PlatformSpec = Field(default_factory=PlatformSpec)
    environments: dict[Name, EnvironmentSpec] = Field(min_length=1)
