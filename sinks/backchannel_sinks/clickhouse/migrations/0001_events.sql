-- Every event, one row each: one column a field, whatever the type of the event.
-- A field that an event does not have is empty, NULL, or what its default says; the defaults are
-- those of the event models, since the wire leaves out what has its default.
-- LowCardinality is for what people group by; it costs at every insert, also where it is empty.
CREATE TABLE IF NOT EXISTS events
(
    event_type LowCardinality(String) COMMENT 'interaction, llm_call, retrieval, tool_call, component, evaluation, feedback, exposure, product, error, health, security, marker, erasure',

    -- Envelope: every event has these.
    event_id UUID COMMENT 'unique id of the event, a UUID (version 7 from our SDK)',
    ts_us Int64 COMMENT 'event time, microseconds since 1970 UTC' CODEC(Delta, ZSTD(1)),
    ts DateTime64(6, 'UTC') MATERIALIZED fromUnixTimestamp64Micro(ts_us, 'UTC') COMMENT 'event time, UTC' CODEC(Delta, ZSTD(1)),
    schema_version UInt16 DEFAULT 1 COMMENT 'major version of the event schema',
    producer_id LowCardinality(String) COMMENT 'which producer sent it',
    seq UInt64 COMMENT 'number of the event within its producer, from 1, gap-free: a gap is a loss',
    tenant_id LowCardinality(String) DEFAULT 'default' COMMENT 'tenant',
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
    sample_weight UInt32 DEFAULT 1 COMMENT 'events that this row stands for: n when one in n was kept; multiply counts and sums by it',
    experiment_id LowCardinality(String) COMMENT 'experiment',
    variant LowCardinality(String) COMMENT 'variant that the user saw',
    prompt_name LowCardinality(String) COMMENT 'prompt template',
    prompt_version String COMMENT 'its version',

    -- Tokens and cost: interaction, llm_call.
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

    -- interaction; some also on other types.
    endpoint LowCardinality(String) COMMENT 'route or feature of the bot',
    http_method String COMMENT 'HTTP method',
    http_status Nullable(UInt64) COMMENT 'HTTP status',
    status LowCardinality(String) DEFAULT if(event_type IN ('interaction', 'llm_call', 'retrieval', 'tool_call', 'component', 'evaluation'), 'ok', '') COMMENT 'ok, error, timeout, cancelled, rate_limited, blocked; empty for types that have none. Errors are error, timeout and rate_limited',
    error_type LowCardinality(String) COMMENT 'class of the error',
    error_message String COMMENT 'the error in words' CODEC(ZSTD(1)),
    duration_us UInt64 COMMENT 'how long it took, microseconds',
    ttft_us Nullable(UInt64) COMMENT 'time to the first token, microseconds',
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

    -- llm_call.
    operation LowCardinality(String) DEFAULT if(event_type = 'llm_call', 'chat', '') COMMENT 'kind of call: chat, embeddings, …',
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

    -- retrieval.
    data_source_id String COMMENT 'index or store that was searched',
    index_version String COMMENT 'its version',
    embedding_model String COMMENT 'model of the embeddings',
    query_hash String COMMENT 'hash of the query',
    top_k Nullable(UInt64) COMMENT 'documents asked for',
    documents Array(Tuple(id String, score Nullable(Int64), rank Nullable(UInt64), source String)) COMMENT 'what was found; score in millionths',
    embed_us Nullable(UInt64) COMMENT 'time to embed the query, microseconds',
    search_us Nullable(UInt64) COMMENT 'time to search, microseconds',

    -- tool_call.
    tool_name LowCardinality(String) COMMENT 'tool',
    tool_type String COMMENT 'kind of tool',
    call_id String COMMENT 'the model''s id of the call',

    -- component, evaluation, product.
    name LowCardinality(String) COMMENT 'name of the component, score or product event',

    -- evaluation, feedback.
    target_event_id String COMMENT 'event that is judged',
    value Nullable(Int64) COMMENT 'score or rating, millionths',
    label String COMMENT 'score as a word',
    explanation String COMMENT 'why this score' CODEC(ZSTD(1)),
    scale_min Nullable(Int64) COMMENT 'least possible value, millionths',
    scale_max Nullable(Int64) COMMENT 'greatest possible value, millionths',
    higher_is_better Bool DEFAULT true COMMENT 'direction of the scale',
    source LowCardinality(String) COMMENT 'who judged: llm_judge, heuristic, human, user',
    evaluator String COMMENT 'name of the judge',
    evaluator_model String COMMENT 'its model',
    dataset_id String COMMENT 'dataset',
    dataset_item_id String COMMENT 'item of the dataset',
    kind LowCardinality(String) COMMENT 'kind of feedback, security event or marker',
    comment String COMMENT 'what the user wrote' CODEC(ZSTD(1)),

    -- product.
    distinct_id String COMMENT 'person in the product analytics',
    url String COMMENT 'page' CODEC(ZSTD(1)),
    feature String COMMENT 'feature',
    properties Map(String, String) COMMENT 'free facts by name',

    -- error.
    exception_type String COMMENT 'class of the exception',
    message String COMMENT 'message' CODEC(ZSTD(1)),
    stacktrace String COMMENT 'stack trace' CODEC(ZSTD(1)),
    fingerprint String COMMENT 'groups equal errors',
    level LowCardinality(String) DEFAULT if(event_type = 'error', 'error', '') COMMENT 'debug, info, warning, error, fatal',
    handled Bool DEFAULT true COMMENT 'the code caught it',
    component String COMMENT 'part of the bot',

    -- health.
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

    -- security.
    outcome String COMMENT 'allowed, blocked, flagged',
    principal_hash String COMMENT 'hash of who',
    source_ip_hash String COMMENT 'hash of where from',
    detail String COMMENT 'detail' CODEC(ZSTD(1)),

    -- marker.
    title String COMMENT 'title of the marker',

    -- erasure.
    subject String COMMENT 'user, tenant, conversation',
    subject_key String COMMENT 'who asked to be forgotten',
    requested_at_us Int64 COMMENT 'when, microseconds since 1970 UTC',

    -- Where it stood in Kafka. (_epoch, _partition, _offset, _line) is unique.
    _partition UInt16 COMMENT 'partition of chat.events',
    _offset UInt64 COMMENT 'offset of the record' CODEC(Delta, ZSTD(1)),
    _line UInt32 COMMENT 'line in the record, from 0' CODEC(Delta, ZSTD(1)),
    _broker_time DateTime64(3, 'UTC') COMMENT 'when the broker had the record: the second clock of every event' CODEC(Delta, ZSTD(1)),
    _producer LowCardinality(String) COMMENT 'who sealed the record, as its header says; empty for a record without a number',
    _pseq UInt64 COMMENT 'number of the record within its producer and partition, from 1; 0 for none' CODEC(Delta, ZSTD(1)),
    _origin LowCardinality(String) DEFAULT 'live' COMMENT 'live, or replay:<id> for recorded traffic',
    _epoch UInt64 COMMENT 'which creation of the topic, milliseconds since 1970 UTC; 0 when not known',

    -- The backstop. Events are judged before they come here; what nobody could judge stays out.
    CONSTRAINT event_type_is_known CHECK event_type IN ('interaction', 'llm_call', 'retrieval', 'tool_call', 'component', 'evaluation', 'feedback', 'exposure', 'product', 'error', 'health', 'security', 'marker', 'erasure'),
    CONSTRAINT event_id_is_given CHECK event_id != toUUID('00000000-0000-0000-0000-000000000000'),
    CONSTRAINT ts_us_is_in_range CHECK ts_us >= 0 AND ts_us < 7258118400000000,
    -- What the windows read of an event has the bounds of the contract here too: a stamp that
    -- promises too much is found out, and its lines are judged.
    CONSTRAINT counts_are_in_range CHECK duration_us <= 1099511627776 AND input_tokens <= 1099511627776 AND output_tokens <= 1099511627776,
    CONSTRAINT labels_are_in_range CHECK lengthUTF8(tenant_id) <= 256 AND lengthUTF8(endpoint) <= 256 AND lengthUTF8(model) <= 256 AND lengthUTF8(error_type) <= 256,
    CONSTRAINT status_is_known CHECK status IN ('', 'ok', 'error', 'timeout', 'cancelled', 'rate_limited', 'blocked'),
    CONSTRAINT sample_weight_is_in_range CHECK sample_weight BETWEEN 1 AND 1000000
)
ENGINE = MergeTree
-- By the broker's clock, not the event's: a bot whose clock is wrong, or a replay of last year,
-- would else make hundreds of partitions, or rows that expire on arrival.
PARTITION BY toYYYYMM(_broker_time)
ORDER BY (event_type, tenant_id, ts)
TTL toDateTime(_broker_time) + INTERVAL 90 DAY
SETTINGS non_replicated_deduplication_window = 100000,
    -- Most of the columns are empty in most rows: one file for all of them makes an insert a
    -- quarter cheaper than two files each. Merges make wide parts as soon as it pays.
    min_bytes_for_wide_part = 268435456
COMMENT 'Every event, one row each. Kept for 90 days.';
