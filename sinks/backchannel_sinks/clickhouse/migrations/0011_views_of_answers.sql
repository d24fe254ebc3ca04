-- Views of what people got: conversations, what judges and users say of the answers, what was found
-- for them. Feedback may come days later and knows only the answer it is about: it is joined by
-- target_event_id, so nothing has to be repeated with it. Judgements that failed have no score.

CREATE OR REPLACE VIEW v_judgements
(
    event_id UUID COMMENT 'unique id of the event, a UUID (version 7 from our SDK)',
    ts DateTime64(6, 'UTC') COMMENT 'event time, UTC',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    tenant LowCardinality(String) COMMENT 'tenant',
    event_type LowCardinality(String) COMMENT 'evaluation, feedback',
    name String COMMENT 'name of the score; of feedback its kind: thumb, rating, task_completed, comment, escalated',
    value Nullable(Float64) COMMENT 'as it was given; NULL when the judgement failed',
    score Nullable(Float64) COMMENT 'on a scale from 0 to 1 where 1 is always best: from scale_min (0 if not given) to scale_max (1 if not given; of ratings 5), turned round where lower is better. NULL when there is no value',
    failed Bool COMMENT 'the judge gave no answer: it is counted and never scored',
    source LowCardinality(String) COMMENT 'who judged: llm_judge, heuristic, human, user',
    evaluator String COMMENT 'name of the judge',
    label String COMMENT 'score as a word',
    sample_weight UInt32 COMMENT 'events that this row stands for: n when one in n was kept; multiply counts and sums by it',
    dataset_id String COMMENT 'dataset',
    dataset_item_id String COMMENT 'item of the dataset',
    target_event_id String COMMENT 'event that is judged',
    target_found Bool COMMENT 'the answer is among the events',
    conversation_id String COMMENT 'conversation, else that of the answer',
    user_id String COMMENT 'who judged, else who got the answer',
    endpoint LowCardinality(String) COMMENT 'route of the answer',
    model String COMMENT 'model of the answer',
    intent String COMMENT 'what the user wanted',
    query_category String COMMENT 'kind of question',
    prompt_name String COMMENT 'prompt template',
    prompt_version String COMMENT 'its version',
    experiment_id String COMMENT 'experiment',
    variant String COMMENT 'variant that the user saw'
)
AS SELECT
    j.event_id AS event_id,
    j.ts AS ts,
    j.origin AS origin,
    j.tenant_id AS tenant,
    j.event_type AS event_type,
    if(j.event_type = 'feedback', j.kind, j.name) AS name,
    j.value / 1e6 AS value,
    if(failed OR isNull(share), NULL, greatest(0, least(1, if(j.higher_is_better, share, 1 - share)))) AS score,
    (j.status = 'error')::Bool AS failed,
    j.source AS source,
    j.evaluator AS evaluator,
    j.label AS label,
    j.sample_weight AS sample_weight,
    j.dataset_id AS dataset_id,
    j.dataset_item_id AS dataset_item_id,
    j.target_event_id AS target_event_id,
    (t.event_id IS NOT NULL)::Bool AS target_found,
    if(j.conversation_id != '', j.conversation_id, ifNull(t.conversation_id, '')) AS conversation_id,
    if(j.user_id != '', j.user_id, ifNull(t.user_id, '')) AS user_id,
    ifNull(t.endpoint, '') AS endpoint,
    ifNull(t.model, '') AS model,
    ifNull(t.intent, '') AS intent,
    ifNull(t.query_category, '') AS query_category,
    if(j.prompt_name != '', j.prompt_name, ifNull(t.prompt_name, '')) AS prompt_name,
    if(j.prompt_name != '', j.prompt_version, ifNull(t.prompt_version, '')) AS prompt_version,
    if(j.experiment_id != '', j.experiment_id, ifNull(t.experiment_id, '')) AS experiment_id,
    if(j.experiment_id != '', j.variant, ifNull(t.variant, '')) AS variant
FROM
(
    SELECT
        *,
        ifNull(scale_min, if(event_type = 'feedback' AND kind = 'rating', 1000000, 0)) AS least_value,
        ifNull(scale_max, if(event_type = 'feedback' AND kind = 'rating', 5000000, 1000000)) AS most_value,
        (value - least_value) / nullIf(most_value - least_value, 0) AS share
    FROM v_events
    WHERE event_type IN ('evaluation', 'feedback')
) AS j
LEFT JOIN
(
    SELECT
        toNullable(e.event_id) AS event_id, e.conversation_id AS conversation_id, e.user_id AS user_id, e.endpoint AS endpoint,
        if(event_type = 'llm_call', coalesce(nullIf(response_model, ''), request_model), e.model) AS model, e.intent AS intent,
        e.query_category AS query_category, e.prompt_name AS prompt_name, e.prompt_version AS prompt_version,
        e.experiment_id AS experiment_id, e.variant AS variant
    FROM v_events AS e
    -- Only what somebody judged is read and held.
    WHERE e.event_id IN (SELECT toUUIDOrZero(target_event_id) FROM events WHERE event_type IN ('evaluation', 'feedback'))
) AS t ON t.event_id = toUUIDOrZero(j.target_event_id)
COMMENT 'Every evaluation and every feedback, with what is known of the answer it is about.';

