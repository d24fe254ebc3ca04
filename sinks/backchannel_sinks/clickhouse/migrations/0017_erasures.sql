-- Erasure: what was asked for, what was done, and what stays so that sums and numbers still add up.

CREATE TABLE IF NOT EXISTS erasures
(
    erasure_id String COMMENT 'its id, as on chat.control',
    step LowCardinality(String) COMMENT 'requested, kept (sums and places are safe), deleted, completed',
    at_us Int64 COMMENT 'when the step was done, microseconds since 1970 UTC',
    subject LowCardinality(String) COMMENT 'user, tenant, conversation',
    subject_keys Array(String) COMMENT 'how events named the subject: the id, and its pseudonyms',
    requested_at_us Int64 COMMENT 'when it was asked for, microseconds since 1970 UTC: what happened later stays',
    requested_by String COMMENT 'who asked for it here',
    removed Map(LowCardinality(String), UInt64) COMMENT 'rows that were removed, by table',
    record String COMMENT 'of a completed one: the completion record, the JSON that is signed',
    key_id String COMMENT 'name of the key that it is signed with',
    signature String COMMENT 'HMAC-SHA-256 of the record, hexadecimal'
)
ENGINE = ReplacingMergeTree(at_us)
ORDER BY (erasure_id, step)
COMMENT 'Every erasure, a row for each step that is done; read it with FINAL. Kept for ever: it is the proof.';

