-- Views for whoever answers for the system: the week in one row, and what was done.

CREATE OR REPLACE VIEW v_kpi
(
    week Date COMMENT 'Monday of the week',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    tenant LowCardinality(String) COMMENT 'tenant',
    turns UInt64 COMMENT 'turns, weighted by sample_weight',
    n UInt64 COMMENT 'turns counted',
    enough Bool COMMENT 'n is at least 100',
    users UInt64 COMMENT 'different users',
    conversations UInt64 COMMENT 'different conversations',
    success_rate Float64 COMMENT 'share of turns without failure',
    p50_ms Float64 COMMENT 'median duration of a turn, milliseconds',
    p95_ms Float64 COMMENT '95th percentile, milliseconds',
    tokens UInt64 COMMENT 'tokens in and out, weighted by sample_weight',
    cost_usd Decimal(38, 12) COMMENT 'US dollars; turns without a known price are not in it',
    unpriced UInt64 COMMENT 'turns with tokens and without a known price',
    fallback_rate Float64 COMMENT 'share of turns that a fallback answered'
)
AS SELECT
    toMonday(t.ts) AS week,
    t.origin AS origin,
    t.tenant_id AS tenant,
    sum(t.sample_weight) AS turns,
    count() AS n,
    (n >= 100)::Bool AS enough,
    uniqExactIf(t.user_id, t.user_id != '') AS users,
    uniqExactIf(t.conversation_id, t.conversation_id != '') AS conversations,
    1 - sumIf(t.sample_weight, t.status IN ('error', 'timeout', 'rate_limited')) / turns AS success_rate,
    quantileExactWeighted(0.5)(t.duration_us, t.sample_weight) / 1000 AS p50_ms,
    quantileExactWeighted(0.95)(t.duration_us, t.sample_weight) / 1000 AS p95_ms,
    sum((t.input_tokens + t.output_tokens) * t.sample_weight) AS tokens,
    bc_usd(sum(ifNull(c.cost_picousd, 0) * t.sample_weight)) AS cost_usd,
    sumIf(t.sample_weight, c.cost_status IN ('unpriced', 'invalid_usage')) AS unpriced,
    sumIf(t.sample_weight, t.fallback_used) / turns AS fallback_rate
FROM v_events AS t
LEFT JOIN (SELECT event_id, cost_picousd, cost_status FROM v_cost WHERE event_type = 'interaction') AS c ON c.event_id = t.event_id
WHERE t.event_type = 'interaction'
GROUP BY week, origin, tenant
COMMENT 'The week in one row: what a report begins with.';

CREATE OR REPLACE VIEW v_audit
(
    at DateTime64(6, 'UTC') COMMENT 'when, UTC',
    tenant String COMMENT 'tenant',
    action String COMMENT 'marker, security, erasure, migration, prices',
    what String COMMENT 'kind of the marker or security event, else what was changed',
    outcome String COMMENT 'allowed, blocked, flagged; empty for none',
    actor String COMMENT 'who: hash of the principal, else the user, else the producer; empty when not known',
    detail String COMMENT 'title, detail, or name'
)
AS SELECT
    ts AS at,
    tenant_id AS tenant,
    event_type AS action,
    if(event_type = 'erasure', e.subject, e.kind) AS what,
    e.outcome AS outcome,
    coalesce(nullIf(principal_hash, ''), nullIf(user_id, ''), producer_id) AS actor,
    coalesce(nullIf(e.title, ''), nullIf(e.detail, ''), subject_key) AS detail
FROM v_events AS e
WHERE event_type IN ('marker', 'security', 'erasure')
UNION ALL
SELECT toDateTime64(applied_at, 6, 'UTC'), '', 'migration', 'tables', '', '', concat(leftPad(toString(version), 4, '0'), ' ', name)
FROM schema_migrations FINAL
UNION ALL
SELECT toDateTime64(max(loaded_at), 6, 'UTC'), '', 'prices', toString(source), '', '', concat(price_version, ': ', toString(count()), ' prices')
FROM prices
GROUP BY source, price_version
COMMENT 'What was done to the system and by whom, newest first when ordered by at: markers, security events, erasures, changes of tables, loads of prices.';
