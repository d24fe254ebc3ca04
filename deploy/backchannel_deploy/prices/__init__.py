"""The table ``prices`` in ClickHouse: filled from the price book of the SDK, which the bots use."""