CREATE OR REPLACE VIEW v_quality
(
    day Date COMMENT 'the day, UTC',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    tenant LowCardinality(String) COMMENT 'tenant',
    model String COMMENT 'model of the turn; of a call, the one that answered, else the one that was asked for',
    prompt_name String COMMENT 'prompt template',
    prompt_version String COMMENT 'its version',
    name String COMMENT 'name of the score; overall is all of them together',
    n UInt64 COMMENT 'scores',
    enough Bool COMMENT 'n is at least 10',
    mean Nullable(Float64) COMMENT 'mean score, 0 to 1, 1 is best; NULL without scores, like the next four',
    low Nullable(Float64) COMMENT 'lower end of the 95 % interval of the mean',
    high Nullable(Float64) COMMENT 'upper end of the 95 % interval of the mean',
    p10 Nullable(Float64) COMMENT 'a tenth of the answers scores at most this',
    p50 Nullable(Float64) COMMENT 'half of the answers scores at most this',
    failed UInt64 COMMENT 'judgements that gave no score'
)
AS SELECT
    toDate(ts) AS day,
    origin,
    tenant,
    model,
    prompt_name,
    prompt_version,
    arrayJoin([j.name, 'overall']) AS name,
    countIf(score IS NOT NULL AND NOT j.failed) AS n,
    (n >= 10)::Bool AS enough,
    if(n = 0, NULL, avgIf(score, NOT j.failed)) AS mean,
    if(n = 0, NULL, greatest(0, mean - 1.959963984540054 * stddevPopIf(score, NOT j.failed) / sqrt(n))) AS low,
    if(n = 0, NULL, least(1, mean + 1.959963984540054 * stddevPopIf(score, NOT j.failed) / sqrt(n))) AS high,
    if(n = 0, NULL, quantileExactIf(0.1)(score, NOT j.failed)) AS p10,
    if(n = 0, NULL, quantileExactIf(0.5)(score, NOT j.failed)) AS p50,
    countIf(j.failed) AS failed
FROM v_judgements AS j
WHERE event_type = 'evaluation'
GROUP BY day, origin, tenant, model, prompt_name, prompt_version, name
COMMENT 'Scores of the answers by day: each by name, and overall as the mean of all, where lower-is-better scores are turned round.';

CREATE OR REPLACE VIEW v_satisfaction
(
    day Date COMMENT 'the day, UTC',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    tenant LowCardinality(String) COMMENT 'tenant',
    endpoint LowCardinality(String) COMMENT 'route or feature of the bot',
    model String COMMENT 'model of the turn; of a call, the one that answered, else the one that was asked for',
    ratings UInt64 COMMENT 'ratings given',
    thumbs UInt64 COMMENT 'thumbs given',
    enough Bool COMMENT 'at least 10 ratings or thumbs',
    mean_rating Nullable(Float64) COMMENT 'mean rating as given, e.g. 1 to 5; NULL without ratings, like the next two',
    low Nullable(Float64) COMMENT 'lower end of the 95 % interval of the mean',
    high Nullable(Float64) COMMENT 'upper end of the 95 % interval of the mean',
    thumbs_up UInt64 COMMENT 'of them up',
    up_rate Nullable(Float64) COMMENT 'thumbs_up over thumbs; NULL without thumbs, like the next two',
    up_low Nullable(Float64) COMMENT 'lower end of the 95 % Wilson interval of up_rate',
    up_high Nullable(Float64) COMMENT 'upper end of the 95 % Wilson interval of up_rate',
    users UInt64 COMMENT 'users who said something'
)
AS SELECT
    toDate(ts) AS day,
    origin,
    tenant,
    endpoint,
    model,
    countIf(name = 'rating' AND value IS NOT NULL) AS ratings,
    countIf(name = 'thumb' AND value IS NOT NULL) AS thumbs,
    (ratings + thumbs >= 10)::Bool AS enough,
    if(ratings = 0, NULL, avgIf(value, name = 'rating')) AS mean_rating,
    mean_rating - 1.959963984540054 * if(ratings = 0, NULL, stddevPopIf(value, name = 'rating')) / sqrt(ratings) AS low,
    mean_rating + 1.959963984540054 * if(ratings = 0, NULL, stddevPopIf(value, name = 'rating')) / sqrt(ratings) AS high,
    countIf(name = 'thumb' AND value > 0) AS thumbs_up,
    if(thumbs = 0, NULL, thumbs_up / thumbs) AS up_rate,
    bc_wilson_low(countIf(name = 'thumb' AND value > 0), countIf(name = 'thumb' AND value IS NOT NULL)) AS up_low,
    bc_wilson_high(countIf(name = 'thumb' AND value > 0), countIf(name = 'thumb' AND value IS NOT NULL)) AS up_high,
    uniqExactIf(user_id, user_id != '') AS users
