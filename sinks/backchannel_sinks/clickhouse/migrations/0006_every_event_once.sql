-- SQL functions for questions of one's own, every event once, and what is missing.
-- Functions belong to the whole server, not to a database: their names begin with bc_, and they only
-- ever grow, so that databases of several versions may share them.

CREATE OR REPLACE FUNCTION bc_bucket AS (value) ->
    -- Integers up to 2^53 are exact as Float64, and log2 is exact at every boundary: tests compare it
    -- with the table of the contract.
    toInt16(multiIf(value = 0, -2, value = 1, -1, toInt32(ceil(log2(value) * 32)) - 1));

CREATE OR REPLACE FUNCTION bc_bucket_value AS (bucket) ->
    toUInt64(if(bucket < 0, bucket + 2, round(exp2((bucket + 0.5) / 32))));

CREATE OR REPLACE FUNCTION bc_quantile AS (buckets, permille) ->
    -- The rank is found in integers, so that Python and SQL read the same bucket.
    if(empty(buckets), NULL, bc_bucket_value(mapKeys(buckets)[arrayFirstIndex(
        seen -> seen >= greatest(1, intDiv(permille * arraySum(mapValues(buckets))::UInt128 + 999, 1000)),
        arrayCumSum(mapValues(buckets)))]));

CREATE OR REPLACE FUNCTION bc_wilson_low AS (hits, n) ->
    multiIf(n = 0, NULL, hits = 0, 0., (hits + 1.9207294103470774) / (n + 3.841458820694154)
        - sqrt(3.841458820694154 * (hits * (1 - hits / n) + 0.9603647051735385)) / (n + 3.841458820694154));

CREATE OR REPLACE FUNCTION bc_wilson_high AS (hits, n) ->
    multiIf(n = 0, NULL, hits = n, 1., (hits + 1.9207294103470774) / (n + 3.841458820694154)
        + sqrt(3.841458820694154 * (hits * (1 - hits / n) + 0.9603647051735385)) / (n + 3.841458820694154));

CREATE OR REPLACE FUNCTION bc_usd AS (picousd) ->
    toDecimal128(picousd, 12) / 1000000000000;

-- What an HTTP middleware knows of a turn: when its response began, and how busy the process was.
ALTER TABLE events
    ADD COLUMN IF NOT EXISTS ttfb_us Nullable(UInt64) COMMENT 'time to the first byte of the HTTP response, microseconds' AFTER ttft_us,
    ADD COLUMN IF NOT EXISTS in_flight Nullable(UInt64) COMMENT 'requests under way in the process when it began, itself included' AFTER ttfb_us;

