"""The two sample requests of the vendor's "Deploy a Model API" page, as data, for every test that compares with them.

Source: docs/platform.md names the page; section "Sample Request". The masked ids and keys are the page's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One curl line. `url` has the page's `{host}` replaced; `headers` have lower-case names; `body` is the JSON value."""

    title: str
    manifest: str  # the name it has in the example estate
    model_id: str
    model_type: str
    url: str
    key: str
    headers: dict[str, str]
    body: dict[str, Any]
    method: str = "POST"  # curl's, because of --data

    @property
    def target(self) -> str:
        """Path and query as they stand on the request line."""
        parts = urlsplit(self.url)
        return f"{parts.path}?{parts.query}"


HOST = "agent-platform.example.com"
_OPEN_SOURCE_KEY = "kg-axxxxxxx-5xx3-5xx8-bxxb-9xxxxxxxxxx-ebxxxxxx-5xxb-4xxb-9xx5-cxxxxxxxxx3"
_FINE_TUNE_KEY = "kg-2xxxxxxxxxxxxxxxxxxf-7xxxxxxx-7xx8-4xxf-8xx7-dxxxxxxxxxx3"


def _body(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "hyperParameters": {"temperature": 1, "maxTokens": 512, "topP": 1, "topK": 50, "stopSequence": []},
        "scalingParameters": {
            "maxBatchSize": 10,
            "minReplicas": 1,
            "maxReplicas": 2,
            "scaleUpDelay": 30,
            "scaleDownDelay": 600,
        },
        "deviceType": "g5.xlarge",
        "optimizationInfo": {"optimizationType": "", "quantizationType": ""},
        "isDeployedPreviously": True,
    }


OPEN_SOURCE = Sample(
    title="For an Opensource Model Source",
    manifest="flan-t5",
    model_id="cm-2xxxxxxxxxxxxxxxxxx0",
    model_type="openSource",
    url=f"https://{HOST}/api/public/models/cm-2xxxxxxxxxxxxxxxxxx0/deploy?modelType=openSource",
    key=_OPEN_SOURCE_KEY,
    headers={"x-api-key": _OPEN_SOURCE_KEY, "content-type": "application/json"},
    body=_body("Flant5_model"),
)
FINE_TUNE = Sample(
    title="For a Fine-tune Model Source",
    manifest="gpt2",
    model_id="cm-6xxxxxxxxxxxxxxxxxx9",
    model_type="fineTune",
    url=f"https://{HOST}/api/public/models/cm-6xxxxxxxxxxxxxxxxxx9/deploy?modelType=fineTune",
    key=_FINE_TUNE_KEY,
    headers={"x-api-key": _FINE_TUNE_KEY, "content-type": "application/json"},
    body=_body("gpt2"),
)
SAMPLES = (OPEN_SOURCE, FINE_TUNE)

# "Sample Response" of the same page.
REPLY = {
    "dock-statusId": "ds-d0xxxxxd-bxx9-5xx0-8xx5-5bxxxxxxxxx1",
    "modelId": "cm-77xxxxxb-exx9-5xxc-8xx6-5xxxxxxxxxx1",
    "jobType": "MODELS",
    "action": "DEPLOY",
    "status": "IN_PROGRESS",
}
