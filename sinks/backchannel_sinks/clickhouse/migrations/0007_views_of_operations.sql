-- Views for whoever keeps the bot running: how fast, how much, what fails, is it up.
-- Counts are weighted by sample_weight, n counts rows: statistics are as good as n.

CREATE OR REPLACE VIEW v_component_breakdown
(
    hour DateTime('UTC') COMMENT 'first second of the hour, UTC',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    tenant LowCardinality(String) COMMENT 'tenant',
    endpoint LowCardinality(String) COMMENT 'route or feature of the bot',
    component String COMMENT 'name of the component; unaccounted is what no component covers',
    count UInt64 COMMENT 'turns with this component, weighted by sample_weight',
    n UInt64 COMMENT 'turns measured',
    enough Bool COMMENT 'n is at least 100: even above p99 there is one',
    total_ms Float64 COMMENT 'time spent in it, milliseconds',
    share Float64 COMMENT 'total_ms over the time of all turns; above 1 in sum where components overlap',
    mean_ms Float64 COMMENT 'mean, milliseconds',
    p50_ms Float64 COMMENT 'median, milliseconds',
    p95_ms Float64 COMMENT '95th percentile, milliseconds',
    p99_ms Float64 COMMENT '99th percentile, milliseconds'
)
AS SELECT
    hour,
    origin,
    tenant,
    endpoint,
    component,
    sum(weight) AS count,
    count() AS n,
    (n >= 100)::Bool AS enough,
    sum(part_us * weight) / 1000 AS total_ms,
    total_ms / (sum(sumIf(turn_us * weight, component = 'unaccounted')) OVER (PARTITION BY hour, origin, tenant, endpoint) / 1000) AS share,
    total_ms / count AS mean_ms,
    quantileExactWeighted(0.5)(part_us, weight) / 1000 AS p50_ms,
    quantileExactWeighted(0.95)(part_us, weight) / 1000 AS p95_ms,
    quantileExactWeighted(0.99)(part_us, weight) / 1000 AS p99_ms
FROM
(
    SELECT
        toStartOfHour(ts) AS hour,
        origin,
        tenant_id AS tenant,
        endpoint,
        sample_weight AS weight,
        duration_us AS turn_us,
        (arrayJoin(arrayConcat(
            arrayZip(mapKeys(components), mapValues(components)),
            [('unaccounted', toUInt64(greatest(0, toInt64(duration_us) - toInt64(arraySum(mapValues(components))))))])) AS part).1 AS component,
        part.2 AS part_us
    FROM v_events
    WHERE event_type = 'interaction'
)
GROUP BY hour, origin, tenant, endpoint, component
COMMENT 'Where the time of a turn goes, by hour: each component''s percentiles and its share of all time; unaccounted is the rest of the turn.';

CREATE OR REPLACE VIEW v_ttft
(
    hour DateTime('UTC') COMMENT 'first second of the hour, UTC',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    tenant LowCardinality(String) COMMENT 'tenant',
    event_type LowCardinality(String) COMMENT 'interaction, llm_call',
    endpoint LowCardinality(String) COMMENT 'route or feature of the bot',
    model String COMMENT 'model of the turn; of a call, the one that answered, else the one that was asked for',
    count UInt64 COMMENT 'streamed events, weighted by sample_weight',
    n UInt64 COMMENT 'first tokens measured',
    enough Bool COMMENT 'n is at least 100: even above p99 there is one',
    mean_ms Float64 COMMENT 'mean, milliseconds',
    p50_ms Float64 COMMENT 'median, milliseconds',
    p90_ms Float64 COMMENT '90th percentile, milliseconds',
    p95_ms Float64 COMMENT '95th percentile, milliseconds',
    p99_ms Float64 COMMENT '99th percentile, milliseconds',
    max_ms Float64 COMMENT 'the longest, milliseconds',
    share_of_duration Nullable(Float64) COMMENT 'mean part of the whole time that passes before the first token'
)
AS SELECT
    toStartOfHour(ts) AS hour,
    origin,
    tenant_id AS tenant,
    event_type,
    e.endpoint AS endpoint,
    coalesce(nullIf(e.model, ''), nullIf(response_model, ''), request_model) AS model,
    sum(sample_weight) AS count,
    count() AS n,
    (n >= 100)::Bool AS enough,
    sum(assumeNotNull(ttft_us) * sample_weight) / count / 1000 AS mean_ms,
    quantileExactWeighted(0.5)(assumeNotNull(ttft_us), sample_weight) / 1000 AS p50_ms,
    quantileExactWeighted(0.9)(assumeNotNull(ttft_us), sample_weight) / 1000 AS p90_ms,
    quantileExactWeighted(0.95)(assumeNotNull(ttft_us), sample_weight) / 1000 AS p95_ms,
    quantileExactWeighted(0.99)(assumeNotNull(ttft_us), sample_weight) / 1000 AS p99_ms,
    max(assumeNotNull(ttft_us)) / 1000 AS max_ms,
    sum(assumeNotNull(ttft_us) * sample_weight) / nullIf(sum(duration_us * sample_weight), 0) AS share_of_duration