FROM v_judgements
WHERE event_type = 'feedback' AND name IN ('rating', 'thumb')
GROUP BY day, origin, tenant, endpoint, model
COMMENT 'What users say, by day: ratings and thumbs.';

CREATE OR REPLACE VIEW v_task_completion
(
    day Date COMMENT 'the day, UTC',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    tenant LowCardinality(String) COMMENT 'tenant',
    intent String COMMENT 'what the user wanted',
    n UInt64 COMMENT 'answers to the question whether the task is done',
    enough Bool COMMENT 'n is at least 20',
    completed UInt64 COMMENT 'of them yes',
    rate Float64 COMMENT 'completed over n',
    low Nullable(Float64) COMMENT 'lower end of the 95 % Wilson interval of rate',
    high Nullable(Float64) COMMENT 'upper end of the 95 % Wilson interval of rate'
)
AS SELECT
    toDate(ts) AS day,
    origin,
    tenant,
    intent,
    count() AS n,
    (n >= 20)::Bool AS enough,
    countIf(value > 0) AS completed,
    completed / n AS rate,
    bc_wilson_low(countIf(value > 0), count()) AS low,
    bc_wilson_high(countIf(value > 0), count()) AS high
FROM v_judgements
WHERE event_type = 'feedback' AND name = 'task_completed' AND value IS NOT NULL
GROUP BY day, origin, tenant, intent
COMMENT 'How often users got done what they came for, by day and intent.';

CREATE OR REPLACE VIEW v_conversations
(
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    tenant LowCardinality(String) COMMENT 'tenant',
    conversation_id String COMMENT 'conversation',
    started_at DateTime64(6, 'UTC') COMMENT 'when it began: its first event, UTC',
    last_at DateTime64(6, 'UTC') COMMENT 'when it ended: its last turn, UTC',
    duration_s Float64 COMMENT 'from the first turn to the end of the last, seconds',
    turns UInt64 COMMENT 'turns',
    users UInt64 COMMENT 'different users in it',
    tokens UInt64 COMMENT 'tokens in and out',
    cost_usd Decimal(38, 12) COMMENT 'US dollars; turns without a known price are not in it',
    unpriced UInt64 COMMENT 'turns with tokens and without a known price',
    errors UInt64 COMMENT 'turns that ended in error, timeout or rate_limited',
    fallbacks UInt64 COMMENT 'turns that a fallback answered',
    slowest_ms Float64 COMMENT 'the longest turn, milliseconds',
    last_status String COMMENT 'how the last turn ended',
    last_intent String COMMENT 'what the user wanted last',
    outcome String COMMENT 'escalated: a person was asked for. completed: the user said so. errored: the last turn failed. abandoned: the last turn was cancelled or blocked, or took longer than 10 s. answered: none of these'
)
AS SELECT
    t.origin AS origin,
    t.tenant AS tenant,
    t.conversation_id AS conversation_id,
    t.started_at AS started_at,
    t.last_at AS last_at,
    t.duration_s AS duration_s,
    t.turns AS turns,
    t.users AS users,
    t.tokens AS tokens,
    bc_usd(ifNull(c.cost_picousd, 0)) AS cost_usd,
    ifNull(c.unpriced, 0) AS unpriced,
    t.errors AS errors,
    t.fallbacks AS fallbacks,
    t.slowest_ms AS slowest_ms,
    t.last_status AS last_status,
    t.last_intent AS last_intent,
    multiIf(
        f.escalated, 'escalated',
        f.completed, 'completed',
        t.last_status IN ('error', 'timeout', 'rate_limited'), 'errored',
        t.last_status IN ('cancelled', 'blocked') OR t.last_us > 10000000, 'abandoned',
        'answered') AS outcome
FROM
(
    SELECT
        e.origin AS origin,
        tenant_id AS tenant,
        e.conversation_id AS conversation_id,
        min(ts) AS started_at,
        max(ts) AS last_at,
        dateDiff('millisecond', started_at, max(ts + toIntervalMicrosecond(duration_us))) / 1000 AS duration_s,
        count() AS turns,
        uniqExactIf(user_id, user_id != '') AS users,
        sum(input_tokens + output_tokens) AS tokens,
        countIf(status IN ('error', 'timeout', 'rate_limited')) AS errors,
        countIf(fallback_used) AS fallbacks,
        max(duration_us) / 1000 AS slowest_ms,
        argMax(status, (ts, turn)) AS last_status,
        argMax(duration_us, (ts, turn)) AS last_us,
        argMax(intent, (ts, turn)) AS last_intent
    FROM v_events AS e
    WHERE event_type = 'interaction' AND e.conversation_id != ''
    GROUP BY origin, tenant, conversation_id
) AS t
LEFT JOIN
(
    SELECT origin, tenant, conversation_id, sum(v.cost_picousd) AS cost_picousd, countIf(cost_status IN ('unpriced', 'invalid_usage')) AS unpriced
    FROM v_cost AS v
    WHERE event_type = 'interaction' AND conversation_id != ''
    GROUP BY origin, tenant, conversation_id
) AS c ON c.origin = t.origin AND c.tenant = t.tenant AND c.conversation_id = t.conversation_id
LEFT JOIN
(
    SELECT origin, tenant, conversation_id, max(name = 'escalated') AS escalated, max(name = 'task_completed' AND ifNull(value, 0) > 0) AS completed
    FROM v_judgements
    WHERE event_type = 'feedback'
    GROUP BY origin, tenant, conversation_id
) AS f ON f.origin = t.origin AND f.tenant = t.tenant AND f.conversation_id = t.conversation_id
COMMENT 'Conversations: how long, how much, how they ended.';

