-- Money. A price stands once, in the table prices; what an event costs is found here and nowhere else.
-- Everything is a whole number of picodollars (10^-12 US dollars), so sums are exact in any order.
-- A turn holds the tokens and the cost of its calls: choose one event_type, never add the two.

CREATE TABLE IF NOT EXISTS prices
(
    provider LowCardinality(String) COMMENT 'model provider as events name it, in small letters; empty for events that name none, * for any',
    model String COMMENT 'model as events name it, in small letters',
    service_tier LowCardinality(String) COMMENT 'the provider''s tier as events name it; empty for the usual one',
    valid_from Date COMMENT 'first day of the price, UTC; the newest one that has begun counts',
    from_s UInt32 COMMENT 'second of the UTC day from which it holds; 0 unless the price depends on the hour',
    above_input_tokens Int64 COMMENT 'the price is for calls with more tokens in than this; -1 for all. The highest one that fits counts, for all tokens of the call',
    input_picousd Nullable(UInt64) COMMENT 'a token in, picodollars; NULL when it has no price',
    cache_read_picousd Nullable(UInt64) COMMENT 'a token in that was read from a cache, picodollars; NULL when it costs what any token in does',
    cache_write_picousd Nullable(UInt64) COMMENT 'a token in that was written to a cache, picodollars; NULL when it costs what any token in does',
    input_audio_picousd Nullable(UInt64) COMMENT 'an audio token in, picodollars; NULL when it costs what any token in does',
    output_picousd Nullable(UInt64) COMMENT 'a token out, picodollars; NULL when it has no price',
    reasoning_picousd Nullable(UInt64) COMMENT 'a token of reasoning, picodollars; NULL when it costs what any token out does',
    output_audio_picousd Nullable(UInt64) COMMENT 'an audio token out, picodollars; NULL when it costs what any token out does',
    source LowCardinality(String) COMMENT 'price_table for the published prices, custom_table for your own, which win',
    price_version LowCardinality(String) COMMENT 'which version of the source',
    loaded_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') COMMENT 'when it was written; the newest counts',
    removed Bool COMMENT 'the price is taken back'
)
ENGINE = ReplacingMergeTree(loaded_at)
ORDER BY (provider, model, service_tier, source, valid_from, from_s, above_input_tokens)
COMMENT 'What a token costs, by model and day; read it with FINAL. Kept for ever.';

CREATE OR REPLACE FUNCTION bc_parts AS (a, a_rate, b, b_rate, c, c_rate) ->
    -- Tokens that have a price of their own, out of a whole that has another.
    a * isNotNull(a_rate) + b * isNotNull(b_rate) + c * isNotNull(c_rate);

CREATE OR REPLACE FUNCTION bc_side_picousd AS (whole, rate, a, a_rate, b, b_rate, c, c_rate) ->
    -- Tokens in, or tokens out. Without a branch and without a conversion: ClickHouse puts those off
    -- row by row, which costs more than all of the arithmetic.
    toUInt128(1) * a * ifNull(a_rate, 0) + toUInt128(1) * b * ifNull(b_rate, 0) + toUInt128(1) * c * ifNull(c_rate, 0)
        + toUInt128(1) * (whole - least(whole, bc_parts(a, a_rate, b, b_rate, c, c_rate))) * ifNull(rate, 0);

