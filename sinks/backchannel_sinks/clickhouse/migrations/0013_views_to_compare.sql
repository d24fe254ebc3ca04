-- Views to compare and to follow: experiments, before and after a change, one trace. A difference is
-- shown with its interval, and whether there is enough to believe it.

CREATE OR REPLACE VIEW v_measures
(
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    ts DateTime64(6, 'UTC') COMMENT 'time of the turn, of scores that of the judgement, UTC',
    tenant LowCardinality(String) COMMENT 'tenant',
    experiment_id String COMMENT 'experiment',
    variant String COMMENT 'variant that the user saw',
    prompt_name String COMMENT 'prompt template',
    prompt_version String COMMENT 'its version',
    model String COMMENT 'model of the turn; of a call, the one that answered, else the one that was asked for',
    unit String COMMENT 'who got the answer: user, else session, else conversation, else the event itself',
    measure String COMMENT 'duration_ms, ttft_ms, tokens, cost_usd, success, fallback, cache_hit, and score:<name> and rating of judgements',
    value Float64 COMMENT 'the number; numbers that are not known have no row'
)
AS SELECT
    origin,
    ts,
    tenant,
    experiment_id,
    variant,
    prompt_name,
    prompt_version,
    model,
    coalesce(nullIf(m.user_id, ''), nullIf(m.session_id, ''), nullIf(m.conversation_id, ''), toString(m.event_id)) AS unit,
    number.1 AS measure,
    assumeNotNull(number.2) AS value
FROM
(
    SELECT
        t.origin AS origin, t.ts AS ts, t.tenant_id AS tenant, t.experiment_id AS experiment_id, t.variant AS variant, t.prompt_name AS prompt_name,
        t.prompt_version AS prompt_version, t.model AS model, t.user_id AS user_id, t.session_id AS session_id,
        t.conversation_id AS conversation_id, t.event_id AS event_id,
        [
            ('duration_ms', toNullable(t.duration_us / 1000)),
            ('ttft_ms', t.ttft_us / 1000),
            ('tokens', if(t.input_tokens + t.output_tokens = 0, NULL, toFloat64(t.input_tokens + t.output_tokens))),
            ('cost_usd', toFloat64(c.cost_usd)),
            ('success', toNullable(toFloat64(t.status NOT IN ('error', 'timeout', 'rate_limited')))),
            ('fallback', toNullable(toFloat64(t.fallback_used))),
            ('cache_hit', toFloat64(t.cache_hit))
        ] AS numbers
    FROM v_events AS t
    LEFT JOIN (SELECT event_id, cost_usd FROM v_cost WHERE event_type = 'interaction') AS c ON c.event_id = t.event_id
    WHERE t.event_type = 'interaction'
    UNION ALL
    SELECT
        origin, ts, tenant, experiment_id, variant, prompt_name, prompt_version, model, user_id, '', conversation_id, event_id,
        [if(event_type = 'evaluation', (concat('score:', name), score), (toString(name), value))]
    FROM v_judgements
    WHERE score IS NOT NULL AND (event_type = 'evaluation' OR name = 'rating')
) AS m
ARRAY JOIN numbers AS number
WHERE number.2 IS NOT NULL
COMMENT 'Every number of every turn, a row each: what experiments and comparisons are made of. Success, fallback and cache hit are 1 or 0; scores are from 0 to 1, 1 is best.';

CREATE OR REPLACE VIEW v_experiment_results
(
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    experiment_id String COMMENT 'experiment',
    measure String COMMENT 'what is compared: see v_measures',
    variant String COMMENT 'variant that the user saw',
    is_control Bool COMMENT 'the others are compared with this one',
    n UInt64 COMMENT 'answers',
    units UInt64 COMMENT 'different users, else sessions, else conversations',
    mean Float64 COMMENT 'mean of the measure',
    low Float64 COMMENT 'lower end of the 95 % interval of the mean',
    high Float64 COMMENT 'upper end of the 95 % interval of the mean',
    difference Nullable(Float64) COMMENT 'mean minus that of the control; NULL for the control, like the next four',
    difference_low Nullable(Float64) COMMENT 'lower end of the 95 % interval of the difference (Welch); answers of one user are taken as independent',
    difference_high Nullable(Float64) COMMENT 'upper end of the 95 % interval of the difference',
    lift Nullable(Float64) COMMENT 'difference over the mean of the control',
    differs Nullable(Bool) COMMENT 'the interval of the difference leaves 0 out',
    enough Bool COMMENT 'this variant and the control have at least 100 answers'
)
AS SELECT
    origin,
    experiment_id,
    measure,
    variant,
    is_control,
    n,
    units,
    mean,
    mean - 1.959963984540054 * sqrt(variance / n) AS low,
    mean + 1.959963984540054 * sqrt(variance / n) AS high,
    if(is_control, NULL, mean - control_mean) AS difference,
    difference - 1.959963984540054 * sqrt(variance / n + control_variance / control_n) AS difference_low,
    difference + 1.959963984540054 * sqrt(variance / n + control_variance / control_n) AS difference_high,
    difference / nullIf(control_mean, 0) AS lift,
    if(is_control, NULL, (difference_low > 0 OR difference_high < 0)::Bool) AS differs,
    (n >= 100 AND control_n >= 100)::Bool AS enough