CREATE OR REPLACE VIEW v_outlier_conversations
(
    tenant LowCardinality(String) COMMENT 'tenant',
    conversation_id String COMMENT 'conversation',
    started_at DateTime64(6, 'UTC') COMMENT 'when it began: its first event, UTC',
    turns UInt64 COMMENT 'turns',
    duration_s Float64 COMMENT 'from the first turn to the end of the last, seconds',
    cost_usd Decimal(38, 12) COMMENT 'US dollars, exact to 10^-12; what has no price is not in it',
    outcome String COMMENT 'how it ended: see v_conversations',
    n UInt64 COMMENT 'conversations of the tenant that it is compared with',
    enough Bool COMMENT 'n is at least 20',
    cost_p85_usd Decimal(38, 12) COMMENT '85 % of the tenant''s conversations cost at most this, US dollars',
    duration_p90_s Float64 COMMENT '90 % of the tenant''s conversations took at most this, seconds',
    is_costly Bool COMMENT 'it cost more',
    is_slow Bool COMMENT 'it took longer'
)
AS SELECT
    tenant,
    conversation_id,
    started_at,
    turns,
    duration_s,
    cost_usd,
    outcome,
    count() OVER by_tenant AS n,
    (n >= 20)::Bool AS enough,
    quantileExact(0.85)(c.cost_usd) OVER by_tenant AS cost_p85_usd,
    quantileExact(0.9)(c.duration_s) OVER by_tenant AS duration_p90_s,
    (cost_usd > cost_p85_usd)::Bool AS is_costly,
    (duration_s > duration_p90_s)::Bool AS is_slow
FROM v_conversations AS c
WHERE origin = 'live' AND started_at >= now() - INTERVAL 30 DAY
WINDOW by_tenant AS (PARTITION BY tenant)
QUALIFY is_costly OR is_slow
COMMENT 'Conversations of the last 30 days that cost more than 85 % or took longer than 90 % of those of their tenant.';

CREATE OR REPLACE VIEW v_failure_points
(
    day Date COMMENT 'the day, UTC',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    tenant LowCardinality(String) COMMENT 'tenant',
    part String COMMENT 'turn, or the part of it: name of the component or tool, retrieval, llm_call',
    error_type String COMMENT 'class of the error, else the status',
    intent String COMMENT 'what the user wanted',
    failures UInt64 COMMENT 'failures, weighted by sample_weight',
    conversations UInt64 COMMENT 'conversations that met it',
    users UInt64 COMMENT 'users who met it',
    example_event_id UUID COMMENT 'event_id of the last one'
)
AS SELECT
    toDate(e.ts) AS day,
    e.origin AS origin,
    e.tenant_id AS tenant,
    multiIf(e.event_type = 'interaction', 'turn', e.event_type = 'component', e.name, e.event_type = 'tool_call', e.tool_name, e.event_type) AS part,
    coalesce(nullIf(e.error_type, ''), e.status) AS error_type,
    if(e.event_type = 'interaction', e.intent, t.intent) AS intent,
    sum(e.sample_weight) AS failures,
    uniqExactIf(e.conversation_id, e.conversation_id != '') AS conversations,
    uniqExactIf(e.user_id, e.user_id != '') AS users,
    argMax(e.event_id, e.ts) AS example_event_id
FROM v_events AS e
LEFT JOIN
(
    SELECT origin, tenant_id, trace_id, any(intent) AS intent
    FROM v_events
    WHERE event_type = 'interaction' AND trace_id != '' AND trace_id IN (
        SELECT trace_id FROM events
        WHERE event_type IN ('llm_call', 'retrieval', 'tool_call', 'component') AND status IN ('error', 'timeout', 'rate_limited'))
    GROUP BY origin, tenant_id, trace_id
) AS t ON t.origin = e.origin AND t.tenant_id = e.tenant_id AND t.trace_id = e.trace_id
WHERE e.event_type IN ('interaction', 'llm_call', 'retrieval', 'tool_call', 'component') AND e.status IN ('error', 'timeout', 'rate_limited')
GROUP BY day, origin, tenant, part, error_type, intent
COMMENT 'Where it breaks, by day: which part fails with what, while users want what.';