CREATE OR REPLACE VIEW price_spans
(
    is_own Bool COMMENT 'a price of your own',
    provider String COMMENT 'model provider in small letters; empty for events that name none, * for any',
    model String COMMENT 'model in small letters',
    service_tier String COMMENT 'the provider''s tier; empty for the usual one, and for every tier where the price is your own',
    first_day Date COMMENT 'first day, UTC',
    end_day Date COMMENT 'day after the last one, UTC',
    first_s UInt32 COMMENT 'first second of the UTC day',
    end_s UInt32 COMMENT 'second after the last one',
    above_tokens Int64 COMMENT 'for more tokens in than this',
    to_tokens Int64 COMMENT 'and for no more than this',
    input_picousd Nullable(UInt64) COMMENT 'a token in, picodollars; NULL when it has no price',
    cache_read_picousd Nullable(UInt64) COMMENT 'a token in that was read from a cache, picodollars; NULL when it costs what any token in does',
    cache_write_picousd Nullable(UInt64) COMMENT 'a token in that was written to a cache, picodollars; NULL when it costs what any token in does',
    input_audio_picousd Nullable(UInt64) COMMENT 'an audio token in, picodollars; NULL when it costs what any token in does',
    output_picousd Nullable(UInt64) COMMENT 'a token out, picodollars; NULL when it has no price',
    reasoning_picousd Nullable(UInt64) COMMENT 'a token of reasoning, picodollars; NULL when it costs what any token out does',
    output_audio_picousd Nullable(UInt64) COMMENT 'an audio token out, picodollars; NULL when it costs what any token out does'
)
AS SELECT
    (source = 'custom_table')::Bool AS is_own,
    provider,
    model,
    service_tier,
    valid_from AS first_day,
    ifNull(arrayFirstOrNull(each -> each > valid_from, days), toDate('2149-06-06')) AS end_day,
    from_s AS first_s,
    ifNull(arrayFirstOrNull(each -> each > from_s, seconds), 86400) AS end_s,
    above_input_tokens AS above_tokens,
    ifNull(arrayFirstOrNull(each -> each > above_input_tokens, steps), 9223372036854775807) AS to_tokens,
    input_picousd,
    cache_read_picousd,
    cache_write_picousd,
    input_audio_picousd,
    output_picousd,
    reasoning_picousd,
    output_audio_picousd
FROM
(
    SELECT
        *,
        arraySort(groupUniqArray(valid_from) OVER (PARTITION BY source, provider, model, service_tier)) AS days,
        arraySort(groupUniqArray(from_s) OVER (PARTITION BY source, provider, model, service_tier, valid_from)) AS seconds,
        arraySort(groupUniqArray(above_input_tokens) OVER (PARTITION BY source, provider, model, service_tier, valid_from, from_s)) AS steps
    FROM prices FINAL
    WHERE NOT removed
)
WHERE NOT is_own OR service_tier = ''
COMMENT 'What v_cost and v_whatif look a price up in: each price with the days, seconds and sizes that it alone is for. Of a provider, model and tier at most one row fits an event.';

CREATE OR REPLACE VIEW v_prices
(
    provider LowCardinality(String) COMMENT 'model provider; empty for events that name none, * for any',
    model String COMMENT 'model of the turn; of a call, the one that answered, else the one that was asked for',
    service_tier LowCardinality(String) COMMENT 'the provider''s tier; empty for the usual one',
    source LowCardinality(String) COMMENT 'price_table for the published prices, custom_table for your own',
    valid_from Date COMMENT 'first day of the price, UTC',
    valid_until Nullable(Date) COMMENT 'last day of the price, UTC; NULL while it holds',
    from_s UInt32 COMMENT 'second of the UTC day from which it holds; 0 unless the price depends on the hour',
    above_input_tokens Int64 COMMENT 'the price is for calls with more tokens in than this; -1 for all',
    input_usd_per_million Nullable(Decimal(38, 12)) COMMENT 'a million tokens in, US dollars; NULL without a price, like the rest',
    output_usd_per_million Nullable(Decimal(38, 12)) COMMENT 'a million tokens out, US dollars',
    cache_read_usd_per_million Nullable(Decimal(38, 12)) COMMENT 'a million tokens in that were read from a cache, US dollars',
    cache_write_usd_per_million Nullable(Decimal(38, 12)) COMMENT 'a million tokens in that were written to a cache, US dollars',
    reasoning_usd_per_million Nullable(Decimal(38, 12)) COMMENT 'a million tokens of reasoning, US dollars',
    price_version LowCardinality(String) COMMENT 'which version of the source'
)
AS SELECT
    provider,
    model,
    service_tier,
    source,
    valid_from,
    leadInFrame(toNullable(valid_from)) OVER (
        PARTITION BY provider, model, service_tier, source, from_s, above_input_tokens ORDER BY valid_from ROWS BETWEEN CURRENT ROW AND 1 FOLLOWING) - 1 AS valid_until,
    from_s,
    above_input_tokens,
    bc_usd(input_picousd * 1000000) AS input_usd_per_million,
    bc_usd(output_picousd * 1000000) AS output_usd_per_million,
    bc_usd(cache_read_picousd * 1000000) AS cache_read_usd_per_million,
    bc_usd(cache_write_picousd * 1000000) AS cache_write_usd_per_million,
    bc_usd(reasoning_picousd * 1000000) AS reasoning_usd_per_million,
    price_version
FROM prices FINAL
WHERE NOT removed
COMMENT 'Prices as people read them: US dollars a million tokens. Where a model has prices of your own, those count alone.';