CREATE TABLE IF NOT EXISTS erased_events
(
    erasure_id LowCardinality(String) COMMENT 'which erasure',
    producer_id LowCardinality(String) COMMENT 'which producer sent it',
    service LowCardinality(String) COMMENT 'the bot that sent it',
    seq UInt64 COMMENT 'its number within its producer',
    _producer LowCardinality(String) COMMENT 'who sealed its record',
    _pseq UInt64 COMMENT 'number of its record',
    _origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    _partition UInt16 COMMENT 'partition of chat.events',
    _offset UInt64 COMMENT 'offset of its record' CODEC(Delta, ZSTD(1)),
    _line UInt32 COMMENT 'line in the record, from 0' CODEC(Delta, ZSTD(1)),
    _epoch UInt64 COMMENT 'which creation of the topic, milliseconds since 1970 UTC; 0 when not known',
    _broker_time DateTime64(3, 'UTC') COMMENT 'when the broker had the record' CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree
ORDER BY (_epoch, _partition, _offset, _line)
TTL toDateTime(_broker_time) + INTERVAL 90 DAY
COMMENT 'Where erased events stood, and nothing of what they said: so that they are not taken for lost. Kept for 90 days.';

CREATE TABLE IF NOT EXISTS erased_windows
(
    erasure_id LowCardinality(String) COMMENT 'which erasure',
    origin LowCardinality(String) COMMENT 'live, or replay:<id>',
    window_start DateTime64(0, 'UTC') COMMENT 'first second; the window is 10 seconds long' CODEC(Delta, ZSTD(1)),
    dims Map(LowCardinality(String), String) COMMENT 'dimensions of the events; without the user, and without the tenant where that was erased',
    count UInt64 COMMENT 'interactions, weighted by sample_weight',
    input_tokens UInt64 COMMENT 'tokens in',
    output_tokens UInt64 COMMENT 'tokens out',
    cost_picousd UInt128 COMMENT 'cost, 10^-12 US dollars',
    measures String COMMENT 'everything that windows count of them, as JSON for backchannel verify' CODEC(ZSTD(1)),
    written_at_us Int64 COMMENT 'when, microseconds since 1970 UTC: the newest counts'
)
ENGINE = ReplacingMergeTree(written_at_us)
ORDER BY (origin, window_start, erasure_id, toJSONString(mapSort(dims)))
TTL toDateTime(fromUnixTimestamp64Micro(written_at_us)) + INTERVAL 800 DAY
COMMENT 'What erased events came to, by window: windows keep it, and verify adds it. Read it with FINAL. Kept for 800 days.';

CREATE OR REPLACE VIEW v_erasures
(
    tenant LowCardinality(String) COMMENT 'tenant that a bot asked for; empty when it was asked for here',
    subject String COMMENT 'user, tenant, conversation',
    subject_key String COMMENT 'who asked to be forgotten',
    requested_at DateTime64(6, 'UTC') COMMENT 'when, UTC',
    rows_left UInt64 COMMENT 'rows of events until then that still name them, the request itself left out',
    done Bool COMMENT 'no row is left',
    erasure_id String COMMENT 'the newest erasure that was begun: backchannel erase; empty for none',
    step String COMMENT 'how far it has come: requested, kept, deleted, completed; empty when it was not begun',
    completed_at Nullable(DateTime64(6, 'UTC')) COMMENT 'when its completion was signed, UTC',
    removed UInt64 COMMENT 'rows that it removed from all tables'
)
AS WITH
    begun AS
    (
        SELECT
            e.subject AS subject,
            arrayJoin(e.subject_keys) AS subject_key,
            max(e.requested_at_us) AS asked_us,
            argMax(e.erasure_id, (e.requested_at_us, e.at_us)) AS erasure_id,
            argMax(e.step, (e.requested_at_us, e.at_us)) AS step,
            argMax(if(e.step = 'completed', e.at_us, 0), (e.requested_at_us, e.at_us)) AS completed_us,
            argMax(arraySum(mapValues(e.removed)), (e.requested_at_us, e.at_us)) AS removed
        FROM erasures AS e FINAL
        GROUP BY e.subject, subject_key
    ),
    asked AS
    (
        SELECT subject, subject_key, max(tenant) AS tenant, max(asked_us) AS asked_us FROM
        (
            SELECT subject, subject_key, toString(tenant_id) AS tenant, requested_at_us AS asked_us FROM v_events WHERE event_type = 'erasure'
            UNION ALL
            SELECT subject, subject_key, '', asked_us FROM begun
        )
        GROUP BY subject, subject_key
    ),
    named AS
    (
        SELECT each.1 AS subject, each.2 AS subject_key, at_us FROM
        (
            SELECT
                arrayJoin([('user', user_id), ('tenant', toString(tenant_id)), ('conversation', conversation_id)]) AS each,
                least(ts_us, toUnixTimestamp64Milli(_broker_time) * 1000) AS at_us
            FROM events WHERE event_type != 'erasure'
        )
        WHERE each IN (SELECT (subject, subject_key) FROM asked)
    )
SELECT
    a.tenant AS tenant,
    a.subject AS subject,
    a.subject_key AS subject_key,
    fromUnixTimestamp64Micro(a.asked_us, 'UTC') AS requested_at,
    countIf(n.subject_key != '' AND n.at_us <= a.asked_us) AS rows_left,
    (rows_left = 0)::Bool AS done,
    any(b.erasure_id) AS erasure_id,
    any(b.step) AS step,
    if(any(b.completed_us) = 0, NULL, fromUnixTimestamp64Micro(any(b.completed_us), 'UTC')) AS completed_at,
    any(b.removed) AS removed
FROM asked AS a
LEFT JOIN begun AS b ON b.subject = a.subject AND b.subject_key = a.subject_key
LEFT JOIN named AS n ON n.subject = a.subject AND n.subject_key = a.subject_key
GROUP BY tenant, subject, subject_key, a.asked_us
COMMENT 'Who asked to be forgotten, how far it has come, and how many rows of them are still there.';

-- Only producers whose numbers are not all there are sorted, so it stays cheap where nothing is lost.
-- What a repaired dead letter fills is stored and missing no more, and so is what was erased. Copies of an event do not matter.
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
    numbered AS
    (
        SELECT producer_id, service, _origin, seq, final_seq, _broker_time, event_type, sdk_dropped FROM events
        UNION ALL
        SELECT producer_id, service, _origin, seq, NULL, _broker_time, '', map() FROM erased_events
    ),
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
        FROM numbered
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
            FROM numbered
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