FROM
(
    SELECT
        *,
        -- false sorts before true: the control's own row is the smallest of its experiment.
        (variant = argMin(variant, (variant != 'control', variant)) OVER experiment)::Bool AS is_control,
        argMin(mean, (variant != 'control', variant)) OVER experiment AS control_mean,
        argMin(variance, (variant != 'control', variant)) OVER experiment AS control_variance,
        argMin(n, (variant != 'control', variant)) OVER experiment AS control_n
    FROM
    (
        SELECT
            origin,
            experiment_id,
            measure,
            variant,
            count() AS n,
            uniqExact(unit) AS units,
            avg(value) AS mean,
            if(n < 2, 0, varSamp(value)) AS variance
        FROM v_measures
        WHERE experiment_id != ''
        GROUP BY origin, experiment_id, measure, variant
    )
    WINDOW experiment AS (PARTITION BY origin, experiment_id, measure)
)
COMMENT 'Each variant of each experiment against the control, measure by measure. The control is the variant named control, else the first by name.';

CREATE OR REPLACE VIEW v_experiment_split
(
    variant String COMMENT 'variant that the user saw',
    users UInt32 COMMENT 'users, else sessions, else conversations, that were shown the variant',
    expected Float64 COMMENT 'how many there should be by the weights',
    chi_square Float64 COMMENT 'Pearson''s, of the whole experiment',
    p_value Float64 COMMENT 'chance of a split at least as uneven; exact for two and three variants, else within 0.001 (Wilson-Hilferty)',
    broken Bool COMMENT 'p_value is below 0.001',
    enough Bool COMMENT 'at least 5 are expected in every variant',
    both_ways UInt32 COMMENT 'users who were shown more than one variant'
)
AS SELECT
    variant,
    users,
    all_users * weight / all_weights AS expected,
    sum(pow(users - all_users * weight / all_weights, 2) / (all_users * weight / all_weights)) OVER everything AS chi_square,
    multiIf(
        variants <= 1, 1.,
        variants = 2, erfc(sqrt(chi_square / 2)),
        variants = 3, exp(-chi_square / 2),
        erfc((cbrt(chi_square / (variants - 1)) - (1 - 2 / (9 * (variants - 1)))) / sqrt(2 / (9 * (variants - 1))) / sqrt(2)) / 2) AS p_value,
    (p_value < 0.001)::Bool AS broken,
    (min(all_users * weight / all_weights) OVER everything >= 5)::Bool AS enough,
    both_ways
FROM
(
    SELECT
        planned.1 AS variant,
        planned.2 AS weight,
        arrayCount(seen -> has(seen, planned.1), shown) AS users,
        sum(users) OVER () AS all_users,
        arraySum(mapValues({weights:Map(String, Float64)})) AS all_weights,
        length({weights:Map(String, Float64)}) AS variants,
        arrayCount(seen -> length(seen) > 1, shown) AS both_ways
    FROM
    (
        SELECT groupArray(seen) AS shown
        FROM
        (
            SELECT groupUniqArray(toString(variant)) AS seen
            FROM v_events
            WHERE event_type = 'exposure' AND origin = 'live' AND experiment_id = {experiment:String}
            GROUP BY coalesce(nullIf(user_id, ''), nullIf(session_id, ''), conversation_id)
        )
    )
    ARRAY JOIN arrayZip(mapKeys({weights:Map(String, Float64)}), mapValues({weights:Map(String, Float64)})) AS planned
)
WINDOW everything AS ()
COMMENT 'Were users split as planned? Sample ratio of the live exposures: SELECT * FROM v_experiment_split(experiment = ''tone'', weights = map(''control'', 1, ''warm'', 1)). A small p_value means that the split is broken and results can''t be believed.';

CREATE OR REPLACE VIEW v_before_after
(
    tenant LowCardinality(String) COMMENT 'tenant',
    measure String COMMENT 'what is compared: see v_measures',
    before_n UInt64 COMMENT 'answers before',
    after_n UInt64 COMMENT 'answers after',
    enough Bool COMMENT 'both sides have at least 100 answers',
    before_mean Nullable(Float64) COMMENT 'mean before; NULL without answers',
    after_mean Nullable(Float64) COMMENT 'mean after; NULL without answers',
    difference Nullable(Float64) COMMENT 'after_mean minus before_mean',
    half Nullable(Float64) COMMENT 'half of the width of the interval',
    difference_low Nullable(Float64) COMMENT 'lower end of the 95 % interval of the difference (Welch)',
    difference_high Nullable(Float64) COMMENT 'upper end of the 95 % interval of the difference',
    differs Bool COMMENT 'the interval leaves 0 out'
)
AS WITH (SELECT any(ts) FROM v_events WHERE event_type = 'marker' AND event_id = {marker:UUID}) AS at
SELECT
    tenant,
    measure,
    countIf(ts < at) AS before_n,
    countIf(ts >= at) AS after_n,
    (before_n >= 100 AND after_n >= 100)::Bool AS enough,
    if(before_n = 0, NULL, avgIf(value, ts < at)) AS before_mean,
    if(after_n = 0, NULL, avgIf(value, ts >= at)) AS after_mean,
    after_mean - before_mean AS difference,
    if(before_n < 2 OR after_n < 2, NULL, 1.959963984540054 * sqrt(varSampIf(value, ts < at) / before_n + varSampIf(value, ts >= at) / after_n)) AS half,
    difference - half AS difference_low,
    difference + half AS difference_high,
    (difference_low > 0 OR difference_high < 0)::Bool AS differs