-- The same rules as backchannel.prices.cost, in the same order: a property test compares them.
CREATE OR REPLACE VIEW v_cost
(
    event_id UUID COMMENT 'unique id of the event, a UUID (version 7 from our SDK)',
    ts DateTime64(6, 'UTC') COMMENT 'event time, UTC',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    tenant LowCardinality(String) COMMENT 'tenant',
    service LowCardinality(String) COMMENT 'the bot that sent it',
    environment LowCardinality(String) COMMENT 'e.g. production, staging',
    user_id String COMMENT 'user, or its keyed hash',
    session_id String COMMENT 'session',
    conversation_id String COMMENT 'conversation',
    event_type LowCardinality(String) COMMENT 'interaction, llm_call, retrieval, tool_call, component, evaluation, feedback, exposure, product, error, health, security, marker, erasure',
    endpoint LowCardinality(String) COMMENT 'route or feature of the bot',
    provider LowCardinality(String) COMMENT 'model provider',
    model String COMMENT 'model of the turn; of a call, the one that answered, else the one that was asked for',
    service_tier String COMMENT 'the provider''s tier',
    operation LowCardinality(String) COMMENT 'kind of call: chat, embeddings, …',
    intent String COMMENT 'what the user wanted',
    query_category String COMMENT 'kind of question',
    status LowCardinality(String) COMMENT 'how it ended: ok, error, timeout, cancelled, rate_limited, blocked; empty for types that have none',
    prompt_name LowCardinality(String) COMMENT 'prompt template',
    prompt_version String COMMENT 'its version',
    experiment_id LowCardinality(String) COMMENT 'experiment',
    variant LowCardinality(String) COMMENT 'variant that the user saw',
    sample_weight UInt32 COMMENT 'events that this row stands for: n when one in n was kept; multiply counts and sums by it',
    input_tokens UInt64 COMMENT 'tokens in, cached ones included; not weighted, like all of this view',
    output_tokens UInt64 COMMENT 'tokens out, reasoning included',
    cache_read_tokens UInt64 COMMENT 'tokens read from a cache, part of input_tokens',
    cache_write_tokens UInt64 COMMENT 'tokens written to a cache, part of input_tokens',
    reasoning_tokens UInt64 COMMENT 'tokens of reasoning, part of output_tokens',
    input_audio_tokens UInt64 COMMENT 'audio tokens, part of input_tokens',
    output_audio_tokens UInt64 COMMENT 'audio tokens, part of output_tokens',
    cost_picousd Nullable(UInt128) COMMENT '10^-12 US dollars; NULL when not known',
    cost_usd Nullable(Decimal(38, 12)) COMMENT 'the same in US dollars, exact',
    cost_status String COMMENT 'priced, unpriced, invalid_usage (parts are more than their whole), not_applicable',
    cost_source String COMMENT 'reported, price_table, custom_table; empty when not known',
    table_picousd Nullable(UInt128) COMMENT 'what the table prices says, whatever the event says: sum it to price history anew; NULL when it says nothing',
    table_status String COMMENT 'priced, unpriced, invalid_usage: what the table prices says'
)
AS SELECT
    event_id,
    ts,
    origin,
    tenant,
    service,
    environment,
    user_id,
    session_id,
    conversation_id,
    event_type,
    endpoint,
    provider,
    model,
    service_tier,
    operation,
    intent,
    query_category,
    status,
    prompt_name,
    prompt_version,
    experiment_id,
    variant,
    sample_weight,
    input_tokens,
    output_tokens,
    cache_read_tokens,
    cache_write_tokens,
    reasoning_tokens,
    input_audio_tokens,
    output_audio_tokens,
    multiIf(own_picousd IS NOT NULL, own_picousd, own_status IN ('not_applicable', 'invalid_usage'), NULL, table_picousd) AS cost_picousd,
    bc_usd(cost_picousd) AS cost_usd,
    multiIf(own_picousd IS NOT NULL, 'priced', own_status IN ('not_applicable', 'invalid_usage'), own_status, table_status) AS cost_status,
    multiIf(own_picousd IS NOT NULL, own_source, cost_picousd IS NULL, '', is_own, 'custom_table', 'price_table') AS cost_source,
    if(table_status = 'priced', both_picousd, NULL) AS table_picousd,
    multiIf(
        coalesce(in_rate, read_rate, written_rate, audio_in_rate, out_rate, reasoning_rate, audio_out_rate) IS NULL, 'unpriced',
        cache_read_tokens + cache_write_tokens > input_tokens OR input_audio_tokens > input_tokens
            OR reasoning_tokens > output_tokens OR output_audio_tokens > output_tokens, 'invalid_usage',
        (in_rate IS NULL AND parts_in < input_tokens) OR (out_rate IS NULL AND parts_out < output_tokens), 'unpriced',
        parts_in > input_tokens OR parts_out > output_tokens OR both_picousd > 9223372036854775807, 'invalid_usage',
        'priced') AS table_status
