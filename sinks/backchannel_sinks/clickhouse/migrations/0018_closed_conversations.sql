-- Conversations as the stream closes them, after a silence: one row for each stretch of turns. What
-- goes on after it is a new segment. Read it with FINAL.
CREATE TABLE IF NOT EXISTS conversations
(
    kind LowCardinality(String) COMMENT 'conversation.closed',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    tenant_id LowCardinality(String) COMMENT 'tenant',
    conversation_id String COMMENT 'conversation',
    segment String COMMENT 'id of the event that began this stretch of turns',
    revision UInt64 COMMENT 'rises with everything that is added; the highest stands',
    outcome LowCardinality(String) COMMENT 'escalated: a person was asked for. completed: the user said so. errored: the last turn failed. abandoned: the last turn was cancelled or blocked, or took longer than 10 s. answered: none of these',
    started_at_us Int64 COMMENT 'time of the first turn, microseconds since 1970 UTC' CODEC(Delta, ZSTD(1)),
    last_at_us Int64 COMMENT 'time of the last turn, microseconds since 1970 UTC' CODEC(Delta, ZSTD(1)),
    closed_at_us Int64 COMMENT 'event time at which the silence was long enough, microseconds since 1970 UTC' CODEC(Delta, ZSTD(1)),
    duration_us UInt64 COMMENT 'from the beginning of the first turn to the end of the last',
    turns UInt64 COMMENT 'turns',
    errors UInt64 COMMENT 'turns that ended in error, timeout or rate_limited',
    fallbacks UInt64 COMMENT 'turns that a fallback answered',
    input_tokens UInt64 COMMENT 'tokens in',
    output_tokens UInt64 COMMENT 'tokens out',
    cost_picousd UInt128 COMMENT 'cost of the turns whose cost is known, 10^-12 US dollars',
    unpriced UInt64 COMMENT 'turns with tokens and without a known price',
    last_status LowCardinality(String) COMMENT 'how the last turn ended',
    last_event_id String COMMENT 'the last turn',
    sample_weight UInt64 COMMENT 'for how many conversations it stands',

    started_at DateTime64(6, 'UTC') MATERIALIZED fromUnixTimestamp64Micro(started_at_us, 'UTC') COMMENT 'time of the first turn, UTC',
    last_at DateTime64(6, 'UTC') MATERIALIZED fromUnixTimestamp64Micro(last_at_us, 'UTC') COMMENT 'time of the last turn, UTC',
    closed_at DateTime64(6, 'UTC') MATERIALIZED fromUnixTimestamp64Micro(closed_at_us, 'UTC') COMMENT 'event time at which the silence was long enough, UTC',

    -- Where it stood in Kafka.
    _partition UInt16 COMMENT 'partition of chat.metrics',
    _offset UInt64 COMMENT 'offset of the record',
    _line UInt32 COMMENT 'line in the record, from 0',
    _epoch UInt64 COMMENT 'which creation of the topic, milliseconds since 1970 UTC; 0 when not known',
    _broker_time DateTime64(3, 'UTC') COMMENT 'when the record was sent, UTC' CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY (origin, tenant_id, conversation_id, segment, _epoch)
-- By when it was closed, never by event time: a replay of last year must not vanish on arrival.
TTL toDateTime(_broker_time) + INTERVAL 800 DAY
SETTINGS non_replicated_deduplication_window = 100000
COMMENT 'Conversations as the stream closes them, after a silence; read it with FINAL. Kept for 800 days.';

CREATE OR REPLACE VIEW v_closed_conversations
(
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    tenant LowCardinality(String) COMMENT 'tenant',
    conversation_id String COMMENT 'conversation',
    segment String COMMENT 'id of the event that began this stretch of turns: after a silence it goes on as another segment',
    outcome LowCardinality(String) COMMENT 'how it ended: see v_conversations',
    started_at DateTime64(6, 'UTC') COMMENT 'time of the first turn, UTC',
    last_at DateTime64(6, 'UTC') COMMENT 'time of the last turn, UTC',
    closed_at DateTime64(6, 'UTC') COMMENT 'event time at which the silence was long enough, UTC',
    duration_s Float64 COMMENT 'from the beginning of the first turn to the end of the last, seconds',
    turns UInt64 COMMENT 'turns',
    tokens UInt64 COMMENT 'tokens in and out',
    cost_usd Decimal(38, 12) COMMENT 'US dollars, as the bots knew it; turns without a known price are not in it',
    unpriced UInt64 COMMENT 'turns with tokens and without a known price',
    errors UInt64 COMMENT 'turns that ended in error, timeout or rate_limited',
    fallbacks UInt64 COMMENT 'turns that a fallback answered',
    last_status LowCardinality(String) COMMENT 'how the last turn ended',
    last_event_id String COMMENT 'the last turn',
    sample_weight UInt64 COMMENT 'for how many conversations it stands'
)
AS SELECT
    origin,
    tenant_id AS tenant,
    conversation_id,
    segment,
    outcome,
    started_at,
    last_at,
    closed_at,
    duration_us / 1e6 AS duration_s,
    turns,
    input_tokens + output_tokens AS tokens,
    bc_usd(c.cost_picousd) AS cost_usd,
    unpriced,
    errors,
    fallbacks,
    last_status,
    last_event_id,
    sample_weight
FROM conversations AS c FINAL
COMMENT 'Conversations as the stream closed them after half an hour of silence, a row for each stretch of turns: what v_conversations says of them, without reading their events.';

ALTER TABLE metric_windows
    ADD COLUMN IF NOT EXISTS conversations_over Map(LowCardinality(String), UInt64) COMMENT 'conversations that went over a limit of an alert rule with one of their turns, by limit: tokens:4000' CODEC(ZSTD(1)) AFTER exceptions;
