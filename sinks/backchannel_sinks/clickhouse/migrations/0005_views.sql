-- The stable interface for analysts and dashboards: columns are added here, never changed or taken.
-- Each view has a row for a window of a series (v_alerts: for a change of an alert). Always choose
-- one grouping and one window_s: the same events stand in every grouping and in every width.

CREATE OR REPLACE VIEW v_latency
(
    window_start DateTime64(0, 'UTC') COMMENT 'first second of the window',
    tenant LowCardinality(String) COMMENT 'empty when grouping has it not',
    endpoint LowCardinality(String) COMMENT 'empty when grouping has it not',
    model LowCardinality(String) COMMENT 'empty when grouping has it not',
    dims Map(LowCardinality(String), String) COMMENT 'the series: a value for each name in grouping',
    grouping LowCardinality(String) COMMENT 'names of the dimensions, e.g. tenant,endpoint,model',
    window_s UInt32 COMMENT 'width in seconds',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    count UInt64 COMMENT 'interactions',
    n UInt64 COMMENT 'durations measured',
    enough Bool COMMENT 'n is at least 100: even above p99 there is one',
    mean_ms Nullable(Float64) COMMENT 'mean, milliseconds; NULL without durations, like the rest',
    p50_ms Nullable(Float64) COMMENT 'median, milliseconds, within 1.1 %',
    p90_ms Nullable(Float64) COMMENT '90th percentile, milliseconds, within 1.1 %',
    p95_ms Nullable(Float64) COMMENT '95th percentile, milliseconds, within 1.1 %',
    p99_ms Nullable(Float64) COMMENT '99th percentile, milliseconds, within 1.1 %',
    min_ms Nullable(Float64) COMMENT 'the shortest, milliseconds',
    max_ms Nullable(Float64) COMMENT 'the longest, milliseconds',
    latency_buckets Map(Int16, UInt64) COMMENT 'the histogram: add up with sumMap for percentiles over any rows',
    final Bool COMMENT 'nothing will be added any more',
    complete Bool COMMENT 'false when a bound or a silent source left something out'
)
AS WITH
    -- The value that stands for a bucket: its geometric middle, an integer.
    (bucket -> toUInt64(if(bucket < 0, bucket + 2, round(exp2((bucket + 0.5) / 32))))) AS bucket_value,
    -- The bucket that holds the sample of a rank; the rank is found in integers.
    ((buckets, permille) -> mapKeys(buckets)[arrayFirstIndex(
        seen -> seen >= greatest(1, intDiv(permille * arraySum(mapValues(buckets))::UInt128 + 999, 1000)),
        arrayCumSum(mapValues(buckets)))]) AS quantile_bucket,
    ((buckets, permille, shortest, longest) -> if(empty(buckets), NULL, least(greatest(
        bucket_value(quantile_bucket(buckets, permille)), shortest), longest) / 1000)) AS quantile_ms
SELECT
    window_start,
    tenant,
    endpoint,
    model,
    dims,
    grouping,
    window_s,
    origin,
    count,
    n,
    (n >= 100)::Bool AS enough,
    if(n = 0, NULL, sum_us / n / 1000) AS mean_ms,
    quantile_ms(latency_buckets, 500, min_us, max_us) AS p50_ms,
    quantile_ms(latency_buckets, 900, min_us, max_us) AS p90_ms,
    quantile_ms(latency_buckets, 950, min_us, max_us) AS p95_ms,
    quantile_ms(latency_buckets, 990, min_us, max_us) AS p99_ms,
    if(n = 0, NULL, min_us / 1000) AS min_ms,
    if(n = 0, NULL, max_us / 1000) AS max_ms,
    latency_buckets,
    final,
    complete