FROM
(
    SELECT
        e.*,
        p.is_own AS is_own,
        p.input_picousd AS in_rate,
        p.cache_read_picousd AS read_rate,
        p.cache_write_picousd AS written_rate,
        p.input_audio_picousd AS audio_in_rate,
        p.output_picousd AS out_rate,
        p.reasoning_picousd AS reasoning_rate,
        p.output_audio_picousd AS audio_out_rate,
        bc_parts(cache_read_tokens, read_rate, cache_write_tokens, written_rate, input_audio_tokens, audio_in_rate) AS parts_in,
        bc_parts(reasoning_tokens, reasoning_rate, output_audio_tokens, audio_out_rate, 0, NULL) AS parts_out,
        bc_side_picousd(input_tokens, in_rate, cache_read_tokens, read_rate, cache_write_tokens, written_rate, input_audio_tokens, audio_in_rate)
            + bc_side_picousd(output_tokens, out_rate, reasoning_tokens, reasoning_rate, output_audio_tokens, audio_out_rate, 0, NULL) AS both_picousd
    FROM
    (
        SELECT
            e.* EXCEPT (tenant_id, cost_picousd, input_cost_picousd, output_cost_picousd, cost_status, cost_source, model, provider),
            e.tenant_id AS tenant,
            e.provider AS provider,
            if(e.event_type = 'llm_call', coalesce(nullIf(e.response_model, ''), e.request_model), e.model) AS model,
            toUInt128(e.cost_picousd) AS own_picousd,
            e.cost_status AS own_status,
            e.cost_source AS own_source,
            lower(model)::String AS price_model,
            lower(e.provider)::String AS named_provider,
            -- Your own prices come first: of this provider, then of any.
            (named_provider, price_model) IN (SELECT provider, model FROM price_spans WHERE is_own) AS own_of_provider,
            ('*', price_model) IN (SELECT provider, model FROM price_spans WHERE is_own) AS own_of_any,
            own_of_provider OR own_of_any AS own,
            if(own_of_any AND NOT own_of_provider, '*', named_provider) AS price_provider,
            if(own, '', e.service_tier) AS price_tier,
            toDate(e.ts) AS day,
            toUInt32(toUnixTimestamp(e.ts) % 86400) AS second
        FROM v_events AS e
        WHERE e.event_type IN ('interaction', 'llm_call')
            AND (e.input_tokens > 0 OR e.output_tokens > 0 OR e.cost_picousd IS NOT NULL)
    ) AS e
    LEFT JOIN price_spans AS p ON p.is_own = e.own AND p.provider = e.price_provider AND p.model = e.price_model AND p.service_tier = e.price_tier
        AND e.day >= p.first_day AND e.day < p.end_day AND e.second >= p.first_s AND e.second < p.end_s
        AND e.input_tokens > p.above_tokens AND e.input_tokens <= p.to_tokens
)
COMMENT 'What every turn and every call costs: as the event says, else by the table prices, else not known. A row an event that has tokens or a cost.';

CREATE OR REPLACE VIEW token_log
(
    user_id String COMMENT 'user, or its keyed hash',
    tokens UInt64 COMMENT 'tokens in and out',
    endpoint LowCardinality(String) COMMENT 'route or feature of the bot',
    timestamp DateTime64(6, 'UTC') COMMENT 'event time, UTC'
)
AS SELECT user_id, input_tokens + output_tokens AS tokens, endpoint, ts AS timestamp
FROM v_events
WHERE event_type = 'interaction' AND input_tokens + output_tokens > 0 AND origin = 'live'
COMMENT 'Who used how many tokens where and when: turns that have tokens.';

