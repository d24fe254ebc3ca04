-- What was sent and could not be used: where it came from and why. Nothing is thrown away silently.
-- The same line may be refused twice, by two sinks: read it with FINAL.
CREATE TABLE IF NOT EXISTS dead_letters
(
    topic LowCardinality(String) COMMENT 'topic of the original record',
    partition UInt16 COMMENT 'its partition',
    offset UInt64 COMMENT 'its offset',
    line UInt32 COMMENT 'line in the record, from 0',
    reason String COMMENT 'why it could not be used',
    stage LowCardinality(String) COMMENT 'who refused it: sink, notifier',
    broker_time DateTime64(3, 'UTC') COMMENT 'when the broker had the original record, UTC',
    value String COMMENT 'the line, cut at 512 KB; bytes that are no UTF-8 as \\xNN' CODEC(ZSTD(1)),
    value_bytes UInt64 COMMENT 'length of the whole line in bytes',
    value_sha256 String COMMENT 'SHA-256 of the whole line, hexadecimal',

    -- Where the dead letter stood in Kafka.
    _partition UInt16 COMMENT 'partition of chat.dead',
    _offset UInt64 COMMENT 'offset of the record',
    _epoch UInt64 COMMENT 'which creation of the topic, milliseconds since 1970 UTC; 0 when not known'
)
ENGINE = ReplacingMergeTree
ORDER BY (topic, partition, offset, line, _epoch)
-- The broker's clock of a strange topic may say anything: far-off times must not make partitions.
TTL toDateTime(broker_time) + INTERVAL 90 DAY
SETTINGS non_replicated_deduplication_window = 100000
COMMENT 'Lines that could not be used, with their origin and the reason; read it with FINAL. Kept for 90 days.';