CREATE OR REPLACE VIEW v_patterns
(
    day Date COMMENT 'the day, UTC',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    tenant LowCardinality(String) COMMENT 'tenant',
    conversations UInt64 COMMENT 'conversations that began on the day',
    enough Bool COMMENT 'at least 20 conversations',
    success_rate Float64 COMMENT 'share that was answered or completed',
    abandoned_rate Float64 COMMENT 'share that was abandoned',
    errored_rate Float64 COMMENT 'share whose last turn failed',
    escalated_rate Float64 COMMENT 'share where a person was asked for',
    single_turn_rate Float64 COMMENT 'share with one turn only',
    mean_turns Float64 COMMENT 'mean turns',
    p50_turns UInt64 COMMENT 'median of turns',
    mean_duration_s Float64 COMMENT 'mean duration, seconds',
    mean_tokens Float64 COMMENT 'mean tokens',
    mean_cost_usd Float64 COMMENT 'mean cost, US dollars; turns without a known price count as nothing'
)
AS SELECT
    toDate(started_at) AS day,
    origin,
    tenant,
    count() AS conversations,
    (conversations >= 20)::Bool AS enough,
    countIf(outcome IN ('answered', 'completed')) / conversations AS success_rate,
    countIf(outcome = 'abandoned') / conversations AS abandoned_rate,
    countIf(outcome = 'errored') / conversations AS errored_rate,
    countIf(outcome = 'escalated') / conversations AS escalated_rate,
    countIf(turns = 1) / conversations AS single_turn_rate,
    avg(turns) AS mean_turns,
    quantileExact(0.5)(turns) AS p50_turns,
    avg(duration_s) AS mean_duration_s,
    avg(tokens) AS mean_tokens,
    avg(toFloat64(cost_usd)) AS mean_cost_usd
FROM v_conversations
GROUP BY day, origin, tenant
COMMENT 'How conversations go, by day: how many, how long, how they end, what they cost.';

CREATE OR REPLACE VIEW v_retrieval
(
    day Date COMMENT 'the day, UTC',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    tenant LowCardinality(String) COMMENT 'tenant',
    data_source_id String COMMENT 'index or store that was searched',
    index_version String COMMENT 'its version',
    embedding_model String COMMENT 'model of the embeddings',
    count UInt64 COMMENT 'searches, weighted by sample_weight',
    n UInt64 COMMENT 'searches',
    enough Bool COMMENT 'n is at least 100',
    failed UInt64 COMMENT 'searches that failed',
    empty_rate Nullable(Float64) COMMENT 'share of the searches that did not fail and found nothing; NULL when all failed',
    mean_documents Float64 COMMENT 'mean documents found',
    top_score_p50 Nullable(Float64) COMMENT 'median of the best score of a search; NULL when no search has scores, like the next',
    top_score_p10 Nullable(Float64) COMMENT 'a tenth of the searches has no better score than this',
    p50_ms Float64 COMMENT 'median duration, milliseconds',
    p95_ms Float64 COMMENT '95th percentile, milliseconds',
    embed_p50_ms Nullable(Float64) COMMENT 'median time to embed the query, milliseconds; NULL when not measured',
    search_p50_ms Nullable(Float64) COMMENT 'median time to search, milliseconds; NULL when not measured',
    cache_hit_rate Nullable(Float64) COMMENT 'share answered from a cache, of those that say; NULL when none does'
)
AS SELECT
    toDate(ts) AS day,
    origin,
    tenant_id AS tenant,
    data_source_id,
    index_version,
    embedding_model,
    sum(sample_weight) AS count,
    count() AS n,
    (n >= 100)::Bool AS enough,
    sumIf(sample_weight, NOT went_well) AS failed,
    sumIf(sample_weight, went_well AND empty(documents)) / nullIf(sumIf(sample_weight, went_well), 0) AS empty_rate,
    avg(length(documents)) AS mean_documents,
    quantileExactIf(0.5)(top_score, top_score IS NOT NULL) / 1e6 AS top_score_p50,
    quantileExactIf(0.1)(top_score, top_score IS NOT NULL) / 1e6 AS top_score_p10,
    quantileExactWeighted(0.5)(duration_us, sample_weight) / 1000 AS p50_ms,
    quantileExactWeighted(0.95)(duration_us, sample_weight) / 1000 AS p95_ms,
    quantileExactIf(0.5)(embed_us, embed_us IS NOT NULL) / 1000 AS embed_p50_ms,
    quantileExactIf(0.5)(search_us, search_us IS NOT NULL) / 1000 AS search_p50_ms,
    sumIf(sample_weight, cache_hit = true) / nullIf(sumIf(sample_weight, cache_hit IS NOT NULL), 0) AS cache_hit_rate
FROM
(
    SELECT *, status IN ('ok', '') AS went_well, if(empty(documents.score), NULL, arrayReduce('max', documents.score)) AS top_score
    FROM v_events
    WHERE event_type = 'retrieval'
)
GROUP BY day, origin, tenant, data_source_id, index_version, embedding_model
COMMENT 'What is found, by day and index: top scores, empty answers, time.';