CREATE OR REPLACE VIEW v_cost_by_model
(
    day Date COMMENT 'the day, UTC',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    event_type LowCardinality(String) COMMENT 'interaction or llm_call: a turn holds the cost of its calls, so choose one',
    tenant LowCardinality(String) COMMENT 'tenant',
    provider LowCardinality(String) COMMENT 'model provider',
    model String COMMENT 'model of the turn; of a call, the one that answered, else the one that was asked for',
    calls UInt64 COMMENT 'turns or calls, weighted by sample_weight',
    unpriced UInt64 COMMENT 'events with tokens and without a known price, weighted by sample_weight: their cost is not in the sums',
    input_tokens UInt64 COMMENT 'tokens in, cached ones included, weighted by sample_weight',
    output_tokens UInt64 COMMENT 'tokens out, reasoning included, weighted by sample_weight',
    cost_picousd UInt128 COMMENT 'total cost, 10^-12 US dollars; NULL when not known, never 0 for an unknown price',
    cost_usd Decimal(38, 12) COMMENT 'US dollars, exact to 10^-12; what has no price is not in it',
    usd_per_call Nullable(Float64) COMMENT 'cost_usd over the calls that have a price; NULL when none has',
    share Nullable(Float64) COMMENT 'cost_usd over that of the same day, tenant and event_type; NULL when nothing has a price'
)
AS SELECT
    toDate(ts) AS day,
    origin,
    event_type,
    tenant,
    provider,
    model,
    sum(sample_weight) AS calls,
    sumIf(sample_weight, cost_status IN ('unpriced', 'invalid_usage')) AS unpriced,
    sum(c.input_tokens * sample_weight) AS input_tokens,
    sum(c.output_tokens * sample_weight) AS output_tokens,
    sum(ifNull(cost_picousd, 0) * sample_weight) AS cost_picousd,
    bc_usd(cost_picousd) AS cost_usd,
    toFloat64(cost_picousd) / 1e12 / nullIf(sumIf(sample_weight, c.cost_picousd IS NOT NULL), 0) AS usd_per_call,
    toFloat64(cost_picousd) / nullIf(toFloat64(sum(cost_picousd) OVER (PARTITION BY day, origin, event_type, tenant)), 0) AS share
FROM v_cost AS c
GROUP BY day, origin, event_type, tenant, provider, model
COMMENT 'Cost by day and model: total, calls, cost of one, tokens, and share of the day. Choose one event_type.';

CREATE OR REPLACE VIEW v_billing
(
    month Date COMMENT 'first day of the month, UTC',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    event_type LowCardinality(String) COMMENT 'interaction or llm_call: a turn holds the cost of its calls, so choose one',
    tenant LowCardinality(String) COMMENT 'tenant',
    user_id String COMMENT 'user, or its keyed hash',
    events UInt64 COMMENT 'turns or calls, weighted by sample_weight',
    input_tokens UInt64 COMMENT 'tokens in, cached ones included, weighted by sample_weight',
    output_tokens UInt64 COMMENT 'tokens out, reasoning included, weighted by sample_weight',
    cost_picousd UInt128 COMMENT 'total cost, 10^-12 US dollars; NULL when not known, never 0 for an unknown price',
    cost_usd Decimal(38, 12) COMMENT 'US dollars, exact to 10^-12; what has no price is not in it',
    unpriced UInt64 COMMENT 'events with tokens and without a known price, weighted by sample_weight: their cost is not in the sums',
    complete Bool COMMENT 'every event has a price'
)
AS SELECT
    toStartOfMonth(ts) AS month,
    origin,
    event_type,
    tenant,
    user_id,
    sum(sample_weight) AS events,
    sum(c.input_tokens * sample_weight) AS input_tokens,
    sum(c.output_tokens * sample_weight) AS output_tokens,
    sum(ifNull(cost_picousd, 0) * sample_weight) AS cost_picousd,
    bc_usd(cost_picousd) AS cost_usd,
    sumIf(sample_weight, cost_status IN ('unpriced', 'invalid_usage')) AS unpriced,
    (unpriced = 0)::Bool AS complete
FROM v_cost AS c
GROUP BY month, origin, event_type, tenant, user_id
COMMENT 'The monthly statement of each user of each tenant. Choose one event_type.';