FROM v_measures
WHERE origin = 'live' AND ts >= at - toIntervalHour({hours:UInt32}) AND ts < at + toIntervalHour({hours:UInt32})
GROUP BY tenant, measure
COMMENT 'What changed with a marker (a deploy, a new prompt, a new index): live answers of so many hours before it and after it: SELECT * FROM v_before_after(marker = ''<event_id>'', hours = 24). Markers: SELECT event_id, ts, kind, title FROM v_events WHERE event_type = ''marker''.';

CREATE OR REPLACE VIEW v_trace
(
    trace_id String COMMENT 'trace',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    tenant LowCardinality(String) COMMENT 'tenant',
    conversation_id String COMMENT 'conversation',
    ts DateTime64(6, 'UTC') COMMENT 'event time, UTC',
    start_ms Float64 COMMENT 'from the first event of the trace to this one, milliseconds',
    duration_ms Float64 COMMENT 'how long it took, milliseconds',
    event_type LowCardinality(String) COMMENT 'interaction, llm_call, retrieval, tool_call, component, evaluation, feedback, exposure, product, error, health, security, marker, erasure',
    span String COMMENT 'what it was: name of the component, tool or product event, endpoint of a turn, model of a call, else the event type',
    status LowCardinality(String) COMMENT 'how it ended: ok, error, timeout, cancelled, rate_limited, blocked; empty for types that have none',
    tokens UInt64 COMMENT 'tokens in and out',
    detail String COMMENT 'message of an error, else what a judge or user said, else the documents found',
    depth UInt8 COMMENT 'how many spans it is inside of; 8 at most',
    span_id String COMMENT 'span',
    parent_span_id String COMMENT 'span that this one is part of',
    event_id UUID COMMENT 'unique id of the event, a UUID (version 7 from our SDK)'
)
AS SELECT
    e.trace_id AS trace_id,
    e.origin AS origin,
    e.tenant_id AS tenant,
    e.conversation_id AS conversation_id,
    ts,
    dateDiff('microsecond', min(ts) OVER (PARTITION BY e.origin, e.trace_id), ts) / 1000 AS start_ms,
    duration_us / 1000 AS duration_ms,
    event_type,
    multiIf(
        event_type = 'interaction', coalesce(nullIf(e.endpoint, ''), 'turn'),
        event_type = 'llm_call', coalesce(nullIf(e.response_model, ''), nullIf(e.request_model, ''), 'llm_call'),
        event_type = 'tool_call', coalesce(nullIf(e.tool_name, ''), 'tool_call'),
        event_type = 'retrieval', coalesce(nullIf(e.data_source_id, ''), 'retrieval'),
        coalesce(nullIf(e.name, ''), nullIf(e.kind, ''), nullIf(e.exception_type, ''), toString(event_type))) AS span,
    status,
    input_tokens + output_tokens AS tokens,
    coalesce(nullIf(e.error_message, ''), nullIf(e.message, ''), nullIf(e.explanation, ''), nullIf(e.comment, ''), arrayStringConcat(e.documents.id, ', ')) AS detail,
    -- Parents are looked up within the trace, level by level.
    arrayFold(
        (reached, level) -> if(reached.2 = '' OR NOT mapContains(parents, reached.2), reached, (toUInt8(reached.1 + 1), parents[reached.2])),
        range(8), (toUInt8(0), toString(parent_span_id))).1 AS depth,
    span_id,
    parent_span_id,
    event_id
FROM v_events AS e
INNER JOIN
(
    SELECT origin, trace_id, mapFromArrays(groupArray(10000)(toString(span_id)), groupArray(10000)(toString(parent_span_id))) AS parents
    FROM (SELECT origin, trace_id, span_id, any(parent_span_id) AS parent_span_id FROM v_events WHERE trace_id != '' AND span_id != '' GROUP BY origin, trace_id, span_id)
    GROUP BY origin, trace_id
) AS p ON p.origin = e.origin AND p.trace_id = e.trace_id
WHERE e.trace_id != ''
COMMENT 'Everything that happened in a trace, to be read in order of start_ms: WHERE trace_id = ''…''.';
