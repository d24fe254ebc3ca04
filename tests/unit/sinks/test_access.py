"""Roles as statements: named, complete, and a tenant's rows alone for a tenant."""

import pytest

from backchannel_sinks.clickhouse.access import ROLES, role_statements


def test_every_role_is_created_before_anything_is_granted_to_it() -> None:
    statements = role_statements("metrics")
    for role in ROLES:
        its = [each for each in statements if each.endswith(f" backchannel_{role}")]
        assert its[0] == f"CREATE ROLE IF NOT EXISTS backchannel_{role}"
        assert all(" ON metrics." in each or " ON *.*" in each for each in its[1:])


def test_nobody_but_the_administrator_may_read_prompts_and_replies() -> None:
    statements = role_statements("db")
    for role in ("analyst", "oncall"):
        assert f"REVOKE SELECT ON db.content FROM backchannel_{role}" in statements
    for role in ("writer", "finance"):
        assert not any("SELECT ON db.*" in each for each in statements if each.endswith(role))


def test_a_tenant_has_a_role_that_sees_its_rows_alone() -> None:
    statements = role_statements("db", ["acme-1"])

    policies = [each for each in statements if "RESTRICTIVE TO backchannel_tenant_acme_1" in each]
    assert [each.split(" ON db.")[1].split(" ")[0] for each in policies] == [
        "events",
        "metric_windows",
        "alerts",
        "conversations",
    ]
    assert all("= 'acme-1'" in each for each in policies)
    assert "REVOKE SELECT ON db.dead_letters FROM backchannel_tenant_acme_1" in statements


def test_a_tenant_whose_name_would_end_the_statement_is_refused() -> None:
    with pytest.raises(ValueError, match="has characters other than"):
        role_statements("db", ["x' OR 1"])