CREATE OR REPLACE VIEW v_burn
(
    hour DateTime('UTC') COMMENT 'first second of the hour, UTC',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    event_type LowCardinality(String) COMMENT 'interaction or llm_call: a turn holds the cost of its calls, so choose one',
    tenant LowCardinality(String) COMMENT 'tenant',
    tokens UInt64 COMMENT 'tokens in and out, weighted by sample_weight',
    cost_picousd UInt128 COMMENT 'total cost, 10^-12 US dollars; NULL when not known, never 0 for an unknown price',
    cost_usd Decimal(38, 12) COMMENT 'US dollars, exact to 10^-12; what has no price is not in it',
    unpriced UInt64 COMMENT 'events with tokens and without a known price, weighted by sample_weight: their cost is not in the sums',
    day_tokens UInt64 COMMENT 'tokens of the day up to the end of this hour',
    day_cost_usd Decimal(38, 12) COMMENT 'cost of the day up to the end of this hour, US dollars',
    forecast_tokens Float64 COMMENT 'tokens of the whole day at the pace of the day so far',
    forecast_usd Float64 COMMENT 'cost of the whole day at the pace of the day so far, US dollars'
)
AS SELECT
    hour,
    origin,
    event_type,
    tenant,
    tokens,
    cost_picousd,
    bc_usd(cost_picousd) AS cost_usd,
    unpriced,
    sum(tokens) OVER so_far AS day_tokens,
    bc_usd(sum(cost_picousd) OVER so_far) AS day_cost_usd,
    day_tokens / passed AS forecast_tokens,
    toFloat64(sum(cost_picousd) OVER so_far) / 1e12 / passed AS forecast_usd
FROM
(
    SELECT
        toStartOfHour(ts) AS hour,
        origin,
        event_type,
        tenant,
        sum((input_tokens + output_tokens) * sample_weight) AS tokens,
        sum(ifNull(c.cost_picousd, 0) * sample_weight) AS cost_picousd,
        sumIf(sample_weight, cost_status IN ('unpriced', 'invalid_usage')) AS unpriced,
        -- Share of the day that has passed at the end of the hour; the current hour ends now.
        least(dateDiff('second', toStartOfDay(hour), least(hour + INTERVAL 1 HOUR, greatest(now('UTC'), hour + INTERVAL 1 MINUTE))), 86400) / 86400 AS passed
    FROM v_cost AS c
    GROUP BY hour, origin, event_type, tenant
)
WINDOW so_far AS (PARTITION BY toDate(hour), origin, event_type, tenant ORDER BY hour)
COMMENT 'Tokens and money by hour, the day so far, and where the day ends at this pace. Choose one event_type.';

CREATE OR REPLACE VIEW v_expensive
(
    event_type LowCardinality(String) COMMENT 'interaction or llm_call',
    rank UInt64 COMMENT '1 is the most expensive of its event_type',
    event_id UUID COMMENT 'unique id of the event, a UUID (version 7 from our SDK)',
    ts DateTime64(6, 'UTC') COMMENT 'event time, UTC',
    tenant LowCardinality(String) COMMENT 'tenant',
    user_id String COMMENT 'user, or its keyed hash',
    conversation_id String COMMENT 'conversation',
    endpoint LowCardinality(String) COMMENT 'route or feature of the bot',
    provider LowCardinality(String) COMMENT 'model provider',
    model String COMMENT 'model of the turn; of a call, the one that answered, else the one that was asked for',
    input_tokens UInt64 COMMENT 'tokens in, cached ones included, weighted by sample_weight',
    output_tokens UInt64 COMMENT 'tokens out, reasoning included, weighted by sample_weight',
    cost_usd Nullable(Decimal(38, 12)) COMMENT 'US dollars, exact to 10^-12; what has no price is not in it',
    share Nullable(Float64) COMMENT 'its cost over that of all of its event_type in the seven days'
)
AS SELECT
    event_type,
    row_number() OVER (PARTITION BY event_type ORDER BY c.cost_picousd * sample_weight DESC, event_id) AS rank,
    event_id,
    ts,
    tenant,
    user_id,
    conversation_id,
    endpoint,
    provider,
    model,
    c.input_tokens AS input_tokens,
    c.output_tokens AS output_tokens,
    cost_usd,
    toFloat64(c.cost_picousd * sample_weight) / toFloat64(sum(c.cost_picousd * sample_weight) OVER (PARTITION BY event_type)) AS share
FROM v_cost AS c
WHERE origin = 'live' AND ts >= now() - INTERVAL 7 DAY AND c.cost_picousd IS NOT NULL
QUALIFY rank <= 100
COMMENT 'The hundred most expensive turns and calls of the last seven days of each event_type, with their share of all of it.';