CREATE OR REPLACE VIEW v_retrieval_drift
(
    tenant LowCardinality(String) COMMENT 'tenant',
    data_source_id String COMMENT 'index or store that was searched',
    index_versions Array(String) COMMENT 'its versions in the period',
    reference_n UInt64 COMMENT 'searches with a score in the reference',
    n UInt64 COMMENT 'searches with a score in the period',
    enough Bool COMMENT 'both have at least 100',
    reference_median Float64 COMMENT 'median best score of the reference',
    median Float64 COMMENT 'median best score of the period',
    psi Float64 COMMENT 'population stability index over the deciles of the reference: below 0.1 none, above 0.25 a large change',
    ks Float64 COMMENT 'largest distance between the two cumulative distributions (Kolmogorov-Smirnov), 0 to 1',
    ks_critical Float64 COMMENT 'ks above this happens by chance in 5 % of the cases',
    drifted Bool COMMENT 'enough, and ks is above ks_critical'
)
AS WITH
    scores AS
    (
        SELECT
            tenant_id AS tenant,
            data_source_id,
            index_version,
            (ts >= {since:DateTime64(6, 'UTC')}) AS is_new,
            assumeNotNull(arrayReduce('max', documents.score)) / 1e6 AS score
        FROM v_events
        WHERE event_type = 'retrieval' AND origin = 'live'
            AND ts >= {reference_since:DateTime64(6, 'UTC')} AND ts < {until:DateTime64(6, 'UTC')}
            AND arrayExists(each -> each IS NOT NULL, documents.score)
    ),
    deciles AS
    (
        SELECT tenant, data_source_id, quantilesExactWeighted(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)(score, 1) AS bounds
        FROM scores
        WHERE NOT is_new
        GROUP BY tenant, data_source_id
    ),
    binned AS
    (
        SELECT tenant, data_source_id, sum((share_new - share_old) * log(share_new / share_old)) AS psi
        FROM
        (
            SELECT
                tenant,
                data_source_id,
                -- Half a search more in every bin: an empty one would make the index infinite.
                (new_in_bin + 0.5) / (sum(new_in_bin) OVER by_index + 5) AS share_new,
                (old_in_bin + 0.5) / (sum(old_in_bin) OVER by_index + 5) AS share_old
            FROM
            (
                SELECT s.tenant AS tenant, s.data_source_id AS data_source_id, bin,
                    countIf(s.is_new AND arrayCount(bound -> bound < s.score, d.bounds) = bin) AS new_in_bin,
                    countIf(NOT s.is_new AND arrayCount(bound -> bound < s.score, d.bounds) = bin) AS old_in_bin
                FROM scores AS s
                INNER JOIN deciles AS d ON d.tenant = s.tenant AND d.data_source_id = s.data_source_id
                ARRAY JOIN range(10) AS bin
                GROUP BY tenant, data_source_id, bin
            )
            WINDOW by_index AS (PARTITION BY tenant, data_source_id)
        )
        GROUP BY tenant, data_source_id
    ),
    compared AS
    (
        SELECT tenant, data_source_id, max(abs(new_below / new_all - old_below / old_all)) AS ks
        FROM
        (
            SELECT
                tenant,
                data_source_id,
                sum(new_here) OVER upwards AS new_below,
                sum(old_here) OVER upwards AS old_below,
                sum(new_here) OVER by_index AS new_all,
                sum(old_here) OVER by_index AS old_all
            FROM
            (
                SELECT tenant, data_source_id, score, countIf(is_new) AS new_here, countIf(NOT is_new) AS old_here
                FROM scores
                GROUP BY tenant, data_source_id, score
            )
            WINDOW
                by_index AS (PARTITION BY tenant, data_source_id),
                upwards AS (PARTITION BY tenant, data_source_id ORDER BY score)
        )
        WHERE new_all > 0 AND old_all > 0
        GROUP BY tenant, data_source_id
    )
SELECT
    s.tenant AS tenant,
    s.data_source_id AS data_source_id,
    groupUniqArrayIf(16)(s.index_version, s.is_new) AS index_versions,
    countIf(NOT s.is_new) AS reference_n,
    countIf(s.is_new) AS n,
    (reference_n >= 100 AND n >= 100)::Bool AS enough,
    quantileExactIf(0.5)(s.score, NOT s.is_new) AS reference_median,
    quantileExactIf(0.5)(s.score, s.is_new) AS median,
    any(b.psi) AS psi,
    any(c.ks) AS ks,
    1.3580986 * sqrt((n + reference_n) / (n * reference_n)) AS ks_critical,
    (enough AND ks > ks_critical)::Bool AS drifted
FROM scores AS s
INNER JOIN binned AS b ON b.tenant = s.tenant AND b.data_source_id = s.data_source_id
INNER JOIN compared AS c ON c.tenant = s.tenant AND c.data_source_id = s.data_source_id
GROUP BY tenant, data_source_id
COMMENT 'Did what is found change? Best scores from since to until against those from reference_since to since, by index: SELECT * FROM v_retrieval_drift(reference_since = ''2026-10-01'', since = ''2026-11-01'', until = ''2026-11-08''). Of live searches.';

