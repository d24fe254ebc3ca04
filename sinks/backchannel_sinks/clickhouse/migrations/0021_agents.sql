-- What the agents say of themselves, every few seconds: who is behind, and by which rules who decides.
CREATE TABLE IF NOT EXISTS agents
(
    kind LowCardinality(String) COMMENT 'agent',
    agent LowCardinality(String) COMMENT 'windows, merge (both of a worker), sink or notifier',
    process LowCardinality(String) COMMENT 'which process: its slot, else host and process id',
    at_us Int64 COMMENT 'when it said so, microseconds since 1970 UTC' CODEC(Delta, ZSTD(1)),
    received UInt64 COMMENT 'what came in since the process was started: processed and late and everything skipped',
    processed UInt64 COMMENT 'of that, what is in a window, or stored, or somebody is to be told of',
    late UInt64 COMMENT 'of that, what came when its window was closed',
    skipped Map(LowCardinality(String), UInt64) COMMENT 'of that, what was not used, by reason',
    further Map(LowCardinality(String), UInt64) COMMENT 'what else is counted since the process was started, by name',
    held Map(LowCardinality(String), UInt64) COMMENT 'how many of each kind it holds in memory',
    partitions UInt64 COMMENT 'how many partitions it reads',
    lag_records UInt64 COMMENT 'records in their logs that nothing has been done with yet',
    lag_us UInt64 COMMENT 'how long they wait, about, where they wait the longest, microseconds',
    watermark_us Int64 COMMENT 'event time that all of its partitions have reached, microseconds since 1970 UTC; 0 where there is no such thing' CODEC(Delta, ZSTD(1)),
    configuration LowCardinality(String) COMMENT 'version of the alert rules, or of the file of the notifier, that it follows; empty where there is none',
    refused String COMMENT 'why it did not take a newer version, and follows that one still; empty when nothing was refused',

    at DateTime64(6, 'UTC') MATERIALIZED fromUnixTimestamp64Micro(at_us, 'UTC') COMMENT 'when it said so, UTC',

    -- Where it stood in Kafka.
    _partition UInt16 COMMENT 'partition of chat.metrics',
    _offset UInt64 COMMENT 'offset of the record',
    _line UInt32 COMMENT 'line in the record, from 0',
    _epoch UInt64 COMMENT 'which creation of the topic, milliseconds since 1970 UTC; 0 when not known',
    _broker_time DateTime64(3, 'UTC') COMMENT 'when the record was sent, UTC' CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree
ORDER BY (agent, process, at_us, _epoch)
TTL toDateTime(_broker_time) + INTERVAL 90 DAY
SETTINGS non_replicated_deduplication_window = 100000
COMMENT 'What the agents of the pipeline say of themselves, every 15 seconds; read it with FINAL. Kept for 90 days.';

CREATE OR REPLACE VIEW v_agents
(
    at DateTime64(6, 'UTC') COMMENT 'when it said so, UTC',
    agent LowCardinality(String) COMMENT 'windows, merge (both of a worker), sink or notifier',
    process LowCardinality(String) COMMENT 'which process: its slot, else host and process id',
    latest Bool COMMENT 'it has said nothing newer',
    age_s Float64 COMMENT 'how long ago it said so, seconds; every 15 s it says something, so what is silent for a minute is gone',
    received UInt64 COMMENT 'what came in since the process was started: processed and late and everything skipped',
    processed UInt64 COMMENT 'of that, what is in a window, or stored, or somebody is to be told of',
    late UInt64 COMMENT 'of that, what came when its window was closed',
    skipped Map(LowCardinality(String), UInt64) COMMENT 'of that, what was not used, by reason',
    further Map(LowCardinality(String), UInt64) COMMENT 'what else is counted since the process was started, by name',
    held Map(LowCardinality(String), UInt64) COMMENT 'how many of each kind it holds in memory',
    partitions UInt64 COMMENT 'how many partitions it reads',
    lag_records UInt64 COMMENT 'records in their logs that nothing has been done with yet',
    lag_s Float64 COMMENT 'how long they wait, about, where they wait the longest, seconds',
    watermark Nullable(DateTime64(6, 'UTC')) COMMENT 'event time that all of its partitions have reached, UTC; NULL where there is no such thing',
    configuration LowCardinality(String) COMMENT 'version of the alert rules, or of the file of the notifier, that it follows; empty where there is none',
    refused String COMMENT 'why it did not take a newer version; empty when nothing was refused'
)
AS SELECT
    at,
    agent,
    process,
    (at_us = max(at_us) OVER (PARTITION BY agent, process))::Bool AS latest,
    dateDiff('millisecond', at, now64(3, 'UTC')) / 1000 AS age_s,
    received,
    processed,
    late,
    skipped,
    further,
    held,
    partitions,
    lag_records,
    lag_us / 1e6 AS lag_s,
    if(watermark_us > 0, fromUnixTimestamp64Micro(watermark_us, 'UTC'), NULL) AS watermark,
    configuration,
    refused
FROM agents FINAL
COMMENT 'The pipeline''s own agents: what each took in, lost and holds, how far behind it is, by which rules it decides.';
