-- What dashboards ask again and again, from the windows: they answer in milliseconds however many
-- events there were. The views of the same names without _windows ask the events themselves.

CREATE OR REPLACE VIEW v_cost_windows
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
    priced UInt64 COMMENT 'of them with a cost that was known when they were counted',
    unpriced UInt64 COMMENT 'of them with tokens and without a known price: their cost is not in the sums. v_cost prices them from the table prices',
    input_tokens UInt64 COMMENT 'tokens in',
    output_tokens UInt64 COMMENT 'tokens out',
    cost_picousd UInt128 COMMENT 'cost, 10^-12 US dollars',
    cost_usd Decimal(38, 12) COMMENT 'the same in US dollars, exact',
    usd_per_turn Nullable(Float64) COMMENT 'cost_usd over priced; NULL when nothing has a price',
    usd_per_hour Float64 COMMENT 'cost_usd at the pace of this window',
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
    sum(w.priced) AS priced,
    sum(w.unpriced) AS unpriced,
    sum(w.input_tokens) AS input_tokens,
    sum(w.output_tokens) AS output_tokens,
    sum(w.cost_picousd) AS cost_picousd,
    bc_usd(cost_picousd) AS cost_usd,
    toFloat64(cost_picousd) / 1e12 / nullIf(priced, 0) AS usd_per_turn,
    toFloat64(cost_picousd) / 1e12 * 3600 / window_s AS usd_per_hour,
    min(w.final) AS final,
    min(w.complete) AS complete
FROM metric_windows AS w FINAL
GROUP BY window_start, tenant, endpoint, model, series, grouping, window_s, origin
COMMENT 'Cost of turns by window and series, as the bots told it.';

CREATE OR REPLACE VIEW v_ttft_windows
(
    window_start DateTime64(0, 'UTC') COMMENT 'first second of the window',
    tenant LowCardinality(String) COMMENT 'empty when grouping has it not',
    endpoint LowCardinality(String) COMMENT 'empty when grouping has it not',
    model LowCardinality(String) COMMENT 'empty when grouping has it not',
    dims Map(LowCardinality(String), String) COMMENT 'the series: a value for each name in grouping',
    grouping LowCardinality(String) COMMENT 'names of the dimensions, e.g. tenant,endpoint,model',
    window_s UInt32 COMMENT 'width in seconds',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    event_type LowCardinality(String) COMMENT 'interaction, llm_call',
    n UInt64 COMMENT 'first tokens measured, weighted by sample_weight',
    enough Bool COMMENT 'n is at least 100: even above p99 there is one',
    mean_ms Float64 COMMENT 'mean, milliseconds',
    p50_ms Float64 COMMENT 'median, milliseconds, within 1.1 %',
    p90_ms Float64 COMMENT '90th percentile, milliseconds, within 1.1 %',
    p95_ms Float64 COMMENT '95th percentile, milliseconds, within 1.1 %',
    p99_ms Float64 COMMENT '99th percentile, milliseconds, within 1.1 %',
    max_ms Float64 COMMENT 'the longest, milliseconds',
    buckets Map(Int16, UInt64) COMMENT 'the histogram: add up with sumMap for percentiles over any rows',
    final Bool COMMENT 'nothing will be added any more',
    complete Bool COMMENT 'false when a bound or a silent source left something out'
)
AS SELECT
    window_start,
    tenant,
    endpoint,
    model,
    dims,
    grouping,
    window_s,
    origin,
    event_type,
    n,
    (n >= 100)::Bool AS enough,
    sum_us / n / 1000 AS mean_ms,
    least(greatest(bc_quantile(buckets, 500), min_us), max_us) / 1000 AS p50_ms,
    least(greatest(bc_quantile(buckets, 900), min_us), max_us) / 1000 AS p90_ms,
    least(greatest(bc_quantile(buckets, 950), min_us), max_us) / 1000 AS p95_ms,
    least(greatest(bc_quantile(buckets, 990), min_us), max_us) / 1000 AS p99_ms,
    max_us / 1000 AS max_ms,
    buckets,
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
        event_type,
        sum(tupleElement(ttft, 'count')) AS n,
        sum(tupleElement(ttft, 'sum')) AS sum_us,
        min(tupleElement(ttft, 'min')) AS min_us,
        max(tupleElement(ttft, 'max')) AS max_us,
        sumMap(tupleElement(ttft, 'buckets')) AS buckets,
        min(w.final) AS final,
        min(w.complete) AS complete
    FROM metric_windows AS w FINAL
    ARRAY JOIN ['interaction', 'llm_call'] AS event_type, [w.ttft, w.llm_ttft] AS ttft
    WHERE tupleElement(ttft, 'count') > 0
    GROUP BY window_start, tenant, endpoint, model, series, grouping, window_s, origin, event_type
)
COMMENT 'Time to the first token by window and series, of turns (interaction) and of calls to a model (llm_call).';

