"""`backchannel schema`: the contract as JSON Schema, made from the models themselves."""

import json
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

__all__ = ["schema", "schemas"]

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def schema(*, output: Annotated[Path | None, Parameter(alias="-o")] = None) -> None:
    """Print the JSON Schema of events, windows, conversations, agents, alerts and what people say.

    Parameters
    ----------
    output
        Folder for a file each: event.schema.json, window.schema.json and so on; made if need be.
        Without it one JSON object with all of them is printed.
    """
    if output is None:
        print(json.dumps(schemas(), indent=2))
        return
    output.mkdir(parents=True, exist_ok=True)
    for name, document in schemas().items():
        path = output / f"{name}.schema.json"
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        print(path)


def schemas() -> dict[str, dict[str, Any]]:
    """Returns the schemas of what stands on chat.events, chat.metrics, chat.alerts, and of what
    people say on chat.control."""
    from pydantic import TypeAdapter

    from backchannel.events import (
        Ack,
        AgentReport,
        Alert,
        AnyEvent,
        ClosedConversation,
        Event,
        Silence,
        Window,
    )

    events = TypeAdapter[Event](AnyEvent).json_schema()
    for definition in events["$defs"].values():
        if "event_type" in definition["properties"]:
            # A constructor makes these up where they are not given; on the wire they are asked for.
            given = {"event_type", "event_id", "ts_us", *definition.get("required", ())}
            definition["required"] = sorted(given)
    return {
        "event": {"$schema": _DRAFT, "title": "Event", **events},
        "window": {"$schema": _DRAFT, **Window.model_json_schema()},
        "conversation": {"$schema": _DRAFT, **ClosedConversation.model_json_schema()},
        "agent": {"$schema": _DRAFT, **AgentReport.model_json_schema()},
        "alert": {"$schema": _DRAFT, **Alert.model_json_schema()},
        "control": {
            "$schema": _DRAFT,
            "title": "Control",
            **TypeAdapter[Silence | Ack](Silence | Ack).json_schema(),
        },
    }