-- A record with a number is stored once, the sink sees to that. A record without one may come twice:
-- its events are told apart by event_id, and the first copy counts, as it does in the windows.
CREATE OR REPLACE VIEW v_events
(
    event_type LowCardinality(String) COMMENT 'interaction, llm_call, retrieval, tool_call, component, evaluation, feedback, exposure, product, error, health, security, marker, erasure',
    event_id UUID COMMENT 'unique id of the event, a UUID (version 7 from our SDK)',
    ts_us Int64 COMMENT 'event time, microseconds since 1970 UTC',
    ts DateTime64(6, 'UTC') COMMENT 'event time, UTC',
    schema_version UInt16 COMMENT 'major version of the event schema',
    producer_id LowCardinality(String) COMMENT 'which producer sent it',
    seq UInt64 COMMENT 'number of the event within its producer, from 1, gap-free: a gap is a loss',
    tenant_id LowCardinality(String) COMMENT 'tenant',
    user_id String COMMENT 'user, or its keyed hash',
    session_id String COMMENT 'session',
    conversation_id String COMMENT 'conversation',
    turn Nullable(UInt64) COMMENT 'number of the turn in its conversation, from 1',
    request_id String COMMENT 'request',
    trace_id String COMMENT 'trace',
    span_id String COMMENT 'span',
    parent_span_id String COMMENT 'span that this one is part of',
    service LowCardinality(String) COMMENT 'the bot that sent it',
    service_version String COMMENT 'its version',
    environment LowCardinality(String) COMMENT 'e.g. production, staging',
    channel LowCardinality(String) COMMENT 'e.g. web, voice, slack',
    tags Array(String) COMMENT 'short free names',
    attributes Map(String, String) COMMENT 'free facts by name',
    sample_weight UInt32 COMMENT 'events that this row stands for: n when one in n was kept; multiply counts and sums by it',
    experiment_id LowCardinality(String) COMMENT 'experiment',
    variant LowCardinality(String) COMMENT 'variant that the user saw',
    prompt_name LowCardinality(String) COMMENT 'prompt template',
    prompt_version String COMMENT 'its version',
    input_tokens UInt64 COMMENT 'tokens in, cached ones included',
    output_tokens UInt64 COMMENT 'tokens out, reasoning included',
    cache_read_tokens UInt64 COMMENT 'tokens read from a cache, part of input_tokens',
    cache_write_tokens UInt64 COMMENT 'tokens written to a cache, part of input_tokens',
    reasoning_tokens UInt64 COMMENT 'tokens of reasoning, part of output_tokens',
    input_audio_tokens UInt64 COMMENT 'audio tokens, part of input_tokens',
    output_audio_tokens UInt64 COMMENT 'audio tokens, part of output_tokens',
    usage_source String COMMENT 'who counted the tokens: provider, tokenizer, estimate; empty for nobody',
    input_cost_picousd Nullable(UInt64) COMMENT 'cost of the input, 10^-12 US dollars; NULL when not known',
    output_cost_picousd Nullable(UInt64) COMMENT 'cost of the output, 10^-12 US dollars; NULL when not known',
    cost_picousd Nullable(UInt64) COMMENT 'total cost, 10^-12 US dollars; NULL when not known, never 0 for an unknown price',
    cost_source String COMMENT 'where the cost is from: reported, price_table, custom_table',
    cost_status String COMMENT 'priced, unpriced, invalid_usage, not_applicable; empty when nobody asked',
    price_version String COMMENT 'version of the price table',
    endpoint LowCardinality(String) COMMENT 'route or feature of the bot',
    http_method String COMMENT 'HTTP method',
    http_status Nullable(UInt64) COMMENT 'HTTP status',
    status LowCardinality(String) COMMENT 'ok, error, timeout, cancelled, rate_limited, blocked; empty for types that have none. Errors are error, timeout and rate_limited',
    error_type LowCardinality(String) COMMENT 'class of the error',
    error_message String COMMENT 'the error in words',
    duration_us UInt64 COMMENT 'how long it took, microseconds',
    ttft_us Nullable(UInt64) COMMENT 'time to the first token, microseconds',
    ttfb_us Nullable(UInt64) COMMENT 'time to the first byte of the HTTP response, microseconds',
    in_flight Nullable(UInt64) COMMENT 'requests under way in the process when it began, itself included',
    streamed Bool COMMENT 'the answer came as a stream',
    components Map(String, UInt64) COMMENT 'time in each part of the turn by name, microseconds',
    provider LowCardinality(String) COMMENT 'model provider',
    model LowCardinality(String) COMMENT 'model of the turn',
    llm_calls UInt64 COMMENT 'calls to a model in the turn',
    intent String COMMENT 'what the user wanted',
    intent_confidence Nullable(UInt32) COMMENT 'how sure, millionths',
    query_category String COMMENT 'kind of question',
    conversation_length Nullable(UInt64) COMMENT 'turns of the conversation so far',
    fallback_used Bool COMMENT 'a fallback answered',
    cache_hit Nullable(Bool) COMMENT 'answered from a cache',
    operation LowCardinality(String) COMMENT 'kind of call: chat, embeddings, …',
    request_model LowCardinality(String) COMMENT 'model that was asked for',
    response_model LowCardinality(String) COMMENT 'model that answered',
    response_id String COMMENT 'the provider''s id of the answer',
    finish_reasons Array(String) COMMENT 'why the model stopped',
    temperature Nullable(Int64) COMMENT 'millionths',
    max_tokens Nullable(UInt64) COMMENT 'bound on tokens out',
    service_tier String COMMENT 'the provider''s tier',
    server_address String COMMENT 'host that answered',
    queue_us Nullable(UInt64) COMMENT 'waiting before the call, microseconds',
    retries UInt64 COMMENT 'calls before this one that failed',
    semantic_cache String COMMENT 'hit, miss, off',
    batch_size Nullable(UInt64) COMMENT 'inputs in the call',
    data_source_id String COMMENT 'index or store that was searched',
    index_version String COMMENT 'its version',
    embedding_model String COMMENT 'model of the embeddings',
    query_hash String COMMENT 'hash of the query',
    top_k Nullable(UInt64) COMMENT 'documents asked for',
    documents Array(Tuple(id String, score Nullable(Int64), rank Nullable(UInt64), source String)) COMMENT 'what was found; score in millionths',
    embed_us Nullable(UInt64) COMMENT 'time to embed the query, microseconds',
    search_us Nullable(UInt64) COMMENT 'time to search, microseconds',
    tool_name LowCardinality(String) COMMENT 'tool',
    tool_type String COMMENT 'kind of tool',
    call_id String COMMENT 'the model''s id of the call',
    name LowCardinality(String) COMMENT 'name of the component, score or product event',
    target_event_id String COMMENT 'event that is judged',
    value Nullable(Int64) COMMENT 'score or rating, millionths',
    label String COMMENT 'score as a word',
    explanation String COMMENT 'why this score',
    scale_min Nullable(Int64) COMMENT 'least possible value, millionths',
    scale_max Nullable(Int64) COMMENT 'greatest possible value, millionths',
    higher_is_better Bool COMMENT 'direction of the scale',
    source LowCardinality(String) COMMENT 'who judged: llm_judge, heuristic, human, user',
    evaluator String COMMENT 'name of the judge',
    evaluator_model String COMMENT 'its model',
    dataset_id String COMMENT 'dataset',
    dataset_item_id String COMMENT 'item of the dataset',
    kind LowCardinality(String) COMMENT 'kind of feedback, security event or marker',
    comment String COMMENT 'what the user wrote',
    distinct_id String COMMENT 'person in the product analytics',
    url String COMMENT 'page',
    feature String COMMENT 'feature',
    properties Map(String, String) COMMENT 'free facts by name',
    exception_type String COMMENT 'class of the exception',
    message String COMMENT 'message',
    stacktrace String COMMENT 'stack trace',
    fingerprint String COMMENT 'groups equal errors',
    level LowCardinality(String) COMMENT 'debug, info, warning, error, fatal',
    handled Bool COMMENT 'the code caught it',
    component String COMMENT 'part of the bot',
    cpu Nullable(UInt32) COMMENT 'share of all cores in use, millionths',
    memory Nullable(UInt32) COMMENT 'share of the machine''s memory in use, millionths',
    disk Nullable(UInt32) COMMENT 'share of the disk in use, millionths',
    process_rss_bytes Nullable(UInt64) COMMENT 'memory of the process, bytes',
    event_loop_lag_us Nullable(UInt64) COMMENT 'lag of the event loop, microseconds',
    in_flight_requests Nullable(UInt64) COMMENT 'requests under way',
    active_sessions Nullable(UInt64) COMMENT 'sessions that are open',
    queues Map(String, UInt64) COMMENT 'length of each work queue',
    gauges Map(String, Int64) COMMENT 'own measures, millionths',
    sdk_offered UInt64 COMMENT 'events given to the producer',
    sdk_acked UInt64 COMMENT 'events that Kafka has',
    sdk_dropped Map(String, UInt64) COMMENT 'events not sent, by reason',
    sdk_buffered UInt64 COMMENT 'events held',
    final_seq Nullable(UInt64) COMMENT 'the producer''s last seq, on its last event',
    outcome String COMMENT 'allowed, blocked, flagged',
    principal_hash String COMMENT 'hash of who',
    source_ip_hash String COMMENT 'hash of where from',
    detail String COMMENT 'detail',
    title String COMMENT 'title of the marker',
    subject String COMMENT 'user, tenant, conversation',
    subject_key String COMMENT 'who asked to be forgotten',
    requested_at_us Int64 COMMENT 'when, microseconds since 1970 UTC',
    origin LowCardinality(String) COMMENT 'live, or replay:<id> for recorded traffic',
    broker_time DateTime64(3, 'UTC') COMMENT 'when the broker had the record: the second clock of every event',
    _partition UInt16 COMMENT 'partition of chat.events',
    _offset UInt64 COMMENT 'offset of the record',
    _line UInt32 COMMENT 'line in the record, from 0',
    _epoch UInt64 COMMENT 'which creation of the topic, milliseconds since 1970 UTC; 0 when not known'
)
AS SELECT
    event_type,
    event_id,
    ts_us,
    ts,
    schema_version,
    producer_id,
    seq,
    tenant_id,
    user_id,
    session_id,
    conversation_id,
    turn,
    request_id,
    trace_id,
    span_id,
    parent_span_id,
    service,
    service_version,
    environment,
    channel,
    tags,
    attributes,
    sample_weight,
    experiment_id,
    variant,
    prompt_name,
    prompt_version,
    input_tokens,
    output_tokens,
    cache_read_tokens,
    cache_write_tokens,
    reasoning_tokens,
    input_audio_tokens,
    output_audio_tokens,
    usage_source,
    input_cost_picousd,
    output_cost_picousd,
    cost_picousd,
    cost_source,
    cost_status,
    price_version,
    endpoint,
    http_method,
    http_status,
    status,
    error_type,
    error_message,
    duration_us,
    ttft_us,
    ttfb_us,
    in_flight,
    streamed,
    components,
    provider,
    model,
    llm_calls,
    intent,
    intent_confidence,
    query_category,
    conversation_length,
    fallback_used,
    cache_hit,
    operation,
    request_model,
    response_model,
    response_id,
    finish_reasons,
    temperature,
    max_tokens,
    service_tier,
    server_address,
    queue_us,
    retries,
    semantic_cache,
    batch_size,
    data_source_id,
    index_version,
    embedding_model,
    query_hash,
    top_k,
    documents,
    embed_us,
    search_us,
    tool_name,
    tool_type,
    call_id,
    name,
    target_event_id,
    value,
    label,
    explanation,
    scale_min,
    scale_max,
    higher_is_better,
    source,
    evaluator,
    evaluator_model,
    dataset_id,
    dataset_item_id,
    kind,
    comment,
    distinct_id,
    url,
    feature,
    properties,
    exception_type,
    message,
    stacktrace,
    fingerprint,
    level,
    handled,
    component,
    cpu,
    memory,
    disk,
    process_rss_bytes,
    event_loop_lag_us,
    in_flight_requests,
    active_sessions,
    queues,
    gauges,
    sdk_offered,
    sdk_acked,
    sdk_dropped,
    sdk_buffered,
    final_seq,
    outcome,
    principal_hash,
    source_ip_hash,
    detail,
    title,
    subject,
    subject_key,
    requested_at_us,
    _origin AS origin,
    _broker_time AS broker_time,
    _partition,
    _offset,
    _line,
    _epoch
