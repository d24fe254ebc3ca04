"""Is what the completion records say still so? Blocks."""

import json
from collections.abc import Sequence

from clickhouse_connect.driver.client import Client

from backchannel.events import Tombstone
from backchannel_deploy.cli.amounts import counted
from backchannel_deploy.doctor.finding import Finding
from backchannel_deploy.erase import tables
from backchannel_deploy.erase.proof import SigningKey, is_signed
from backchannel_deploy.erase.subject import Subject
from backchannel_deploy.erase.tables import Noted

__all__ = ["check", "of_subject"]


def of_subject(noted: Sequence[Noted], subject: Subject | None) -> list[Noted]:
    """Returns the steps of erasures of a subject, or of everybody."""
    return [
        each
        for each in noted
        if subject is None or (each.subject == subject.kind and set(subject.keys) & set(each.keys))
    ]


def check(client: Client, noted: Sequence[Noted], key: SigningKey | None) -> list[Finding]:
    """Returns a sentence on each erasure: its signature, and what is left of the subject."""
    steps: dict[str, dict[str, Noted]] = {}
    for each in noted:
        steps.setdefault(each.erasure_id, {})[each.step] = each
    return [_of_one(client, erasure_id, known, key) for erasure_id, known in steps.items()]


def _of_one(
    client: Client, erasure_id: str, steps: dict[str, Noted], key: SigningKey | None
) -> Finding:
    completed = steps.get("completed")
    last = completed or max(steps.values(), key=lambda each: each.at_us)
    subject = f"{erasure_id} ({last.subject})"
    if completed is None:
        advice = "Ask for it again: it goes on where it stopped."
        return Finding(subject, "wrong", f"not completed, the last step is {last.step}.", advice)
    if key is None or completed.key_id != key.name:
        told = f"signed with the key {completed.key_id}, which is not the one that is set."
        advice = "Set BACKCHANNEL_ERASURE_KEY and BACKCHANNEL_ERASURE_KEY_ID to that key."
        return Finding(subject, "wrong", told, advice)
    if not is_signed(completed.record, completed.signature, key) or not _agrees(completed):
        told = "the record is not the one that was signed."
        return Finding(subject, "wrong", told, "Somebody has changed the table erasures.")
    tombstone = Tombstone.model_validate(
        {
            "erasure_id": erasure_id,
            "subject": last.subject,
            "keys": last.keys,
            "requested_at_us": last.requested_at_us,
        }
    )
    if left := tables.count(client, tombstone):
        told = "; ".join(f"{counted(n, 'row')} of {table}" for table, n in left.items())
        advice = "Ask for it again. Was a backup restored, or does an old sink run?"
        return Finding(subject, "wrong", f"there again: {told}.", advice)
    rows = counted(sum(completed.removed.values()), "row")
    return Finding(subject, "ok", f"{rows} removed, none is left; the signature holds.")


def _agrees(completed: Noted) -> bool:
    """Says whether the columns are what the signed record says."""
    record = json.loads(completed.record)
    return (
        record["erasure_id"] == completed.erasure_id
        and record["subject"] == completed.subject
        and tuple(record["subject_keys"]) == completed.keys
        and record["requested_at_us"] == completed.requested_at_us
        and record["removed"] == dict(completed.removed)
    )
