-- How fast the day's tokens and money go, from the windows: what v_burn asks the events themselves.
CREATE OR REPLACE VIEW v_burn_windows
(
    day Date COMMENT 'UTC',
    tenant LowCardinality(String) COMMENT 'empty when grouping has it not',
    endpoint LowCardinality(String) COMMENT 'empty when grouping has it not',
    model LowCardinality(String) COMMENT 'empty when grouping has it not',
    dims Map(LowCardinality(String), String) COMMENT 'the series: a value for each name in grouping',
    grouping LowCardinality(String) COMMENT 'names of the dimensions, e.g. tenant,endpoint,model',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    as_of DateTime('UTC') COMMENT 'now, or the end of a day that is over',
    tokens UInt64 COMMENT 'tokens in and out of the day so far',
    cost_picousd UInt128 COMMENT 'cost of the day so far, 10^-12 US dollars, as the bots told it',
    cost_usd Decimal(38, 12) COMMENT 'the same in US dollars, exact; what has no price is not in it',
    unpriced UInt64 COMMENT 'turns with tokens and without a known price',
    tokens_per_hour Float64 COMMENT 'pace of the last hour before as_of, or of the day where that is younger',
    usd_per_hour Float64 COMMENT 'the same of cost, US dollars',
    forecast_tokens Float64 COMMENT 'tokens of the whole day, if it goes on at that pace',
    forecast_usd Float64 COMMENT 'cost of the whole day, if it goes on at that pace, US dollars',
    complete Bool COMMENT 'false when a bound or a silent source left something out'
)
AS SELECT
    day,
    tenant,
    endpoint,
    model,
    dims,
    grouping,
    origin,
    as_of,
    tokens,
    cost_picousd,
    bc_usd(cost_picousd) AS cost_usd,
    unpriced,
    last_tokens * 3600 / pace_s AS tokens_per_hour,
    toFloat64(last_cost) / 1e12 * 3600 / pace_s AS usd_per_hour,
    tokens + tokens_per_hour / 3600 * left_s AS forecast_tokens,
    toFloat64(cost_picousd) / 1e12 + usd_per_hour / 3600 * left_s AS forecast_usd,
    complete
FROM
(
    SELECT
        toDate(window_start) AS day,
        tenant,
        endpoint,
        model,
        any(w.dims) AS dims,
        grouping,
        origin,
        least(now('UTC'), toDateTime(day + 1, 'UTC')) AS as_of,
        greatest(dateDiff('second', toDateTime(day, 'UTC'), as_of), 60) AS passed_s,
        least(passed_s, 3600) AS pace_s,
        86400 - least(passed_s, 86400) AS left_s,
        sum(w.input_tokens + w.output_tokens) AS tokens,
        sum(w.cost_picousd) AS cost_picousd,
        sum(w.unpriced) AS unpriced,
        sumIf(w.input_tokens + w.output_tokens, window_start > as_of - pace_s - 60) AS last_tokens,
        sumIf(w.cost_picousd, window_start > as_of - pace_s - 60) AS last_cost,
        min(w.complete) AS complete
    FROM metric_windows AS w FINAL
    WHERE window_s = 60
    GROUP BY day, tenant, endpoint, model, series, grouping, origin
)
COMMENT 'Tokens and money of the day by series, how fast they go, and where the day ends at the pace of the last hour: from the windows of a minute, as fresh as those are. v_burn asks the events, by hour.';