CREATE OR REPLACE VIEW v_top
(
    rank UInt64 COMMENT '1 is the first',
    key String COMMENT 'value of the dimension; empty where turns have none',
    value Float64 COMMENT 'the metric, weighted by sample_weight',
    share Nullable(Float64) COMMENT 'value over the sum of all; NULL when that is 0',
    turns UInt64 COMMENT 'turns, weighted by sample_weight'
)
AS SELECT
    row_number() OVER (ORDER BY value DESC, key) AS rank,
    multiIf(
        {dim:String} = 'tenant', tenant_id,
        {dim:String} = 'user', user_id,
        {dim:String} = 'model', e.model,
        {dim:String} = 'endpoint', e.endpoint,
        {dim:String} = 'intent', e.intent,
        {dim:String} = 'category', e.query_category,
        {dim:String} = 'conversation', conversation_id,
        {dim:String} = 'service', e.service,
        throwIf({dim:String} NOT IN ('tenant', 'user', 'model', 'endpoint', 'intent', 'category', 'conversation', 'service'),
            'dim must be one of tenant, user, model, endpoint, intent, category, conversation, service')::String) AS key,
    multiIf(
        {metric:String} = 'cost', toFloat64(sum(ifNull(c.cost_picousd, 0) * sample_weight)) / 1e12,
        {metric:String} = 'tokens', toFloat64(sum((e.input_tokens + e.output_tokens) * sample_weight)),
        {metric:String} = 'turns', toFloat64(sum(sample_weight)),
        {metric:String} = 'errors', toFloat64(sumIf(sample_weight, e.status IN ('error', 'timeout', 'rate_limited'))),
        {metric:String} = 'seconds', sum(e.duration_us * sample_weight) / 1e6,
        throwIf({metric:String} NOT IN ('cost', 'tokens', 'turns', 'errors', 'seconds'), 'metric must be one of cost, tokens, turns, errors, seconds')::Float64) AS value,
    value / nullIf(sum(value) OVER (), 0) AS share,
    sum(sample_weight) AS turns
FROM v_events AS e
LEFT JOIN (SELECT event_id, cost_picousd FROM v_cost WHERE {metric:String} = 'cost' AND event_type = 'interaction' AND origin = 'live' AND ts >= {since:DateTime64(6, 'UTC')}) AS c ON c.event_id = e.event_id
WHERE event_type = 'interaction' AND origin = 'live' AND ts >= {since:DateTime64(6, 'UTC')}
GROUP BY key
COMMENT 'Who or what is first: SELECT * FROM v_top(dim = ''tenant'', metric = ''cost'', since = ''2026-11-01''). dim: tenant, user, model, endpoint, intent, category, conversation, service. metric: cost (US dollars), tokens, turns, errors, seconds. Of live turns.';

CREATE OR REPLACE VIEW v_whatif
(
    event_id UUID COMMENT 'unique id of the event, a UUID (version 7 from our SDK)',
    ts DateTime64(6, 'UTC') COMMENT 'event time, UTC',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    tenant LowCardinality(String) COMMENT 'tenant',
    user_id String COMMENT 'user, or its keyed hash',
    conversation_id String COMMENT 'conversation',
    event_type LowCardinality(String) COMMENT 'interaction, llm_call, retrieval, tool_call, component, evaluation, feedback, exposure, product, error, health, security, marker, erasure',
    endpoint LowCardinality(String) COMMENT 'route or feature of the bot',
    provider LowCardinality(String) COMMENT 'model provider',
    model String COMMENT 'model of the turn; of a call, the one that answered, else the one that was asked for',
    intent String COMMENT 'what the user wanted',
    query_category String COMMENT 'kind of question',
    prompt_name LowCardinality(String) COMMENT 'prompt template',
    prompt_version String COMMENT 'its version',
    sample_weight UInt32 COMMENT 'events that this row stands for: n when one in n was kept; multiply counts and sums by it',
    input_tokens UInt64 COMMENT 'tokens in as they were, not weighted',
    output_tokens UInt64 COMMENT 'tokens out, not weighted',
    comparable Bool COMMENT 'both are known',
    now_picousd Nullable(UInt128) COMMENT 'cost by the table prices as it is, weighted by sample_weight, picodollars; NULL when either model has no price',
    then_picousd Nullable(Int128) COMMENT 'cost by the table prices as it would be, weighted by sample_weight, picodollars; NULL when either model has no price',
    now_usd Nullable(Decimal(38, 12)) COMMENT 'now_picousd in US dollars',
    then_usd Nullable(Decimal(38, 12)) COMMENT 'then_picousd in US dollars'
)
AS SELECT
    event_id,
    ts,
    origin,
    tenant,
    user_id,
    conversation_id,
    event_type,
    endpoint,
    provider,
    model,
    intent,
    query_category,
    prompt_name,
    prompt_version,
    sample_weight,
    c.input_tokens AS input_tokens,
    c.output_tokens AS output_tokens,
    comparable,
    if(comparable, table_picousd * sample_weight, NULL) AS now_picousd,
    if(comparable, intDiv(other_picousd * sample_weight * (1000 - {cache_hit_permille:UInt16}), 1000), NULL) AS then_picousd,
    bc_usd(now_picousd) AS now_usd,
    bc_usd(then_picousd) AS then_usd
