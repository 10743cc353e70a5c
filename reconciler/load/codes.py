"""Every diagnostic, in one table: the codes are stable, and docs/diagnostics.md is made from here."""

from __future__ import annotations

from reconciler.load.yaml_codes import YAML_CODES

# code -> (title, what it means, how to mend it)
CODES: dict[str, tuple[str, str, str]] = {
    "RC101": (
        "no manifests",
        "A manifest folder is missing or holds no YAML file.",
        "Check `manifests:` in the project file.",
    ),
    "RC102": ("unreadable file", "A file or folder cannot be read.", "Check its permissions, and where links lead."),
    "RC103": (
        "not a regular file",
        "Only regular files are read; never FIFOs, devices or sockets.",
        "Remove it or ignore it.",
    ),
    "RC104": ("link out of the root", "A link leads out of the project's folder.", "Put the file inside the project."),
    "RC105": (
        "link in a circle",
        "A link leads to itself, or to a folder that it lies in.",
        "Remove the link.",
    ),
    **YAML_CODES,
    "RC301": (
        "unknown field",
        "The field is not one of this document.",
        "Correct its name; `platform.extraFields` admits new ones.",
    ),
    "RC302": ("missing field", "A required field is not there, or a list is too short.", "Add what is missing."),
    "RC303": ("wrong type", "The value has another type than the field.", "Write it as the field's type."),
    "RC304": (
        "out of range",
        "The number is outside the documented range, or a range in `platform.ranges` is upside down.",
        "Choose one inside; `platform.ranges` widens it.",
    ),
    "RC305": (
        "not one of the values",
        "The value is not one of those allowed.",
        "Choose one; `platform.deviceTypes` adds devices.",
    ),
    "RC306": ("badly spelled", "The text does not have the form that is asked for.", "Write it as shown."),
    "RC307": (
        "null where there is nothing to delete",
        "null deletes, so it stands only in overrides.",
        "Leave the field out.",
    ),
    "RC308": (
        "not ours",
        "A document of another apiVersion or kind lies among the manifests, or the project file is none.",
        "Move it, name it under `ignore:`, or correct its apiVersion and kind.",
    ),
    "RC401": (
        "incomplete",
        "After merging, a required value is missing.",
        "Add it to the manifest, or to the environment's defaults.",
    ),
    "RC402": ("replicas", "minReplicas is larger than maxReplicas.", "Change one of them."),
    "RC403": (
        "quantization",
        "The quantization needs an optimization that supports it.",
        "Use ctranslate2, or no quantization.",
    ),
    "RC404": (
        "model used twice",
        "Two resources name one model id on one host.",
        "A model id stands for one deployment: keep one.",
    ),
    "RC405": ("name used twice", "Two manifests have one name in one environment.", "Rename one."),
    "RC406": ("unknown dependency", "dependsOn names nothing in this environment.", "Correct the name."),
    "RC407": (
        "circle",
        "Dependencies lead back to where they began, by `dependsOn` or because a later wave waits for an earlier one.",
        "Break the circle.",
    ),
    "RC408": (
        "unknown environment",
        "The project file has no such environment.",
        "Correct the name, or add the environment.",
    ),
    "RC409": (
        "environment not said",
        "With several environments a manifest must say where it goes.",
        "Add `spec.environments`.",
    ),
    "RC410": (
        "not exact in JSON",
        "JSON readers do not agree on the number, or the text holds half a character.",
        "Use a smaller number, or whole characters.",
    ),
    "RC501": ("bad host", "The host is not a name or URL of a platform.", "Write https://host/ or host:port."),
    "RC502": ("key in plain sight", "A key must be a reference, never the key.", "Use {env: NAME} or {file: PATH}."),
    "RC503": (
        "notification",
        "Two channels have one name, a secret has no use, or a template names what is not there.",
        "Correct what is named; docs/notifications.md lists the words of templates.",
    ),
    "RC900": (
        "bad scenario",
        "A scenario of the simulator says what no scenario may say.",
        "See docs/simulator.md.",
    ),
}


# first digit -> (title, what these diagnostics have in common)
_GROUPS = {
    "1": ("Reading files", "Said while files are looked for and read, before anything in them is."),
    "2": (
        "YAML",
        "Said of the text. A document with such a mistake is not judged any further, nor, from RC201 to RC205, what follows it.",
    ),
    "3": (
        "What is written",
        "Said of one document by itself: its fields, types, ranges and values, as they stand there.",
    ),
    "4": (
        "What it comes to",
        "Said after merging for one environment, named in brackets; the place is in the layer that set or lacks the value.",
    ),
    "5": ("The project file", "Said of hosts, keys and notifications."),
    "9": ("The simulator", "Said of a scenario file of `reconciler simulate`."),
}
_INTRODUCTION = """\
# Diagnostics

<!-- Made by `make schemas` from reconciler/load/codes.py. -->

What is wrong with files is listed all at once, sorted by place, each as

```
manifests/flan-t5.yaml:12:17: error RC304: too large
    spec.hyperParameters.temperature: 3
    allowed: 0 to 2
```

with a did-you-mean where one is near. `-o json` gives the same facts to programs. Codes are stable: one keeps its meaning, and
none is used again. Any error ends a command with exit code 3, and nothing was changed. A value that looks like an API key is
never repeated. Of one file at most 1,000 mistakes are listed.
"""


def diagnostics_page() -> str:
    """docs/diagnostics.md."""
    parts = [_INTRODUCTION]
    for digit, (title, meaning) in _GROUPS.items():
        parts.append(f"## {title}\n\n{meaning}\n")
        codes = ((code, said) for code, said in sorted(CODES.items()) if code[2] == digit)
        parts += [f"### {code}: {name}\n\n{what} {fix}\n" for code, (name, what, fix) in codes]
    return "\n".join(parts)