CREATE OR REPLACE VIEW v_rag_audit
(
    event_id UUID COMMENT 'the turn',
    ts DateTime64(6, 'UTC') COMMENT 'event time, UTC',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    tenant LowCardinality(String) COMMENT 'tenant',
    conversation_id String COMMENT 'conversation',
    endpoint LowCardinality(String) COMMENT 'route or feature of the bot',
    model LowCardinality(String) COMMENT 'model of the turn; of a call, the one that answered, else the one that was asked for',
    status LowCardinality(String) COMMENT 'how it ended: ok, error, timeout, cancelled, rate_limited, blocked; empty for types that have none',
    searches UInt64 COMMENT 'searches in the turn',
    query_hashes Array(String) COMMENT 'hashes of the queries',
    index_versions Array(String) COMMENT 'versions of the indexes that were searched',
    document_ids Array(String) COMMENT 'documents found, best first',
    top_score Nullable(Float64) COMMENT 'best score; NULL when no search has scores',
    is_empty Bool COMMENT 'no search found anything',
    scores Map(String, Float64) COMMENT 'newest score of the answer by name, e.g. hallucination, context_relevance: 0 to 1, 1 is best',
    suspicious Bool COMMENT 'nothing was found and yet answered, or a score is below 0.5'
)
AS SELECT
    t.event_id AS event_id,
    t.ts AS ts,
    t.origin AS origin,
    t.tenant_id AS tenant,
    t.conversation_id AS conversation_id,
    t.endpoint AS endpoint,
    t.model AS model,
    t.status AS status,
    r.searches AS searches,
    r.query_hashes AS query_hashes,
    r.index_versions AS index_versions,
    r.document_ids AS document_ids,
    r.top_score AS top_score,
    (empty(r.document_ids))::Bool AS is_empty,
    j.scores AS scores,
    ((is_empty AND t.status = 'ok') OR arrayExists(score -> score < 0.5, mapValues(j.scores)))::Bool AS suspicious
FROM v_events AS t
INNER JOIN
(
    SELECT
        origin,
        tenant_id,
        if(trace_id != '', trace_id, request_id) AS turn_key,
        count() AS searches,
        groupUniqArrayIf(16)(query_hash, query_hash != '') AS query_hashes,
        groupUniqArrayIf(16)(index_version, index_version != '') AS index_versions,
        arrayMap(found -> found.2, arrayReverseSort(found -> found.1, arrayFlatten(groupArray(arrayMap(each -> (ifNull(each.score, 0), each.id), documents))))) AS document_ids,
        max(arrayReduce('max', arrayConcat([NULL], documents.score))) / 1e6 AS top_score
    FROM v_events
    WHERE event_type = 'retrieval' AND (trace_id != '' OR request_id != '')
    GROUP BY origin, tenant_id, turn_key
) AS r ON r.origin = t.origin AND r.tenant_id = t.tenant_id AND r.turn_key = if(t.trace_id != '', t.trace_id, t.request_id)
LEFT JOIN
(
    SELECT target_event_id, mapFromArrays(groupArray(name), groupArray(score)) AS scores
    FROM (SELECT target_event_id, name, argMax(assumeNotNull(v.score), ts) AS score FROM v_judgements AS v WHERE event_type = 'evaluation' AND v.score IS NOT NULL AND NOT failed GROUP BY target_event_id, name)
    GROUP BY target_event_id
) AS j ON j.target_event_id = toString(t.event_id)
WHERE t.event_type = 'interaction'
COMMENT 'What was found for each turn and what judges say of the answer: turns that searched, a row each.';

CREATE OR REPLACE VIEW v_policy
(
    day Date COMMENT 'the day, UTC',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    tenant LowCardinality(String) COMMENT 'tenant',
    policy String COMMENT 'name of the score without policy:, else the kind of the security event, else turn',
    n UInt64 COMMENT 'judgements, security events, or turns that a guard ended',
    enough Bool COMMENT 'n is at least 20',
    violations UInt64 COMMENT 'scores below 0.5, or blocked, or flagged',
    rate Float64 COMMENT 'violations over n',
    low Nullable(Float64) COMMENT 'lower end of the 95 % Wilson interval of rate',
    high Nullable(Float64) COMMENT 'upper end of the 95 % Wilson interval of rate'
)
AS SELECT
    day,
    origin,
    tenant,
    policy,
    count() AS n,
    (n >= 20)::Bool AS enough,
    countIf(violated) AS violations,
    violations / n AS rate,
    bc_wilson_low(countIf(violated), count()) AS low,
    bc_wilson_high(countIf(violated), count()) AS high
FROM
(
    SELECT toDate(ts) AS day, origin, tenant, substring(name, 8) AS policy, score < 0.5 AS violated
    FROM v_judgements
    WHERE event_type = 'evaluation' AND startsWith(name, 'policy:') AND score IS NOT NULL AND NOT failed
    UNION ALL
    SELECT toDate(ts), origin, tenant_id, kind, outcome IN ('blocked', 'flagged')
    FROM v_events
    WHERE event_type = 'security'
    UNION ALL
    SELECT toDate(ts), origin, tenant_id, 'turn', status = 'blocked'
    FROM v_events
    WHERE event_type = 'interaction'
)
GROUP BY day, origin, tenant, policy
COMMENT 'What guards did, by day: scores named policy:…, turns and security events that were blocked or flagged.';

