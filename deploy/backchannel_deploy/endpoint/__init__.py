"""The embedded ClickHouse: one process owns a chDB data directory and speaks ClickHouse's HTTP.

chDB (ClickHouse inside Python) lets one process use a data directory.
That process is this package, `python -m backchannel_deploy.endpoint`; everyone else, our sink and
any ClickHouse client alike, speaks HTTP to it exactly as to a server.

Read in the order a request travels::

    server -> request -> body (statement, tokens) -> policy -> engine -> reply
"""
