"""``docs/metrics.md`` says of each measure what the window model says.

``BACKCHANNEL_WRITE_DOCS=1 pytest tests/unit/processors/test_metrics_page.py`` writes it anew.
"""

import os
from pathlib import Path

from backchannel.events import Distribution, Window

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"
MARK = "<!-- generated: tests/unit/processors/test_metrics_page.py -->\n"


def reference() -> str:
    """Returns the generated part of the page: a row for each field of a window."""
    rows = [
        f"| `{name}` | {_kind(name)} | {_cell(field.description or '')} |"
        for name, field in Window.model_fields.items()
    ]
    return "\n".join(["", "| name | kind | |", "|---|---|---|", *rows, ""])


def _kind(name: str) -> str:
    annotation = Window.model_fields[name].annotation
    if annotation is Distribution:
        return "distribution"
    text = str(annotation)
    if "Distribution" in text:
        return "distributions by name"
    if "Score" in text:
        return "scores by name"
    for kind, word in ((int, "number"), (bool, "yes or no"), (str, "text")):
        if annotation is kind:
            return word
    return "list" if "tuple" in text else "map"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")


def test_every_field_of_a_window_is_explained() -> None:
    assert [name for name, field in Window.model_fields.items() if not field.description] == []


def test_the_page_is_what_the_model_says() -> None:
    written, _, found = PAGE.read_text("utf-8").partition(MARK)
    if os.environ.get("BACKCHANNEL_WRITE_DOCS"):
        PAGE.write_text(written + MARK + reference(), "utf-8")
        return

    assert found == reference()
