-- Views of how people use the product: who is active, who comes back, how far they come, where they go.

CREATE OR REPLACE VIEW v_active_users
(
    day Date COMMENT 'the day, UTC',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    tenant LowCardinality(String) COMMENT 'tenant',
    dau UInt64 COMMENT 'users of the day',
    wau UInt64 COMMENT 'users of the 7 days up to it',
    mau UInt64 COMMENT 'users of the 30 days up to it',
    stickiness Nullable(Float64) COMMENT 'dau over mau',
    turns UInt64 COMMENT 'turns of the day, weighted by sample_weight'
)
AS SELECT
    active_day AS day,
    origin,
    tenant,
    uniqExactIf(user, ago = 0) AS dau,
    uniqExactIf(user, ago < 7) AS wau,
    uniqExact(user) AS mau,
    dau / nullIf(mau, 0) AS stickiness,
    sumIf(day_turns, ago = 0) AS turns
FROM
(
    SELECT
        origin,
        tenant_id AS tenant,
        if(user_id != '', user_id, distinct_id) AS user,
        toDate(ts) AS on_day,
        sumIf(sample_weight, event_type = 'interaction') AS day_turns,
        arrayJoin(range(30)) AS ago,
        on_day + ago AS active_day
    FROM v_events
    WHERE event_type IN ('interaction', 'product') AND (user_id != '' OR distinct_id != '')
    GROUP BY origin, tenant, user, on_day
)
WHERE active_day <= today()
GROUP BY day, origin, tenant
COMMENT 'Active users by day, of that day and of the 7 and 30 days that end with it. A user is active who has a turn or a product event.';

CREATE OR REPLACE VIEW v_retention
(
    cohort_week Date COMMENT 'Monday of the week in which they came first',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    tenant LowCardinality(String) COMMENT 'tenant',
    weeks_later UInt32 COMMENT '0 is that week itself',
    users UInt64 COMMENT 'users of the cohort',
    returned UInt64 COMMENT 'of them active in that later week',
    rate Float64 COMMENT 'returned over users',
    enough Bool COMMENT 'the cohort has at least 20 users'
)
AS SELECT
    cohort_week,
    origin,
    tenant,
    toUInt32(dateDiff('week', cohort_week, week)) AS weeks_later,
    any(cohort_users) AS users,
    uniqExact(user) AS returned,
    returned / users AS rate,
    (users >= 20)::Bool AS enough
FROM
(
    SELECT
        origin,
        tenant,
        user,
        arrayJoin(weeks) AS week,
        cohort_week,
        cohort_users
    FROM
    (
        SELECT
            origin,
            tenant_id AS tenant,
            if(user_id != '', user_id, distinct_id) AS user,
            groupUniqArray(toMonday(ts)) AS weeks,
            arrayMin(weeks) AS cohort_week,
            count() OVER (PARTITION BY origin, tenant, cohort_week) AS cohort_users
        FROM v_events
        WHERE event_type IN ('interaction', 'product') AND (user_id != '' OR distinct_id != '')
        GROUP BY origin, tenant, user
    )
)
GROUP BY cohort_week, origin, tenant, weeks_later
COMMENT 'Who comes back: users by the week of their first turn or product event, and how many of them are there so many weeks later.';

CREATE OR REPLACE VIEW v_funnel_chat
(
    day Date COMMENT 'the day, UTC',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    tenant LowCardinality(String) COMMENT 'tenant',
    started UInt64 COMMENT 'sessions with any event',
    messaged UInt64 COMMENT 'of them with a turn',
    answered UInt64 COMMENT 'of them with an answer that did not fail',
    judged UInt64 COMMENT 'of them with feedback after that',
    messaged_rate Float64 COMMENT 'messaged over started',
    answered_rate Nullable(Float64) COMMENT 'answered over messaged; NULL when nobody came so far, like the next',
    judged_rate Nullable(Float64) COMMENT 'judged over answered'
)
AS SELECT
    toDate(first_at) AS day,
    origin,
    tenant,
    count() AS started,
    countIf(turns > 0) AS messaged,
    countIf(answers > 0) AS answered,
    countIf(answers > 0 AND last_feedback_at >= first_answer_at) AS judged,
    messaged / started AS messaged_rate,
    answered / nullIf(messaged, 0) AS answered_rate,
    judged / nullIf(answered, 0) AS judged_rate
