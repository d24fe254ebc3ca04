-- Prompts and replies, only where a bot opts in: apart from the events, and gone sooner.
-- A record that comes twice replaces itself: read it with FINAL.
CREATE TABLE IF NOT EXISTS content
(
    event_id UUID COMMENT 'the event that the text belongs to: event_id in events',
    ts_us Int64 COMMENT 'time of that event, microseconds since 1970 UTC' CODEC(Delta, ZSTD(1)),
    ts DateTime64(6, 'UTC') MATERIALIZED fromUnixTimestamp64Micro(ts_us, 'UTC') COMMENT 'time of that event, UTC' CODEC(Delta, ZSTD(1)),
    schema_version UInt16 DEFAULT 1 COMMENT 'major version of the schema',
    tenant_id LowCardinality(String) DEFAULT 'default' COMMENT 'tenant',
    user_id String COMMENT 'user, or its keyed hash',
    conversation_id String COMMENT 'conversation',
    part LowCardinality(String) COMMENT 'prompt, reply, query, document',
    part_index UInt32 COMMENT 'number among the texts of that part, from 0',
    text String COMMENT 'the text, masked by the SDK' CODEC(ZSTD(3)),
    truncated Bool COMMENT 'whether its end was cut off',

    -- Where it stood in Kafka.
    _partition UInt16 COMMENT 'partition of chat.content',
    _offset UInt64 COMMENT 'offset of the record',
    _line UInt32 COMMENT 'line in the record, from 0',
    _epoch UInt64 COMMENT 'which creation of the topic, milliseconds since 1970 UTC; 0 when not known',
    _broker_time DateTime64(3, 'UTC') COMMENT 'when the record was sent, UTC' CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree
ORDER BY (tenant_id, conversation_id, event_id, part, part_index)
TTL toDateTime(_broker_time) + INTERVAL 30 DAY
SETTINGS non_replicated_deduplication_window = 100000
COMMENT 'Prompts and replies of bots that opted in, tied to events by event_id; read it with FINAL. Kept for 30 days.';