CREATE OR REPLACE VIEW v_component_windows
(
    window_start DateTime64(0, 'UTC') COMMENT 'first second of the window',
    tenant LowCardinality(String) COMMENT 'empty when grouping has it not',
    endpoint LowCardinality(String) COMMENT 'empty when grouping has it not',
    model LowCardinality(String) COMMENT 'empty when grouping has it not',
    dims Map(LowCardinality(String), String) COMMENT 'the series: a value for each name in grouping',
    grouping LowCardinality(String) COMMENT 'names of the dimensions, e.g. tenant,endpoint,model',
    window_s UInt32 COMMENT 'width in seconds',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    component String COMMENT 'name of the component; unaccounted is the rest of turns that have components',
    n UInt64 COMMENT 'turns with this component, weighted by sample_weight',
    enough Bool COMMENT 'n is at least 100: even above p99 there is one',
    total_ms Float64 COMMENT 'time spent in it, milliseconds',
    share Float64 COMMENT 'total_ms over the time of all turns of the window; above 1 in sum where components overlap',
    mean_ms Float64 COMMENT 'mean, milliseconds',
    p50_ms Float64 COMMENT 'median, milliseconds, within 1.1 %',
    p95_ms Float64 COMMENT '95th percentile, milliseconds, within 1.1 %',
    p99_ms Float64 COMMENT '99th percentile, milliseconds, within 1.1 %',
    buckets Map(Int16, UInt64) COMMENT 'the histogram: add up with sumMap for percentiles over any rows',
    final Bool COMMENT 'nothing will be added any more',
    complete Bool COMMENT 'false when a bound or a silent source left something out'
)
AS SELECT
    window_start,
    tenant,
    endpoint,
    model,
    dims,
    grouping,
    window_s,
    origin,
    component,
    n,
    (n >= 100)::Bool AS enough,
    sum_us / 1000 AS total_ms,
    sum_us / greatest(turns_us, 1) AS share,
    sum_us / n / 1000 AS mean_ms,
    least(greatest(bc_quantile(buckets, 500), min_us), max_us) / 1000 AS p50_ms,
    least(greatest(bc_quantile(buckets, 950), min_us), max_us) / 1000 AS p95_ms,
    least(greatest(bc_quantile(buckets, 990), min_us), max_us) / 1000 AS p99_ms,
    buckets,
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
        if(name = '__unaccounted__', 'unaccounted', name) AS component,
        sum(tupleElement(part, 'count')) AS n,
        sum(tupleElement(part, 'sum')) AS sum_us,
        min(tupleElement(part, 'min')) AS min_us,
        max(tupleElement(part, 'max')) AS max_us,
        sumMap(tupleElement(part, 'buckets')) AS buckets,
        sum(w.latency_sum_us) AS turns_us,
        min(w.final) AS final,
        min(w.complete) AS complete
    FROM metric_windows AS w FINAL
    ARRAY JOIN mapKeys(w.components) AS name, mapValues(w.components) AS part
    WHERE tupleElement(part, 'count') > 0
    GROUP BY window_start, tenant, endpoint, model, series, grouping, window_s, origin, component
)
COMMENT 'Where the time of a turn goes, by window and series.';