FROM
(
    SELECT
        origin,
        tenant_id AS tenant,
        if(session_id != '', session_id, conversation_id) AS unit,
        min(ts) AS first_at,
        countIf(event_type = 'interaction') AS turns,
        countIf(event_type = 'interaction' AND status = 'ok') AS answers,
        minIf(ts, event_type = 'interaction' AND status = 'ok') AS first_answer_at,
        maxIf(ts, event_type = 'feedback') AS last_feedback_at
    FROM v_events
    WHERE event_type IN ('interaction', 'product', 'feedback') AND (session_id != '' OR conversation_id != '')
    GROUP BY origin, tenant, unit
)
GROUP BY day, origin, tenant
COMMENT 'From opening the chat to feedback, by day: sessions (else conversations) that came so far. A step counts only after the one before it.';

CREATE OR REPLACE VIEW v_funnel
(
    tenant LowCardinality(String) COMMENT 'tenant',
    step UInt32 COMMENT 'number of the step, from 1',
    name String COMMENT 'name of the product event',
    people UInt64 COMMENT 'people who came so far: distinct_id, else user, else session',
    of_first Nullable(Float64) COMMENT 'share of those of the first step; NULL when there is nobody',
    of_previous Nullable(Float64) COMMENT 'share of those of the step before; NULL when there is nobody'
)
AS SELECT
    tenant,
    step,
    {steps:Array(String)}[step] AS name,
    countIf(level >= step) AS people,
    people / nullIf(max(people) OVER (PARTITION BY tenant), 0) AS of_first,
    people / nullIf(lagInFrame(people, 1, people) OVER (PARTITION BY tenant ORDER BY step ROWS BETWEEN 1 PRECEDING AND CURRENT ROW), 0) AS of_previous
FROM
(
    SELECT
        tenant_id AS tenant,
        coalesce(nullIf(distinct_id, ''), nullIf(user_id, ''), session_id) AS person,
        windowFunnel({hours:UInt32} * 3600 * 1000000)(
            toUInt64(ts_us),
            name = {steps:Array(String)}[1], name = {steps:Array(String)}[2], name = {steps:Array(String)}[3],
            name = {steps:Array(String)}[4], name = {steps:Array(String)}[5], name = {steps:Array(String)}[6]) AS level
    FROM v_events
    WHERE event_type = 'product' AND origin = 'live' AND name != '' AND ts >= {since:DateTime64(6, 'UTC')}
    GROUP BY tenant, person
)
ARRAY JOIN arrayMap(each -> toUInt32(each), range(1, length({steps:Array(String)}) + 1)) AS step
GROUP BY tenant, step
COMMENT 'How far people come through steps of your own: names of product events in order: SELECT * FROM v_funnel(steps = [''signup'', ''upload'', ''share''], since = ''2026-11-01'', hours = 24). Six steps at most; the first within the period, the others within so many hours of it. Of live events.';

CREATE OR REPLACE VIEW v_flows
(
    day Date COMMENT 'the day, UTC',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    tenant LowCardinality(String) COMMENT 'tenant',
    from_name String COMMENT 'product event; empty for the beginning of a session',
    to_name String COMMENT 'the next one; empty for the end of a session',
    count UInt64 COMMENT 'how often',
    people UInt64 COMMENT 'different people: distinct_id, else user, else session',
    share Float64 COMMENT 'count over all that went on from from_name on the day'
)
AS SELECT
    toDate(at) AS day,
    origin,
    tenant,
    from_name,
    to_name,
    count() AS count,
    uniqExact(person) AS people,
    count / sum(count) OVER (PARTITION BY day, origin, tenant, from_name) AS share
