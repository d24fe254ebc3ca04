"""`backchannel roles`: who may do what on a ClickHouse server, as SQL for its administrator."""

from typing import Annotated

from cyclopts import Parameter

from backchannel_deploy.errors import UserError

__all__ = ["roles"]


def roles(*, tenant: Annotated[list[str] | None, Parameter(negative="")] = None) -> None:
    """Print the SQL that creates the roles writer, analyst, oncall, finance and admin.

    For the administrator of a ClickHouse server; safe to run again, and to be run again after an
    upgrade. A person is given a role with GRANT backchannel_analyst TO ana.

    Parameters
    ----------
    tenant
        Also a role backchannel_tenant_NAME that sees the rows of this tenant alone.
    """
    from backchannel_deploy.connect import find_cluster, find_database
    from backchannel_sinks.clickhouse.access import role_statements

    try:
        statements = role_statements(find_database(), tenant or [], find_cluster())
    except ValueError as error:
        raise UserError(f"{error}.") from error
    for statement in statements:
        print(f"{statement};")
