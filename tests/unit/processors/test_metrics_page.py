"""``docs/metrics.md`` says of each measure what the window model says.

``BACKCHANNEL_WRITE_DOCS=1 pytest tests/unit/processors/test_metrics_page.py`` writes it anew.
"""

import ast
import inspect
import os
from itertools import pairwise
from pathlib import Path

from backchannel.events import Distribution, Window, windows

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"
MARK = "<!-- generated: tests/unit/processors/test_metrics_page.py -->\n"


def explained() -> dict[str, str]:
    """Returns what the source says of each field, in the line below it."""
    module = ast.parse(inspect.getsource(windows))
    (model,) = [
        each for each in module.body if isinstance(each, ast.ClassDef) and each.name == "Window"
    ]
    return {
        field.target.id: str(text.value.value)
        for field, text in pairwise(model.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }


def reference() -> str:
    """Returns the generated part of the page: a row for each field of a window."""
    rows = [f"| `{name}` | {_kind(name)} | {_cell(text)} |" for name, text in explained().items()]
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
    assert [*explained()] == [*Window.model_fields]


def test_the_page_is_what_the_model_says() -> None:
    written, _, found = PAGE.read_text("utf-8").partition(MARK)
    if os.environ.get("BACKCHANNEL_WRITE_DOCS"):
        PAGE.write_text(written + MARK + reference(), "utf-8")
        return

    assert found == reference()
