-- Every change of every alert. A record may come twice, byte for byte: read it with FINAL.
CREATE TABLE IF NOT EXISTS alerts
(
    alert_id String COMMENT 'stable for a rule and a series',
    transition UInt64 COMMENT 'number of the change of this alert, rising; (alert_id, transition) is unique',
    schema_version UInt16 DEFAULT 1 COMMENT 'major version of the alert schema',
    rule LowCardinality(String) COMMENT 'name of the rule',
    rules_hash LowCardinality(String) COMMENT 'which version of the rules decided',
    state LowCardinality(String) COMMENT 'firing, resolved',
    severity LowCardinality(String) COMMENT 'info, warning, error, critical',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    grouping LowCardinality(String) COMMENT 'names of the dimensions, comma-separated',
    dims Map(LowCardinality(String), String) COMMENT 'the series: a value for each name in grouping',
    labels Map(LowCardinality(String), String) COMMENT 'labels of the rule, to route by',
    annotations Map(LowCardinality(String), String) COMMENT 'texts of the rule, for people',
    metric LowCardinality(String) COMMENT 'what is measured',
    agg LowCardinality(String) COMMENT 'how, e.g. p95; empty for none',
    op LowCardinality(String) COMMENT 'comparison: > >= < <=',
    threshold Float64 COMMENT 'in the unit of the metric',
    value Nullable(Float64) COMMENT 'the measure when it was decided; NULL when traffic has stopped',
    sample_count UInt64 COMMENT 'samples in the window',
    window_s UInt32 COMMENT 'width of the window in seconds',
    window_end_us Int64 COMMENT 'end of the window, microseconds since 1970 UTC',
    starts_at_us Int64 COMMENT 'when it began to fire, microseconds since 1970 UTC',
    ends_at_us Nullable(Int64) COMMENT 'when it was resolved, microseconds since 1970 UTC; NULL while it fires',
    trigger_event_id String COMMENT 'the event that tipped it, when known',
    trigger_event_at_us Int64 COMMENT 'newest event time that the decision contains, microseconds since 1970 UTC',
    evaluated_at_us Int64 COMMENT 'when it was decided, microseconds since 1970 UTC',

    window_end DateTime64(6, 'UTC') MATERIALIZED fromUnixTimestamp64Micro(window_end_us, 'UTC') COMMENT 'end of the window, UTC',
    starts_at DateTime64(6, 'UTC') MATERIALIZED fromUnixTimestamp64Micro(starts_at_us, 'UTC') COMMENT 'when it began to fire, UTC',
    ends_at Nullable(DateTime64(6, 'UTC')) MATERIALIZED fromUnixTimestamp64Micro(ends_at_us, 'UTC') COMMENT 'when it was resolved, UTC',
    trigger_event_at DateTime64(6, 'UTC') MATERIALIZED fromUnixTimestamp64Micro(trigger_event_at_us, 'UTC') COMMENT 'newest event time that the decision contains, UTC',
    evaluated_at DateTime64(6, 'UTC') MATERIALIZED fromUnixTimestamp64Micro(evaluated_at_us, 'UTC') COMMENT 'when it was decided, UTC',

    -- Where it stood in Kafka.
    _partition UInt16 COMMENT 'partition of chat.alerts',
    _offset UInt64 COMMENT 'offset of the record',
    _epoch UInt64 COMMENT 'which creation of the topic, milliseconds since 1970 UTC; 0 when not known'
)
ENGINE = ReplacingMergeTree
-- The epoch is in the key: alerts of a topic made anew count their changes from 1 again.
ORDER BY (alert_id, transition, _epoch)
TTL toDateTime(evaluated_at) + INTERVAL 800 DAY
SETTINGS non_replicated_deduplication_window = 100000
COMMENT 'Every change of every alert; read it with FINAL. Kept for 800 days.';
