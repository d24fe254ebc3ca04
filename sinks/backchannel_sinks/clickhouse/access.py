"""Who may do what with the tables: roles with least rights, as ClickHouse's own grants. Pure.

The same grants are for a server (`role_statements`, run once by its administrator) and for the
embedded engine (``backchannel_deploy.endpoint.layout``), which holds them itself.
"""

import re
from collections.abc import Iterable, Sequence

from backchannel_sinks.clickhouse.cluster import SHARDED, Cluster

__all__ = ["READERS", "ROLES", "grants", "role_name", "role_statements"]

_TENANT = re.compile(r"[A-Za-z0-9_.@:-]{1,64}")

_PERSONAL = (
    # Prompts and replies; who was erased.
    "REVOKE SELECT ON {db}.content",
    "REVOKE SELECT ON {db}.erasures",
    "REVOKE SELECT ON {db}.erased_events",
    "REVOKE SELECT ON {db}.erased_windows",
)
_COST_COLUMNS = (
    "event_id, event_type, ts, ts_us, tenant_id, user_id, session_id, conversation_id, service,"
    " environment, endpoint, provider, model, request_model, response_model, service_tier,"
    " operation, intent, query_category, status, prompt_name, prompt_version, experiment_id,"
    " variant, sample_weight, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens,"
    " reasoning_tokens, input_audio_tokens, output_audio_tokens, cost_picousd,"
    " input_cost_picousd, output_cost_picousd, cost_source, cost_status, price_version,"
    " duration_us, _origin, _pseq, _epoch, _partition, _offset, _line, _broker_time"
)

ROLES = {
    "writer": (
        # The sink: it adds rows, and looks up what of a partition is stored.
        "GRANT INSERT ON {db}.*",
        "GRANT SELECT(_producer, _pseq, _partition, _epoch, _offset, _broker_time) ON {db}.events",
        "REVOKE INSERT ON {db}.prices",
        "REVOKE INSERT ON {db}.schema_migrations",
        "REVOKE INSERT ON {db}.erasures",
    ),
    "analyst": (
        "GRANT SELECT ON {db}.*",
        *_PERSONAL,
        # A line that could not be used may say anything.
        "REVOKE SELECT(value) ON {db}.dead_letters",
    ),
    "oncall": ("GRANT SELECT ON {db}.*", *_PERSONAL),
    "finance": (
        "GRANT SELECT, INSERT ON {db}.prices",
        "GRANT SELECT ON {db}.metric_windows",
        f"GRANT SELECT({_COST_COLUMNS}) ON {{db}}.events",
        *(
            f"GRANT SELECT ON {{db}}.{view}"
            for view in (
                "price_spans",
                "token_log",
                "v_billing",
                "v_burn",
                "v_burn_windows",
                "v_cost",
                "v_cost_by_model",
                "v_cost_windows",
                "v_events",
                "v_expensive",
                "v_prices",
                "v_tokens",
                "v_top",
                "v_whatif",
            )
        ),
    ),
    "admin": (
        "GRANT ALL ON {db}.*",
        "GRANT CREATE FUNCTION, DROP FUNCTION ON *.*",
    ),
}
"""The grants of each role; ``{db}`` is the database."""

READERS = ("analyst", "oncall", "finance")
"""Roles of people who ask and change no events."""

_TENANT_OF = {
    "events": "tenant_id = '{tenant}'",
    "metric_windows": "tenant = '{tenant}'",
    "alerts": "dims['tenant'] = '{tenant}'",
    "conversations": "tenant_id = '{tenant}'",
}
"""The rows of a tenant, by table. The windows of all tenants together are nobody's."""

_NOT_OF_A_TENANT = ("dead_letters", "schema_migrations")


def grants(role: str, database: str) -> list[str]:
    """Returns the grants of a role, in their order, without saying to whom."""
    return [grant.format(db=database) for grant in ROLES[role]]


def _also_of_parts(statements: Iterable[str], database: str) -> list[str]:
    """Returns the statements, and beside each of a table that may be spread over shards the same
    of its parts: who reads it reads those."""
    both: list[str] = []
    for each in statements:
        named = re.search(rf"{re.escape(database)}\.(\w+)", each)
        both.append(each)
        if named and named[1] in SHARDED:
            both.append(f"{each[: named.end()]}_local{each[named.end() :]}")
    return both


def role_name(role: str) -> str:
    """Returns the name of a role on a server."""
    return f"backchannel_{role}"


def role_statements(database: str, tenants: Sequence[str] = (), cluster: str = "") -> list[str]:
    """Returns what the administrator of a server, or of all servers of a cluster, runs: every role,
    and for each tenant one that sees the rows of this tenant alone. Safe to repeat.

    Raises:
        ValueError: the name of a tenant has characters that do not belong into a role's name, or
            that is no name of a cluster.
    """
    if not cluster:
        return _of_one_server(database, tenants)
    where = f" ON CLUSTER '{Cluster(cluster).name}'"
    head = re.compile(
        r"^(CREATE ROLE IF NOT EXISTS \w+|CREATE ROW POLICY OR REPLACE \w+|GRANT|REVOKE)"
    )
    told = _also_of_parts(_of_one_server(database, tenants), database)
    return [head.sub(lambda found: found[0] + where, each) for each in told]


def _of_one_server(database: str, tenants: Sequence[str]) -> list[str]:
    statements = []
    for role in ROLES:
        statements += _role(role_name(role), grants(role, database))
    named = {tenant: role_name("tenant_" + re.sub(r"\W", "_", tenant)) for tenant in tenants}
    for tenant, role in named.items():
        if not _TENANT.fullmatch(tenant):
            raise ValueError(
                f"the tenant {tenant!r} has characters other than letters, digits, _.@:-"
            )
        hidden = [f"REVOKE SELECT ON {database}.{table}" for table in _NOT_OF_A_TENANT]
        statements += _role(role, grants("analyst", database) + hidden)
        statements += [
            f"CREATE ROW POLICY OR REPLACE {role} ON {database}.{table}"
            f" FOR SELECT USING {rows.format(tenant=tenant)} AS RESTRICTIVE TO {role}"
            for table, rows in _TENANT_OF.items()
        ]
    # Where a table has a policy, a server may show nothing to those whom none allows anything.
    statements += [
        f"CREATE ROW POLICY OR REPLACE backchannel_every_row ON {database}.{table}"
        " FOR SELECT USING 1 AS PERMISSIVE TO ALL"
        for table in _TENANT_OF
    ]
    return statements


def _role(name: str, given: Sequence[str]) -> list[str]:
    return [
        f"CREATE ROLE IF NOT EXISTS {name}",
        *(f"{each} {'TO' if each.startswith('GRANT') else 'FROM'} {name}" for each in given),
    ]