FROM v_events AS e
WHERE event_type IN ('interaction', 'llm_call') AND ttft_us IS NOT NULL
GROUP BY hour, origin, tenant, event_type, endpoint, model
COMMENT 'Time to the first token by hour, of turns (interaction) and of calls to a model (llm_call).';

CREATE OR REPLACE VIEW v_throughput
(
    window_start DateTime64(0, 'UTC') COMMENT 'first second of the window',
    tenant LowCardinality(String) COMMENT 'empty when grouping has it not',
    endpoint LowCardinality(String) COMMENT 'empty when grouping has it not',
    model LowCardinality(String) COMMENT 'empty when grouping has it not',
    dims Map(String, String) COMMENT 'the series: a value for each name in grouping',
    grouping LowCardinality(String) COMMENT 'names of the dimensions, e.g. tenant,endpoint,model',
    window_s UInt32 COMMENT 'width in seconds',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    count UInt64 COMMENT 'interactions',
    per_second Float64 COMMENT 'count over the width of the window',
    per_minute Float64 COMMENT 'the same a minute',
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
    sum(w.count) / window_s AS per_second,
    sum(w.count) * 60 / window_s AS per_minute,
    min(w.final) AS final,
    min(w.complete) AS complete
FROM metric_windows AS w FINAL
GROUP BY window_start, tenant, endpoint, model, series, grouping, window_s, origin
COMMENT 'Turns a second and a minute, by window and series; from the windows, so it answers at once.';

CREATE OR REPLACE VIEW v_errors
(
    hour DateTime('UTC') COMMENT 'first second of the hour, UTC',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    tenant LowCardinality(String) COMMENT 'tenant',
    event_type LowCardinality(String) COMMENT 'interaction, llm_call, retrieval, tool_call, component',
    endpoint LowCardinality(String) COMMENT 'route or feature of the bot',
    model String COMMENT 'model of the turn or call; empty for types that have none',
    status String COMMENT 'error, timeout, rate_limited; how it ended',
    error_type String COMMENT 'class of the error, else the status',
    http_status Nullable(UInt64) COMMENT 'HTTP status; NULL when there was none',
    errors UInt64 COMMENT 'failures, weighted by sample_weight',
    of_all UInt64 COMMENT 'all events of the same hour, type, tenant, endpoint and model, weighted by sample_weight',
    share Float64 COMMENT 'errors over of_all',
    last_at DateTime64(6, 'UTC') COMMENT 'when the last one happened, UTC',
    example_event_id UUID COMMENT 'event_id of the last one'
)
AS SELECT * EXCEPT (failed)
FROM
(
    SELECT
        hour,
        origin,
        tenant,
        event_type,
        endpoint,
        model,
        status,
        error_type,
        http_status,
        sum(weight) AS errors,
        sum(sum(weight)) OVER (PARTITION BY hour, origin, tenant, event_type, endpoint, model) AS of_all,
        errors / of_all AS share,
        max(ts) AS last_at,
        argMax(event_id, ts) AS example_event_id,
        failed
    FROM
    (
        SELECT
            toStartOfHour(ts) AS hour,
            origin,
            tenant_id AS tenant,
            event_type,
            endpoint,
            coalesce(nullIf(e.model, ''), nullIf(response_model, ''), request_model) AS model,
            e.status IN ('error', 'timeout', 'rate_limited') AS failed,
            -- What did not fail is one group, whatever it says of itself.
            if(failed, e.status, '') AS status,
            if(failed, coalesce(nullIf(e.error_type, ''), e.status), '') AS error_type,
            if(failed, e.http_status, NULL) AS http_status,
            sample_weight AS weight,
            ts,
            event_id
        FROM v_events AS e
        WHERE event_type IN ('interaction', 'llm_call', 'retrieval', 'tool_call', 'component')
    )
    GROUP BY hour, origin, tenant, event_type, endpoint, model, status, error_type, http_status, failed
)
WHERE failed
COMMENT 'What fails, by hour: turns and calls that ended in error, timeout or rate_limited, by class, type, endpoint and model.';

CREATE OR REPLACE VIEW v_error_groups
(
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    tenant LowCardinality(String) COMMENT 'tenant',
    service LowCardinality(String) COMMENT 'the bot that sent it',
    fingerprint String COMMENT 'what the group has in common',
    exception_type String COMMENT 'class of the exception of the newest one',
    message String COMMENT 'message of the newest one',
    level String COMMENT 'debug, info, warning, error, fatal: of the newest one',
    first_seen DateTime64(6, 'UTC') COMMENT 'when the first one happened, UTC',
    last_seen DateTime64(6, 'UTC') COMMENT 'when the newest one happened, UTC',
    count UInt64 COMMENT 'errors, weighted by sample_weight',
    unhandled UInt64 COMMENT 'of them not caught by the code',
    users_hit UInt64 COMMENT 'users who met it',
    conversations_hit UInt64 COMMENT 'conversations that met it',
    environments Array(String) COMMENT 'where it happened',
    service_versions Array(String) COMMENT 'versions of the bot that it happened in',
    example_event_id UUID COMMENT 'event_id of the newest one'
)
AS SELECT
    origin,
    tenant_id AS tenant,
    service,
    coalesce(nullIf(e.fingerprint, ''), concat(e.exception_type, ': ', substringUTF8(splitByChar('\n', e.message)[1], 1, 120))) AS fingerprint,
    argMax(e.exception_type, ts) AS exception_type,
    argMax(e.message, ts) AS message,
    argMax(e.level, ts) AS level,
    min(ts) AS first_seen,
    max(ts) AS last_seen,
    sum(sample_weight) AS count,
    sumIf(sample_weight, NOT handled) AS unhandled,
    uniqExactIf(user_id, user_id != '') AS users_hit,
    uniqExactIf(conversation_id, conversation_id != '') AS conversations_hit,
    groupUniqArray(16)(environment) AS environments,
    groupUniqArray(16)(service_version) AS service_versions,
    argMax(event_id, ts) AS example_event_id
FROM v_events AS e
WHERE event_type = 'error'
GROUP BY origin, tenant, service, fingerprint
COMMENT 'Errors that are the same, as one row: error events by fingerprint, else by exception and first line of the message.';

CREATE OR REPLACE VIEW v_fallback_rate
(
    hour DateTime('UTC') COMMENT 'first second of the hour, UTC',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    tenant LowCardinality(String) COMMENT 'tenant',
    endpoint LowCardinality(String) COMMENT 'route or feature of the bot',
    model LowCardinality(String) COMMENT 'model of the turn; of a call, the one that answered, else the one that was asked for',
    count UInt64 COMMENT 'turns, weighted by sample_weight',
    n UInt64 COMMENT 'turns counted',
    enough Bool COMMENT 'n is at least 20',
    fallbacks UInt64 COMMENT 'turns that a fallback answered',
    fallback_rate Float64 COMMENT 'fallbacks over count',
    rate_low Nullable(Float64) COMMENT 'lower end of the 95 % Wilson interval of the share of fallbacks in n rows',
    rate_high Nullable(Float64) COMMENT 'upper end of the 95 % Wilson interval of the share of fallbacks in n rows',
    cache_hits UInt64 COMMENT 'turns answered from a cache',
    cache_hit_rate Nullable(Float64) COMMENT 'cache_hits over turns that say whether a cache answered; NULL when none does',
    cancelled UInt64 COMMENT 'turns that were cancelled',
    blocked UInt64 COMMENT 'turns that a guard blocked'
)
AS SELECT
    toStartOfHour(ts) AS hour,
    origin,
    tenant_id AS tenant,
    endpoint,
    model,
    sum(sample_weight) AS count,
    count() AS n,
    (n >= 20)::Bool AS enough,
    sumIf(sample_weight, fallback_used) AS fallbacks,
    fallbacks / count AS fallback_rate,
    bc_wilson_low(countIf(fallback_used), count()) AS rate_low,
    bc_wilson_high(countIf(fallback_used), count()) AS rate_high,
    sumIf(sample_weight, cache_hit = true) AS cache_hits,
    cache_hits / nullIf(sumIf(sample_weight, cache_hit IS NOT NULL), 0) AS cache_hit_rate,
    sumIf(sample_weight, status = 'cancelled') AS cancelled,
    sumIf(sample_weight, status = 'blocked') AS blocked
FROM v_events
WHERE event_type = 'interaction'
GROUP BY hour, origin, tenant, endpoint, model
COMMENT 'How often a fallback answered and how often a cache did, by hour.';

CREATE OR REPLACE VIEW v_slo
(
    day Date COMMENT 'the day, UTC',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    tenant LowCardinality(String) COMMENT 'tenant',
    slo String COMMENT 'latency-p50, latency-p95, latency-p99, success',
    objective Float64 COMMENT 'share of turns that must be good',
    n UInt64 COMMENT 'turns counted',
    enough Bool COMMENT 'n is at least 100: even above p99 there is one',
    count UInt64 COMMENT 'turns, weighted by sample_weight',
    good UInt64 COMMENT 'of them fast enough, or without failure',
    achieved Float64 COMMENT 'good over count',
    met Bool COMMENT 'achieved is at least the objective',
    budget_used Float64 COMMENT 'share of the allowed bad turns that is used up: 1 is all of it, more is a broken promise'
)
AS SELECT
    day,
    origin,
    tenant,
    promise.1 AS slo,
    promise.2 AS objective,
    count() AS n,
    (n >= 100)::Bool AS enough,
    sum(weight) AS count,
    sumIf(weight, promise.3) AS good,
    good / count AS achieved,
    -- In whole numbers: 0.95 is no sum of halves.
    (good * 1000 >= round(objective * 1000) * count)::Bool AS met,
    (count - good) / count / (1 - objective) AS budget_used
FROM
(
    SELECT
        toDate(ts) AS day,
        origin,
        tenant_id AS tenant,
        sample_weight AS weight,
        arrayJoin([
            ('latency-p50', 0.5, duration_us <= 2000000),
            ('latency-p95', 0.95, duration_us <= 5000000),
            ('latency-p99', 0.99, duration_us <= 10000000),
            ('success', 0.99, status NOT IN ('error', 'timeout', 'rate_limited'))]) AS promise
    FROM v_events
    WHERE event_type = 'interaction'
)
GROUP BY day, origin, tenant, promise.1, promise.2
COMMENT 'Promises and how they are kept, by day and tenant: half of the turns below 2 s, 95 % below 5 s, 99 % below 10 s, 99 % without failure.';

CREATE OR REPLACE VIEW v_mttr
(
    rule LowCardinality(String) COMMENT 'name of the rule',
    severity LowCardinality(String) COMMENT 'info, warning, error, critical',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    n UInt64 COMMENT 'alerts that were resolved',
    enough Bool COMMENT 'n is at least 5',
    firing_now UInt64 COMMENT 'alerts that have not been resolved',
    mean_s Nullable(Float64) COMMENT 'mean time to resolve, seconds; NULL when nothing was resolved, like the next three',
    p50_s Nullable(Float64) COMMENT 'median, seconds',
    p95_s Nullable(Float64) COMMENT '95th percentile, seconds',
    longest_s Nullable(Float64) COMMENT 'the longest, seconds',
    last_fired_at DateTime64(6, 'UTC') COMMENT 'when an alert of the rule began last, UTC'
)
AS SELECT
    rule,
    severity,
    origin,
    countIf(state = 'resolved') AS n,
    (n >= 5)::Bool AS enough,
    countIf(state = 'firing' AND latest) AS firing_now,
    if(n = 0, NULL, avgIf(lasted_s, state = 'resolved')) AS mean_s,
    if(n = 0, NULL, quantileExactIf(0.5)(lasted_s, state = 'resolved')) AS p50_s,
    if(n = 0, NULL, quantileExactIf(0.95)(lasted_s, state = 'resolved')) AS p95_s,
    if(n = 0, NULL, maxIf(lasted_s, state = 'resolved')) AS longest_s,
    max(starts_at) AS last_fired_at
FROM
(
    SELECT *, coalesce(dateDiff('millisecond', starts_at, ends_at), 0) / 1000 AS lasted_s FROM v_alerts
)
GROUP BY rule, severity, origin
COMMENT 'How long alerts lasted, by rule: from firing to resolved.';

CREATE OR REPLACE VIEW v_uptime
(
    day Date COMMENT 'the day, UTC',
    service LowCardinality(String) COMMENT 'the bot that sent it',
    environment LowCardinality(String) COMMENT 'e.g. production, staging',
    up_minutes UInt64 COMMENT 'minutes with a sign of life, by the broker''s clock',
    minutes UInt32 COMMENT 'minutes of the day since the service was first seen, up to now',
    uptime Float64 COMMENT 'up_minutes over minutes'
)
AS SELECT
    span.day AS day,
    span.service AS service,
    span.environment AS environment,
    ifNull(life.up_minutes, 0) AS up_minutes,
    span.minutes AS minutes,
    up_minutes / minutes AS uptime
FROM
(
    SELECT
        service,
        environment,
        arrayJoin(arrayMap(ago -> toDate(now('UTC')) - ago, range(dateDiff('day', first_at, now('UTC')) + 1))) AS day,
        toUInt32(dateDiff('minute',
            greatest(toStartOfMinute(first_at), toDateTime(day, 'UTC')),
            least(now('UTC'), toDateTime(day + 1, 'UTC') - 1)) + 1) AS minutes
    FROM
    (
        SELECT service, environment, min(toDateTime(broker_time)) AS first_at
        FROM v_events
        WHERE origin = 'live' AND service != ''
        GROUP BY service, environment
    )
) AS span
LEFT JOIN
(
    SELECT toDate(broker_time) AS day, service, environment, uniqExact(toStartOfMinute(broker_time)) AS up_minutes
    FROM v_events
    WHERE origin = 'live' AND service != ''
    GROUP BY day, service, environment
) AS life USING (day, service, environment)
COMMENT 'Signs of life by service and day: minutes with at least one event or Health of the service, over the minutes that it could have had.';

CREATE OR REPLACE VIEW v_capacity
(
    event_type LowCardinality(String) COMMENT 'interaction, llm_call, retrieval, tool_call, component, evaluation, feedback, exposure, product, error, health, security, marker, erasure',
    days UInt64 COMMENT 'whole days with events, of the last 90; today is left out',
    enough Bool COMMENT 'there are at least 7 days',
    rows_per_day Float64 COMMENT 'mean rows a day',
    growth_rows_per_day Nullable(Float64) COMMENT 'how many rows a day are added each day, by least squares; NULL below two days',
    rows_per_day_in_30_days Nullable(Float64) COMMENT 'where the line leads; never below 0'
)
AS SELECT
    event_type,
    count() AS days,
    (days >= 7)::Bool AS enough,
    avg(stored) AS rows_per_day,
    if(days < 2, NULL, simpleLinearRegression(day_number, stored).1) AS growth_rows_per_day,
    if(days < 2, NULL, greatest(0, simpleLinearRegression(day_number, stored).1 * (toUInt32(today()) + 30) + simpleLinearRegression(day_number, stored).2)) AS rows_per_day_in_30_days
FROM
(
    SELECT event_type, toUInt32(toDate(_broker_time)) AS day_number, count() AS stored
    FROM events
    WHERE _broker_time < today()
    GROUP BY event_type, day_number
)
GROUP BY event_type
COMMENT 'Growth by kind of event: whole days seen, rows a day, the straight line through them, and where it leads in 30 days.';

CREATE OR REPLACE VIEW v_storage
(
    table String COMMENT 'name of the table',
    stored_rows UInt64 COMMENT 'rows, copies and older revisions included',
    disk_bytes UInt64 COMMENT 'bytes on the disk',
    bytes_per_row Nullable(Float64) COMMENT 'disk_bytes over stored_rows',
    compression Nullable(Float64) COMMENT 'bytes before compression over disk_bytes',
    parts UInt64 COMMENT 'active parts; inserts are slowed above 1,000 a partition'
)
AS SELECT
    table,
    sum(rows) AS stored_rows,
    sum(bytes_on_disk) AS disk_bytes,
    disk_bytes / nullIf(stored_rows, 0) AS bytes_per_row,
    sum(data_uncompressed_bytes) / nullIf(disk_bytes, 0) AS compression,
    count() AS parts
FROM system.parts
WHERE active AND database = currentDatabase()
GROUP BY table
COMMENT 'What each table holds and what it takes on the disk.';

CREATE OR REPLACE VIEW v_freshness
(
    table String COMMENT 'name of the table',
    newest_at Nullable(DateTime64(3, 'UTC')) COMMENT 'clock of the newest row (the broker''s for events and dead letters, else of its publication), UTC; NULL when there was none for two days',
    age_s Nullable(Float64) COMMENT 'how long ago that was, seconds',
    stored_last_minute UInt64 COMMENT 'rows with that clock in the last minute',
    p50_to_broker_ms Nullable(Float64) COMMENT 'median time from the event to the broker, live events of the last hour, milliseconds; NULL for other tables',
    p99_to_broker_ms Nullable(Float64) COMMENT '99th percentile of the same'
)
AS SELECT
    table,
    if(stored = 0, NULL, newest) AS newest_at,
    if(stored = 0, NULL, dateDiff('millisecond', newest, now64(3, 'UTC')) / 1000) AS age_s,
    stored_last_minute,
    p50_to_broker_ms,
    p99_to_broker_ms
FROM
(
    SELECT
        'events' AS table,
        count() AS stored,
        max(_broker_time) AS newest,
        countIf(_broker_time >= now() - 60) AS stored_last_minute,
        quantileIf(0.5)(toNullable(dateDiff('millisecond', ts, _broker_time)), _origin = 'live' AND _broker_time >= now() - 3600) AS p50_to_broker_ms,
        quantileIf(0.99)(toNullable(dateDiff('millisecond', ts, _broker_time)), _origin = 'live' AND _broker_time >= now() - 3600) AS p99_to_broker_ms
    FROM events
    WHERE _broker_time >= now() - INTERVAL 2 DAY
    UNION ALL
    SELECT 'metric_windows', count(), toDateTime64(max(published_at), 3, 'UTC'), countIf(published_at >= now() - 60), NULL, NULL
    FROM metric_windows
    WHERE published_at >= now() - INTERVAL 2 DAY
    UNION ALL
    SELECT 'alerts', count(), toDateTime64(max(evaluated_at), 3, 'UTC'), countIf(evaluated_at >= now() - 60), NULL, NULL
    FROM alerts
    WHERE evaluated_at >= now() - INTERVAL 2 DAY
    UNION ALL
    SELECT 'dead_letters', count(), max(broker_time), countIf(broker_time >= now() - 60), NULL, NULL
    FROM dead_letters
    WHERE broker_time >= now() - INTERVAL 2 DAY
)
COMMENT 'How new the newest row of each table is; for events also how long the last hour''s took to the broker.';

CREATE OR REPLACE VIEW v_health
(
    minute DateTime('UTC') COMMENT 'first second of the minute, UTC',
    service LowCardinality(String) COMMENT 'the bot that sent it',
    producer_id LowCardinality(String) COMMENT 'which producer sent it',
    n UInt64 COMMENT 'rows counted',
    cpu_max Nullable(Float64) COMMENT 'largest share of all cores in use, 0 to 1; NULL when not measured, like the rest',
    memory_max Nullable(Float64) COMMENT 'largest share of the machine''s memory in use, 0 to 1',
    disk_max Nullable(Float64) COMMENT 'largest share of the disk in use, 0 to 1',
    rss_bytes_max Nullable(UInt64) COMMENT 'most memory of the process, bytes',
    loop_lag_max_ms Nullable(Float64) COMMENT 'longest lag of the event loop, milliseconds',
    in_flight_max Nullable(UInt64) COMMENT 'most requests under way',
    queues_max Map(String, UInt64) COMMENT 'longest length of each work queue',
    sdk_dropped_total UInt64 COMMENT 'events that the producer has dropped since it started',
    sdk_buffered_max UInt64 COMMENT 'most events held by the producer'
)
AS SELECT
    toStartOfMinute(ts) AS minute,
    service,
    producer_id,
    count() AS n,
    max(cpu) / 1e6 AS cpu_max,
    max(memory) / 1e6 AS memory_max,
    max(disk) / 1e6 AS disk_max,
    max(process_rss_bytes) AS rss_bytes_max,
    max(event_loop_lag_us) / 1000 AS loop_lag_max_ms,
    max(in_flight_requests) AS in_flight_max,
    maxMap(queues) AS queues_max,
    max(arraySum(mapValues(sdk_dropped))) AS sdk_dropped_total,
    max(sdk_buffered) AS sdk_buffered_max
FROM v_events
WHERE event_type = 'health'
GROUP BY minute, service, producer_id
COMMENT 'How the processes of the bots are, by minute: machine, event loop, queues, and what the SDK dropped.';

CREATE OR REPLACE VIEW v_live
(
    tenant LowCardinality(String) COMMENT 'tenant',
    sessions UInt64 COMMENT 'sessions with an event in the last five minutes',
    conversations UInt64 COMMENT 'conversations with one',
    users UInt64 COMMENT 'users with one',
    turns_per_minute Float64 COMMENT 'turns of the last five minutes, a minute, weighted by sample_weight',
    last_at DateTime64(6, 'UTC') COMMENT 'newest event, UTC'
)
AS SELECT
    tenant_id AS tenant,
    uniqExactIf(session_id, session_id != '') AS sessions,
    uniqExactIf(conversation_id, conversation_id != '') AS conversations,
    uniqExactIf(user_id, user_id != '') AS users,
    sumIf(sample_weight, event_type = 'interaction') / 5 AS turns_per_minute,
    max(ts) AS last_at
FROM v_events
WHERE origin = 'live' AND ts >= now() - INTERVAL 5 MINUTE AND event_type IN ('interaction', 'llm_call', 'product', 'feedback')
GROUP BY tenant
COMMENT 'Who is there now: sessions, conversations and users with an event in the last five minutes, by tenant.';
