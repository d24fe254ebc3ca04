-- Security events, and what never came, in every window.
ALTER TABLE metric_windows
    ADD COLUMN IF NOT EXISTS security_events UInt64 COMMENT 'security events' AFTER conversations_over,
    ADD COLUMN IF NOT EXISTS security_refused UInt64 COMMENT 'security events with outcome blocked or flagged' AFTER security_events,
    ADD COLUMN IF NOT EXISTS dropped_events UInt64 COMMENT 'events that the bots had no room for and dropped, as their health events tell' AFTER security_refused,
    ADD COLUMN IF NOT EXISTS lost_records UInt64 COMMENT 'records that a bot sent and nobody saw: gaps in its numbers, counted where the next one stands' AFTER dropped_events;
