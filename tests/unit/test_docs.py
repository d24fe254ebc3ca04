"""What the documents say is what the code does."""

import json
import re
from pathlib import Path

import pytest

from backchannel.events import Alert
from backchannel.events.topics import TOPICS
from backchannel_deploy.cli.schema import schemas

DOCS = Path(__file__).parents[2] / "docs"


def test_every_topic_stands_in_the_topics_page_with_its_settings() -> None:
    page = (DOCS / "topics.md").read_text("utf-8")
    for topic in TOPICS:
        row = next(line for line in page.splitlines() if line.startswith(f"| `{topic.name}` |"))
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        days = "for ever" if topic.retention_ms < 0 else f"{topic.retention_ms // 86_400_000} d"
        assert cells[1:] == [
            str(topic.partitions),
            topic.cleanup,
            days,
            f"{topic.message_bytes_max // 2**20} MB",
        ], row


def test_the_alert_page_names_every_field() -> None:
    page = (DOCS / "alerts.md").read_text("utf-8")
    for field in set(Alert.model_fields) - {"schema_version", "origin", "trigger_event_id"}:
        assert f"`{field}`" in page, field


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.name)
def test_links_between_documents_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_contributors_are_sent_to_places_that_are_there() -> None:
    page = DOCS.parent / "CONTRIBUTING.md"

    named = re.findall(
        r"`((?:producers|stream_processors|sinks|deploy|docs|tests)/[^`]+)`",
        page.read_text("utf-8"),
    )
    assert named
    assert [each for each in named if not (DOCS.parent / each).exists()] == []


def test_the_published_schemas_are_those_of_the_models() -> None:
    """After a change: backchannel schema --output docs/schema"""
    for name, document in schemas().items():
        published = (DOCS / "schema" / f"{name}.schema.json").read_text("utf-8")
        assert json.loads(published) == document, name


def test_the_event_schema_asks_for_what_a_reader_asks_for() -> None:
    definitions = schemas()["event"]["$defs"]

    assert definitions["Interaction"]["required"] == ["event_id", "event_type", "ts_us"]
    assert definitions["Feedback"]["required"] == ["event_id", "event_type", "kind", "ts_us"]
