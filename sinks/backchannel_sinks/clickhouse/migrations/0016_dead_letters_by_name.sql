-- Dead letters as people handle them: each with a name, and whether it was sent back.
-- A letter that is sent back is a record whose producer is the letter, so its events say so.
CREATE OR REPLACE VIEW v_dead_letters
(
    letter String COMMENT 'its name: topic/partition/offset/line of the original',
    at DateTime64(3, 'UTC') COMMENT 'when the broker had the original record, UTC',
    topic LowCardinality(String) COMMENT 'topic of the original record',
    partition UInt16 COMMENT 'its partition',
    offset UInt64 COMMENT 'its offset',
    line UInt32 COMMENT 'line in the record, from 0',
    stage LowCardinality(String) COMMENT 'who refused it: sink, notifier',
    reason String COMMENT 'why it could not be used',
    value String COMMENT 'the line, cut at 512 KB; bytes that are no UTF-8 as \\xNN',
    whole Bool COMMENT 'value is the line byte for byte',
    producer String COMMENT 'the producer of the record that it becomes when it is sent back: _producer of its event',
    requeued Bool COMMENT 'it was sent back, and events has it'
)
AS SELECT
    concat(topic, '/', toString(partition), '/', toString(offset), '/', toString(line)) AS letter,
    broker_time AS at,
    topic,
    partition,
    offset,
    line,
    stage,
    reason,
    value,
    (lower(hex(SHA256(value))) = value_sha256)::Bool AS whole,
    -- With its time: when the topic is made anew, offsets begin again.
    concat('dead:', letter, '@', toString(toUnixTimestamp64Milli(broker_time))) AS producer,
    (producer IN (SELECT _producer FROM events WHERE startsWith(_producer, 'dead:')))::Bool AS requeued
FROM dead_letters FINAL
COMMENT 'What could not be used, each line with its name, and whether it was mended and sent back: `backchannel dead`.';