FROM
(
    SELECT
        window_start,
        tenant,
        endpoint,
        model,
        any(w.dims) AS dims,
        grouping,
        window_s,
        origin,
        sum(w.count) AS count,
        sum(w.latency_count) AS n,
        sum(w.latency_sum_us) AS sum_us,
        minIf(w.latency_min_us, w.latency_count > 0) AS min_us,
        max(w.latency_max_us) AS max_us,
        sumMap(w.latency_buckets) AS latency_buckets,
        min(w.final) AS final,
        min(w.complete) AS complete
    FROM metric_windows AS w FINAL
    GROUP BY window_start, tenant, endpoint, model, series, grouping, window_s, origin
)
COMMENT 'Latency by window and series; percentiles within 1.1 %.';

CREATE OR REPLACE VIEW v_tokens
(
    window_start DateTime64(0, 'UTC') COMMENT 'first second of the window',
    tenant LowCardinality(String) COMMENT 'empty when grouping has it not',
    endpoint LowCardinality(String) COMMENT 'empty when grouping has it not',
    model LowCardinality(String) COMMENT 'empty when grouping has it not',
    dims Map(LowCardinality(String), String) COMMENT 'the series: a value for each name in grouping',
    grouping LowCardinality(String) COMMENT 'names of the dimensions, e.g. tenant,endpoint,model',
    window_s UInt32 COMMENT 'width in seconds',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    count UInt64 COMMENT 'interactions',
    input_tokens UInt64 COMMENT 'tokens in',
    output_tokens UInt64 COMMENT 'tokens out',
    total_tokens UInt64 COMMENT 'tokens in and out',
    tokens_per_minute Float64 COMMENT 'total_tokens over the width of the window',
    tokens_per_interaction Nullable(Float64) COMMENT 'total_tokens over count; NULL without interactions',
    final Bool COMMENT 'nothing will be added any more',
    complete Bool COMMENT 'false when a bound or a silent source left something out'
)
AS SELECT
    window_start,
    tenant,
    endpoint,
    model,
    any(w.dims) AS dims,
    grouping,
    window_s,
    origin,
    sum(w.count) AS count,
    sum(w.input_tokens) AS input_tokens,
    sum(w.output_tokens) AS output_tokens,
    sum(w.input_tokens) + sum(w.output_tokens) AS total_tokens,
    (sum(w.input_tokens) + sum(w.output_tokens)) * 60 / window_s AS tokens_per_minute,
    if(sum(w.count) = 0, NULL, (sum(w.input_tokens) + sum(w.output_tokens)) / sum(w.count)) AS tokens_per_interaction,
    min(w.final) AS final,
    min(w.complete) AS complete
FROM metric_windows AS w FINAL
GROUP BY window_start, tenant, endpoint, model, series, grouping, window_s, origin
COMMENT 'Tokens by window and series.';

CREATE OR REPLACE VIEW v_error_rate
(
    window_start DateTime64(0, 'UTC') COMMENT 'first second of the window',
    tenant LowCardinality(String) COMMENT 'empty when grouping has it not',
    endpoint LowCardinality(String) COMMENT 'empty when grouping has it not',
    model LowCardinality(String) COMMENT 'empty when grouping has it not',
    dims Map(LowCardinality(String), String) COMMENT 'the series: a value for each name in grouping',
    grouping LowCardinality(String) COMMENT 'names of the dimensions, e.g. tenant,endpoint,model',
    window_s UInt32 COMMENT 'width in seconds',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    n UInt64 COMMENT 'interactions',
    errors UInt64 COMMENT 'of them with status error, timeout or rate_limited',
    errors_by_type Map(LowCardinality(String), UInt64) COMMENT 'errors by error_type, else by status',
    enough Bool COMMENT 'n is at least 20',
    rate Nullable(Float64) COMMENT 'errors over n, 0 to 1; NULL without interactions, like the next two',
    low Nullable(Float64) COMMENT 'lower end of the 95 % Wilson interval of rate',
    high Nullable(Float64) COMMENT 'upper end of the 95 % Wilson interval of rate',
    final Bool COMMENT 'nothing will be added any more',
    complete Bool COMMENT 'false when a bound or a silent source left something out'
)
AS WITH
    pow(1.959963984540054, 2) AS z2,
    (errors + z2 / 2) / (n + z2) AS middle,
    sqrt(z2 * (errors * (1 - errors / n) + z2 / 4)) / (n + z2) AS half
