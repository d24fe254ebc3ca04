"""The sinks: from topics into ClickHouse, each record exactly once, and alerts to people."""
