-- Windows of series, open and closed: the last revision of each stands, read with FINAL.
-- Nothing is ever added up across revisions; across windows everything may be.
CREATE TABLE IF NOT EXISTS metric_windows
(
    origin LowCardinality(String) COMMENT 'live, or replay:<id>: a replay has windows of its own',
    grouping LowCardinality(String) COMMENT 'names of the dimensions, comma-separated; empty for everything together',
    dims Map(LowCardinality(String), String) COMMENT 'the series: a value for each name in grouping',
    window_s UInt32 COMMENT 'width in seconds',
    window_start DateTime64(0, 'UTC') COMMENT 'first second; the window is [start, start + width)' CODEC(Delta, ZSTD(1)),
    revision UInt64 COMMENT 'rises with everything that is added; the highest stands' CODEC(ZSTD(1)),
    final Bool COMMENT 'nothing will be added any more',
    complete Bool COMMENT 'false when a bound or a silent source left something out',
    count UInt64 COMMENT 'interactions, weighted by sample_weight like every count here',
    errors UInt64 COMMENT 'of them with status error, timeout or rate_limited',
    errors_by_type Map(LowCardinality(String), UInt64) COMMENT 'errors by error_type, else by status; beyond 32 types __other__',
    input_tokens UInt64 COMMENT 'tokens in',
    output_tokens UInt64 COMMENT 'tokens out',
    latency_count UInt64 COMMENT 'durations measured',
    latency_sum_us UInt64 COMMENT 'their sum, microseconds' CODEC(ZSTD(1)),
    latency_min_us UInt64 COMMENT 'the shortest, microseconds; not weighted',
    latency_max_us UInt64 COMMENT 'the longest, microseconds; not weighted',
    latency_mean_us UInt64 COMMENT 'their mean, microseconds, rounded down',
    latency_p50_us UInt64 COMMENT 'median, microseconds, within 1.1 %',
    latency_p90_us UInt64 COMMENT '90th percentile, microseconds, within 1.1 %',
    latency_p95_us UInt64 COMMENT '95th percentile, microseconds, within 1.1 %',
    latency_p99_us UInt64 COMMENT '99th percentile, microseconds, within 1.1 %',
    latency_buckets Map(Int16, UInt64) COMMENT 'durations by bucket: bucket i holds 2^(i/32) < v <= 2^((i+1)/32) microseconds, -1 holds 1, -2 holds 0' CODEC(ZSTD(1)),
    late UInt64 COMMENT 'events that came after the window was closed: events has them, the other columns do not',
    newest_event_at_us Int64 COMMENT 'newest event time in it, microseconds since 1970 UTC' CODEC(Delta, ZSTD(1)),
    published_at_us Int64 COMMENT 'when this revision was published, microseconds since 1970 UTC' CODEC(Delta, ZSTD(1)),

    published_at DateTime64(6, 'UTC') MATERIALIZED fromUnixTimestamp64Micro(published_at_us, 'UTC') COMMENT 'when this revision was published, UTC' CODEC(Delta, ZSTD(1)),
    series String MATERIALIZED toJSONString(mapSort(dims)) COMMENT 'dims as text, sorted by name',
    tenant LowCardinality(String) MATERIALIZED dims['tenant'] COMMENT 'dims of that name; empty when grouping has it not',
    endpoint LowCardinality(String) MATERIALIZED dims['endpoint'] COMMENT 'dims of that name; empty when grouping has it not',
    model LowCardinality(String) MATERIALIZED dims['model'] COMMENT 'dims of that name; empty when grouping has it not',

    -- Where this revision stood in Kafka.
    _partition UInt16 COMMENT 'partition of chat.metrics',
    _offset UInt64 COMMENT 'offset of the record' CODEC(Delta, ZSTD(1)),
    _line UInt32 COMMENT 'line in the record, from 0' CODEC(Delta, ZSTD(1)),
    _epoch UInt64 COMMENT 'which creation of the topic, milliseconds since 1970 UTC; 0 when not known',

    CONSTRAINT window_s_is_positive CHECK window_s > 0
)
ENGINE = ReplacingMergeTree(revision)
-- Not partitioned: all revisions of a window must meet in a merge for the last one to stay alone.
-- The epoch is in the key: topics made anew count from nothing, so their windows stand beside the
-- old ones and add up with them.
ORDER BY (grouping, window_s, origin, window_start, series, _epoch)
-- By when it was published, never by event time: a replay of last year must not vanish on arrival.
TTL toDateTime(published_at) + INTERVAL 30 DAY DELETE WHERE window_s < 60,
    toDateTime(published_at) + INTERVAL 800 DAY
SETTINGS non_replicated_deduplication_window = 100000
COMMENT 'Windows of series; read it with FINAL. Windows below a minute are kept for 30 days, others for 800.';
