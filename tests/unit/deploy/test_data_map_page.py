"""``docs/data-map.md`` names every field that is stored.

``BACKCHANNEL_WRITE_DOCS=1 pytest tests/unit/deploy/test_data_map_page.py`` writes it anew.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from backchannel.events import EVENT_TYPES, Alert, Content, Window
from backchannel_deploy.data_map import Class, Entry, Place, data_map

PAGE = Path(__file__).parents[3] / "docs" / "data-map.md"
MARK = "<!-- generated: tests/unit/deploy/test_data_map_page.py -->\n"
DAY_MS = 86_400_000
MANY = 4


def reference() -> str:
    return "\n".join(line for place in data_map() for line in section(place))


def section(place: Place) -> Iterator[str]:
    kept = " or ".join(f"{days} days" for days in dict.fromkeys(place.days)) or "for ever"
    yield from ("", f"## `{place.table}`", "")
    yield f"Kept {'for ' if place.days else ''}{kept} in ClickHouse{in_kafka(place)}."
    yield from ("", "| field | purpose | class |", "|---|---|---|")
    for entry in place.entries:
        yield f"| `{entry.name}` | {purpose(entry)} | {entry.of.value} |"
    yield ""


def in_kafka(place: Place) -> str:
    if place.topic is None:
        return "; on no topic"
    kept = place.topic.retention_ms
    if kept < 0:
        return f", on `{place.topic.name}` for ever, the newest of each key"
    days = kept // DAY_MS
    return f", on `{place.topic.name}` for {days} day{'s' if days > 1 else ''}"


def purpose(entry: Entry) -> str:
    text = entry.purpose.replace("|", "\\|")
    if not entry.event_types:
        return text
    return f"{text} ({', '.join(entry.event_types)})" if len(entry.event_types) <= MANY else text


def test_the_page_is_what_the_models_and_tables_say() -> None:
    written, _, found = PAGE.read_text("utf-8").partition(MARK)
    if os.environ.get("BACKCHANNEL_WRITE_DOCS"):
        PAGE.write_text(written + MARK + reference(), "utf-8")
        return

    assert found == reference()


def test_every_field_of_the_models_is_on_the_map() -> None:
    places = {place.table: {entry.name for entry in place.entries} for place in data_map()}

    of_events = {name for model in EVENT_TYPES.values() for name in model.model_fields}
    assert of_events <= places["events"]
    assert set(Window.model_fields) <= places["metric_windows"]
    assert set(Alert.model_fields) <= places["alerts"]
    assert set(Content.model_fields) <= places["content"]


def test_what_names_somebody_or_is_free_text_says_so() -> None:
    classes = {
        (place.table, entry.name): entry.of for place in data_map() for entry in place.entries
    }

    assert classes["events", "user_id"] is Class.PERSON
    assert classes["content", "text"] is Class.TEXT
    assert classes["events", "comment"] is Class.TEXT
    assert classes["dead_letters", "value"] is Class.TEXT
    assert classes["events", "conversation_id"] is Class.LINK
    assert classes["events", "duration_us"] is Class.FACT