FROM events
WHERE _pseq > 0 OR (_epoch, _partition, _offset, _line) IN (
    SELECT min((_epoch, _partition, _offset, _line)) FROM events WHERE _pseq = 0 GROUP BY _origin, event_id
)
COMMENT 'Every event once: what analysts read instead of the table. A row stands for sample_weight events.';

-- Only producers whose numbers are not all there are sorted, so it stays cheap where nothing is lost.
-- What a repaired dead letter fills is stored and missing no more. Copies of an event do not matter.
CREATE OR REPLACE VIEW v_loss
(
    producer_id String COMMENT 'which producer sent it',
    service String COMMENT 'the bot that sent it',
    origin String COMMENT 'live, or replay:<id>',
    kind String COMMENT 'gap: these numbers are missing. end: the producer gave out higher numbers than any stored. unclean_end: silent for 10 minutes without a last Health; how many events it still held is not known',
    first_seq Nullable(UInt64) COMMENT 'first missing number; NULL for an unclean end',
    last_seq Nullable(UInt64) COMMENT 'last missing number; NULL for an unclean end',
    missing Nullable(UInt64) COMMENT 'how many are missing; NULL when not known',
    dead_letters UInt32 COMMENT 'how many of them are in dead_letters, so refused and not lost',
    settled Bool COMMENT 'whatever was sent after them arrived more than a minute ago: they are not just under way',
    after_at Nullable(DateTime64(3, 'UTC')) COMMENT 'when the last event before them was stored by the broker, UTC; NULL when there is none',
    before_at Nullable(DateTime64(3, 'UTC')) COMMENT 'when the first event after them was stored by the broker, UTC; NULL when there is none',
    sdk_dropped Map(String, UInt64) COMMENT 'what the producer itself says that it dropped, by reason, in its newest Health'
)
AS WITH
    producers AS
    (
        SELECT
            producer_id,
            anyLast(service) AS service,
            anyLast(_origin) AS origin,
            groupBitmap(seq) AS stored,
            max(seq) AS last_stored,
            max(final_seq) AS final_seq,
            min(_broker_time) AS first_at,
            max(_broker_time) AS last_at,
            countIf(event_type = 'health') AS healths,
            argMaxIf(sdk_dropped, seq, event_type = 'health') AS sdk_dropped
        FROM events
        WHERE seq > 0
        GROUP BY producer_id
    ),
    refused AS
    (
        SELECT
            JSONExtractString(value, 'producer_id') AS producer_id,
            groupUniqArray(JSONExtractUInt(value, 'seq')) AS seqs
        FROM dead_letters
        WHERE topic = 'chat.events'
        GROUP BY producer_id
    ),
    ranges AS
    (
        SELECT
            producer_id,
            'gap' AS kind,
            toNullable(toUInt64(previous + 1)) AS first_seq,
            toNullable(toUInt64(seq - 1)) AS last_seq,
            if(previous = 0, NULL, previous_at) AS after_at,
            toNullable(_broker_time) AS before_at
        FROM
        (
            SELECT
                producer_id,
                seq,
                _broker_time,
                lagInFrame(seq) OVER by_number AS previous,
                lagInFrame(_broker_time) OVER by_number AS previous_at
            FROM events
            WHERE seq > 0 AND producer_id IN (SELECT producer_id FROM producers WHERE stored != last_stored)
            WINDOW by_number AS (PARTITION BY producer_id ORDER BY seq ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
        )
        -- The first events of a producer that is older than the table's memory have expired.
        WHERE seq > previous + 1 AND NOT (previous = 0 AND _broker_time < now() - INTERVAL 89 DAY)
        UNION ALL
        SELECT producer_id, 'end', last_stored + 1, final_seq, last_at, NULL
        FROM producers
        WHERE final_seq > last_stored
        UNION ALL
        SELECT producer_id, 'unclean_end', NULL, NULL, last_at, NULL
        FROM producers
        -- A replay publishes no Health, and its end is the end of its file.
        WHERE final_seq IS NULL AND last_at < now() - INTERVAL 10 MINUTE AND (origin = 'live' OR healths > 0)
    )
SELECT
    producer_id,
    p.service AS service,
    p.origin AS origin,
    r.kind AS kind,
    r.first_seq AS first_seq,
    r.last_seq AS last_seq,
    toUInt64(r.last_seq - r.first_seq + 1) AS missing,
    arrayCount(refused_seq -> refused_seq BETWEEN r.first_seq AND r.last_seq, d.seqs) AS dead_letters,
    (coalesce(r.before_at, r.after_at) < now() - INTERVAL 1 MINUTE)::Bool AS settled,
    r.after_at AS after_at,
    r.before_at AS before_at,
    p.sdk_dropped AS sdk_dropped
FROM ranges AS r
INNER JOIN producers AS p USING (producer_id)
LEFT JOIN refused AS d USING (producer_id)
COMMENT 'What is missing: every range of seq that a producer gave out and that is not stored, and producers that ended without saying so.';