SELECT
    window_start,
    tenant,
    endpoint,
    model,
    dims,
    grouping,
    window_s,
    origin,
    n,
    errors,
    errors_by_type,
    (n >= 20)::Bool AS enough,
    if(n = 0, NULL, errors / n) AS rate,
    multiIf(n = 0, NULL, errors = 0, 0, middle - half) AS low,
    multiIf(n = 0, NULL, errors = n, 1, middle + half) AS high,
    final,
    complete
FROM
(
    SELECT
        window_start,
        tenant,
        endpoint,
        model,
        any(w.dims) AS dims,
        grouping,
        window_s,
        origin,
        sum(w.count) AS n,
        sum(w.errors) AS errors,
        sumMap(w.errors_by_type) AS errors_by_type,
        min(w.final) AS final,
        min(w.complete) AS complete
    FROM metric_windows AS w FINAL
    GROUP BY window_start, tenant, endpoint, model, series, grouping, window_s, origin
)
COMMENT 'Share of interactions that failed, by window and series.';

CREATE OR REPLACE VIEW v_alerts
(
    evaluated_at DateTime64(6, 'UTC') COMMENT 'when it was decided',
    rule LowCardinality(String) COMMENT 'name of the rule',
    state LowCardinality(String) COMMENT 'firing, resolved',
    severity LowCardinality(String) COMMENT 'info, warning, error, critical',
    tenant LowCardinality(String) COMMENT 'empty when grouping has it not',
    endpoint LowCardinality(String) COMMENT 'empty when grouping has it not',
    model LowCardinality(String) COMMENT 'empty when grouping has it not',
    dims Map(LowCardinality(String), String) COMMENT 'the series: a value for each name in grouping',
    grouping LowCardinality(String) COMMENT 'names of the dimensions',
    metric LowCardinality(String) COMMENT 'what is measured',
    agg LowCardinality(String) COMMENT 'how, e.g. p95; empty for none',
    op LowCardinality(String) COMMENT 'comparison: > >= < <=',
    threshold Float64 COMMENT 'in the unit of the metric',
    value Nullable(Float64) COMMENT 'the measure when it was decided; NULL when traffic has stopped',
    sample_count UInt64 COMMENT 'samples in the window',
    window_s UInt32 COMMENT 'width of the window in seconds',
    window_end DateTime64(6, 'UTC') COMMENT 'end of the window',
    starts_at DateTime64(6, 'UTC') COMMENT 'when it began to fire',
    ends_at Nullable(DateTime64(6, 'UTC')) COMMENT 'when it was resolved; NULL while it fires',
    delay_ms Float64 COMMENT 'from the newest event in the decision to the decision, milliseconds',
    alert_id String COMMENT 'stable for a rule and a series',
    transition UInt64 COMMENT 'number of the change of this alert',
    latest Bool COMMENT 'no later change of this alert is known: where state is firing, it fires now',
    trigger_event_id String COMMENT 'the event that tipped it, when known',
    labels Map(LowCardinality(String), String) COMMENT 'labels of the rule',
    annotations Map(LowCardinality(String), String) COMMENT 'texts of the rule',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>'
)
AS SELECT
    evaluated_at,
    rule,
    state,
    severity,
    dims['tenant'] AS tenant,
    dims['endpoint'] AS endpoint,
    dims['model'] AS model,
    dims,
    grouping,
    metric,
    agg,
    op,
    threshold,
    value,
    sample_count,
    window_s,
    window_end,
    starts_at,
    ends_at,
    (evaluated_at_us - trigger_event_at_us) / 1000 AS delay_ms,
    alert_id,
    transition,
    ((_epoch, transition) = max((_epoch, transition)) OVER (PARTITION BY alert_id))::Bool AS latest,
    trigger_event_id,
    labels,
    annotations,
    origin
FROM alerts FINAL
COMMENT 'Every change of every alert.';
