"""One machine and the command line: the broker, the embedded ClickHouse, `backchannel up`."""
