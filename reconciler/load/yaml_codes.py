"""The diagnostics of YAML itself: code -> (title, what it means, how to mend it)."""

YAML_CODES: dict[str, tuple[str, str, str]] = {
    "RC201": ("not UTF-8", "The file is not UTF-8 text.", "Save it as UTF-8, without UTF-16 or Latin-1 characters."),
    "RC202": ("file too large", "A manifest file holds at most 1 MiB.", "Split it into several files."),
    "RC203": ("nested too deeply", "A document may be nested 50 levels deep.", "Flatten it; no manifest needs this."),
    "RC204": (
        "too many nodes",
        "A document may hold 20,000 nodes with aliases, a file 150,000; 64 characters of text count as one, a document as two.",
        "Use fewer aliases, or write out what they stand for.",
    ),
    "RC205": ("not YAML", "The text breaks the grammar of YAML.", "Look at the place and just before it."),
    "RC206": ("duplicate key", "A mapping holds the same key twice.", "Keep one of them."),
    "RC207": ("key is not text", "Every key in a manifest is text.", "Quote the key."),
    "RC208": (
        "unknown tag",
        "Only the tags of the YAML 1.2 core schema are read, and no %TAG directives.",
        "Remove it.",
    ),
    "RC209": ("alias inside itself", "An alias names a node that contains it.", "Write the value out."),
    "RC210": ("bad merge key", "`<<` takes a mapping, or a list of mappings.", "Give it an alias of a mapping."),
    "RC211": (
        "not a JSON number",
        "JSON knows no NaN and no infinity, and no number that large.",
        "Write another, or quote the text.",
    ),
    "RC212": (
        "value does not fit its tag",
        "The text cannot be read as what its tag says.",
        "Remove the tag, or mend the value.",
    ),
}