FROM
(
    SELECT origin, tenant, person, step.1 AS at, step.2 AS from_name, step.3 AS to_name
    FROM
    (
        SELECT
            origin,
            tenant_id AS tenant,
            any(coalesce(nullIf(distinct_id, ''), nullIf(user_id, ''), session_id)) AS person,
            arraySort(groupArray(10000)((ts, toString(name)))) AS visited
        FROM v_events
        WHERE event_type = 'product' AND session_id != ''
        GROUP BY origin, tenant, session_id
    )
    ARRAY JOIN arrayMap(
        (at, from_name, to_name) -> (at, from_name, to_name),
        arrayPushBack(visited.1, visited.1[-1]), arrayPushFront(visited.2, ''), arrayPushBack(visited.2, '')) AS step
)
GROUP BY day, origin, tenant, from_name, to_name
COMMENT 'Where people go next, by day: product events that follow each other in a session.';

CREATE OR REPLACE VIEW v_bounce
(
    day Date COMMENT 'the day, UTC',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    tenant LowCardinality(String) COMMENT 'tenant',
    sessions UInt64 COMMENT 'sessions',
    enough Bool COMMENT 'at least 20 sessions',
    bounced UInt64 COMMENT 'sessions with at most one product event and no turn',
    rate Float64 COMMENT 'bounced over sessions',
    low Nullable(Float64) COMMENT 'lower end of the 95 % Wilson interval of rate',
    high Nullable(Float64) COMMENT 'upper end of the 95 % Wilson interval of rate'
)
AS SELECT
    toDate(first_at) AS day,
    origin,
    tenant,
    count() AS sessions,
    (sessions >= 20)::Bool AS enough,
    countIf(products <= 1 AND turns = 0) AS bounced,
    bounced / sessions AS rate,
    bc_wilson_low(countIf(products <= 1 AND turns = 0), count()) AS low,
    bc_wilson_high(countIf(products <= 1 AND turns = 0), count()) AS high
FROM
(
    SELECT
        origin,
        tenant_id AS tenant,
        min(ts) AS first_at,
        countIf(event_type = 'product') AS products,
        countIf(event_type = 'interaction') AS turns
    FROM v_events
    WHERE event_type IN ('product', 'interaction') AND session_id != ''
    GROUP BY origin, tenant, session_id
)
GROUP BY day, origin, tenant
COMMENT 'Sessions that came and went, by day: one product event and no message.';

CREATE OR REPLACE VIEW v_feature_usage
(
    day Date COMMENT 'the day, UTC',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    tenant LowCardinality(String) COMMENT 'tenant',
    feature String COMMENT 'feature, else name of the product event',
    uses UInt64 COMMENT 'how often, weighted by sample_weight',
    people UInt64 COMMENT 'different people: distinct_id, else user, else session',
    share_of_people Float64 COMMENT 'people over all people with a product event that day'
)
AS SELECT
    day,
    origin,
    tenant,
    feature,
    sum(weight) AS uses,
    uniqExact(person) AS people,
    people / any(day_people) AS share_of_people
FROM
(
    SELECT
        toDate(ts) AS day,
        origin,
        tenant_id AS tenant,
        if(e.feature != '', e.feature, toString(e.name)) AS feature,
        sample_weight AS weight,
        coalesce(nullIf(distinct_id, ''), nullIf(user_id, ''), session_id) AS person,
        uniqExact(person) OVER (PARTITION BY day, origin, tenant) AS day_people
    FROM v_events AS e
    WHERE event_type = 'product'
)
GROUP BY day, origin, tenant, feature
COMMENT 'What of the product is used, by day: product events by feature, else by name.';