CREATE OR REPLACE VIEW v_interaction
(
    event_id UUID COMMENT 'unique id of the event, a UUID (version 7 from our SDK)',
    ts DateTime64(6, 'UTC') COMMENT 'event time, UTC',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    tenant LowCardinality(String) COMMENT 'tenant',
    user_id String COMMENT 'user, or its keyed hash',
    conversation_id String COMMENT 'conversation',
    turn Nullable(UInt64) COMMENT 'number of the turn in its conversation, from 1',
    trace_id String COMMENT 'trace',
    service LowCardinality(String) COMMENT 'the bot that sent it',
    service_version String COMMENT 'its version',
    endpoint LowCardinality(String) COMMENT 'route or feature of the bot',
    status LowCardinality(String) COMMENT 'how it ended: ok, error, timeout, cancelled, rate_limited, blocked; empty for types that have none',
    error_type LowCardinality(String) COMMENT 'class of the error',
    provider LowCardinality(String) COMMENT 'model provider',
    model LowCardinality(String) COMMENT 'model of the turn; of a call, the one that answered, else the one that was asked for',
    prompt_name LowCardinality(String) COMMENT 'prompt template',
    prompt_version String COMMENT 'its version',
    experiment_id LowCardinality(String) COMMENT 'experiment',
    variant LowCardinality(String) COMMENT 'variant that the user saw',
    intent String COMMENT 'what the user wanted',
    query_category String COMMENT 'kind of question',
    fallback_used Bool COMMENT 'a fallback answered',
    cache_hit Nullable(Bool) COMMENT 'answered from a cache',
    duration_ms Float64 COMMENT 'how long it took, milliseconds',
    ttft_ms Nullable(Float64) COMMENT 'time to the first token, milliseconds; NULL when not streamed',
    components_ms Map(String, Float64) COMMENT 'time in each part of the turn by name, milliseconds',
    input_tokens UInt64 COMMENT 'tokens in, cached ones included, weighted by sample_weight',
    output_tokens UInt64 COMMENT 'tokens out, reasoning included, weighted by sample_weight',
    cost_usd Nullable(Decimal(38, 12)) COMMENT 'US dollars, exact to 10^-12; NULL when not known',
    cost_status String COMMENT 'priced, unpriced, invalid_usage, not_applicable; empty when nobody asked',
    sample_weight UInt32 COMMENT 'events that this row stands for: n when one in n was kept; multiply counts and sums by it',
    scores Map(String, Float64) COMMENT 'newest score by name, 0 to 1, 1 is best',
    rating Nullable(Float64) COMMENT 'newest rating as given; NULL when nobody rated it',
    thumb Nullable(Float64) COMMENT 'newest thumb: 1 up, 0 or -1 down; NULL when nobody gave one'
)
AS SELECT
    t.event_id AS event_id,
    t.ts AS ts,
    t.origin AS origin,
    t.tenant_id AS tenant,
    t.user_id AS user_id,
    t.conversation_id AS conversation_id,
    t.turn AS turn,
    t.trace_id AS trace_id,
    t.service AS service,
    t.service_version AS service_version,
    t.endpoint AS endpoint,
    t.status AS status,
    t.error_type AS error_type,
    t.provider AS provider,
    t.model AS model,
    t.prompt_name AS prompt_name,
    t.prompt_version AS prompt_version,
    t.experiment_id AS experiment_id,
    t.variant AS variant,
    t.intent AS intent,
    t.query_category AS query_category,
    t.fallback_used AS fallback_used,
    t.cache_hit AS cache_hit,
    t.duration_us / 1000 AS duration_ms,
    t.ttft_us / 1000 AS ttft_ms,
    mapApply((name, us) -> (name, us / 1000), t.components) AS components_ms,
    t.input_tokens AS input_tokens,
    t.output_tokens AS output_tokens,
    c.cost_usd AS cost_usd,
    c.cost_status AS cost_status,
    t.sample_weight AS sample_weight,
    j.scores AS scores,
    j.rating AS rating,
    j.thumb AS thumb
FROM v_events AS t
LEFT JOIN (SELECT event_id, cost_usd, cost_status FROM v_cost WHERE event_type = 'interaction') AS c ON c.event_id = t.event_id
LEFT JOIN
(
    SELECT
        target_event_id,
        mapFromArrays(groupArrayIf(name, event_type = 'evaluation'), groupArrayIf(assumeNotNull(score), event_type = 'evaluation')) AS scores,
        anyIf(value, name = 'rating' AND event_type = 'feedback') AS rating,
        anyIf(value, name = 'thumb' AND event_type = 'feedback') AS thumb
    FROM
    (
        SELECT target_event_id, event_type, name, argMax(v.score, ts) AS score, argMax(v.value, ts) AS value
        FROM v_judgements AS v
        WHERE v.score IS NOT NULL AND NOT failed
        GROUP BY target_event_id, event_type, name
    )
    GROUP BY target_event_id
) AS j ON j.target_event_id = toString(t.event_id)
WHERE t.event_type = 'interaction'
COMMENT 'Turns with everything that is known of them, judgements joined: what a page about one answer shows.';