FROM
(
    SELECT
        c.*,
        p.input_picousd AS in_rate,
        p.cache_read_picousd AS read_rate,
        p.cache_write_picousd AS written_rate,
        p.input_audio_picousd AS audio_in_rate,
        p.output_picousd AS out_rate,
        p.reasoning_picousd AS reasoning_rate,
        p.output_audio_picousd AS audio_out_rate,
        bc_parts(tokens_read, read_rate, tokens_written, written_rate, audio_in, audio_in_rate) AS parts_in,
        bc_parts(reasoning_tokens, reasoning_rate, output_audio_tokens, audio_out_rate, 0, NULL) AS parts_out,
        (table_picousd IS NOT NULL AND parts_in <= tokens_in AND parts_out <= output_tokens
            AND (in_rate IS NOT NULL OR parts_in = tokens_in) AND (out_rate IS NOT NULL OR parts_out = output_tokens))::Bool AS comparable,
        bc_side_picousd(tokens_in, in_rate, tokens_read, read_rate, tokens_written, written_rate, audio_in, audio_in_rate)
            + bc_side_picousd(output_tokens, out_rate, reasoning_tokens, reasoning_rate, output_audio_tokens, audio_out_rate, 0, NULL) AS other_picousd
    FROM
    (
        SELECT
            c.*,
            toUInt64(greatest(toInt64(c.input_tokens) - {fewer_input_tokens:UInt32}, 0)) AS tokens_in,
            toInt64(tokens_in) AS size,
            -- Cached tokens and audio go last: what is cut from a prompt is what changes in it.
            least(c.cache_read_tokens, tokens_in) AS tokens_read,
            least(c.cache_write_tokens, tokens_in - tokens_read) AS tokens_written,
            least(c.input_audio_tokens, tokens_in - tokens_read - tokens_written) AS audio_in,
            lower(if({to_model:String} = '', c.model, {to_model:String}))::String AS price_model,
            lower(if({to_model:String} = '', c.provider, {to_provider:String}))::String AS named_provider,
            (named_provider, price_model) IN (SELECT provider, model FROM price_spans WHERE is_own) AS own_of_provider,
            ('*', price_model) IN (SELECT provider, model FROM price_spans WHERE is_own) AS own_of_any,
            own_of_provider OR own_of_any AS own,
            if(own_of_any AND NOT own_of_provider, '*', named_provider) AS price_provider,
            -- The other model may not have this tier.
            if((false, price_provider, price_model, c.service_tier) IN (SELECT is_own, provider, model, service_tier FROM price_spans) AND NOT own, c.service_tier, '') AS price_tier,
            toDate(c.ts) AS day,
            toUInt32(toUnixTimestamp(c.ts) % 86400) AS second
        FROM v_cost AS c
    ) AS c
    LEFT JOIN price_spans AS p ON p.is_own = c.own AND p.provider = c.price_provider AND p.model = c.price_model AND p.service_tier = c.price_tier
        AND c.day >= p.first_day AND c.day < p.end_day AND c.second >= p.first_s AND c.second < p.end_s
        AND c.size > p.above_tokens AND c.size <= p.to_tokens
) AS c
COMMENT 'What turns and calls would cost on another model, with fewer tokens in, or with a share answered from a cache. to_model '''' keeps the model of each. SELECT sum(now_usd), sum(then_usd) FROM v_whatif(to_provider = ''openai'', to_model = ''gpt-4o-mini'', fewer_input_tokens = 0, cache_hit_permille = 0) WHERE event_type = ''interaction'' AND model = ''gpt-4''.';
