"""ClickHouse: the connection, the tables and views, and how they come to be."""
