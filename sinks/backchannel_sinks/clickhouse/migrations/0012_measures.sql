-- Every measure of the stream: the columns are the fields of the window model, and a test holds them
-- to it. What no event spoke of is 0 or empty.
--
-- How they add up over rows (one grouping, one window_s, rows read with FINAL):
--   a number        sum(unpriced)
--   a map of counts sumMap(by_status)
--   a distribution  sum(ttft.count), sum(ttft.sum), minIf(ttft.min, ttft.count > 0), max(ttft.max),
--                   sumMap(ttft.buckets); percentiles from the buckets with bc_quantile
--   a map of them   the same after ARRAY JOIN mapKeys(components) AS name, mapValues(components)
--   registers       maxMap(users): the estimate is made from the registers of the union
--   event ids       only the rows' own: they do not say by what they were chosen
ALTER TABLE metric_windows
    ADD COLUMN IF NOT EXISTS by_status Map(LowCardinality(String), UInt64) COMMENT 'interactions by status: cancelled and blocked are no errors' CODEC(ZSTD(1)) AFTER latency_buckets,
    ADD COLUMN IF NOT EXISTS http_4xx UInt64 COMMENT 'interactions with an HTTP status from 400 to 499' AFTER by_status,
    ADD COLUMN IF NOT EXISTS http_5xx UInt64 COMMENT 'interactions with an HTTP status of 500 and above' AFTER http_4xx,
    ADD COLUMN IF NOT EXISTS cache_read_tokens UInt64 COMMENT 'tokens read from a cache, part of input_tokens' AFTER http_5xx,
    ADD COLUMN IF NOT EXISTS cache_write_tokens UInt64 COMMENT 'tokens written to a cache, part of input_tokens' AFTER cache_read_tokens,
    ADD COLUMN IF NOT EXISTS reasoning_tokens UInt64 COMMENT 'tokens of reasoning, part of output_tokens' AFTER cache_write_tokens,
    ADD COLUMN IF NOT EXISTS cost_picousd UInt128 COMMENT 'cost of interactions whose cost is known, 10^-12 US dollars' AFTER reasoning_tokens,
    ADD COLUMN IF NOT EXISTS priced UInt64 COMMENT 'interactions whose cost is known' AFTER cost_picousd,
    ADD COLUMN IF NOT EXISTS unpriced UInt64 COMMENT 'interactions whose price is unknown: cost_picousd has nothing of them' AFTER priced,
    ADD COLUMN IF NOT EXISTS fallbacks UInt64 COMMENT 'interactions that a fallback answered' AFTER unpriced,
    ADD COLUMN IF NOT EXISTS cache_hits UInt64 COMMENT 'interactions that were answered from a cache' AFTER fallbacks,
    ADD COLUMN IF NOT EXISTS cache_lookups UInt64 COMMENT 'interactions that say whether they were: cache_hits is a share of these' AFTER cache_hits,
    ADD COLUMN IF NOT EXISTS ttft Tuple(count UInt64, sum UInt64, min UInt64, max UInt64, buckets Map(Int16, UInt64)) COMMENT 'time to the first token of interactions that have one, microseconds' CODEC(ZSTD(1)) AFTER cache_lookups,
    ADD COLUMN IF NOT EXISTS generated_tokens UInt64 COMMENT 'output tokens of interactions that took time to generate them' AFTER ttft,
    ADD COLUMN IF NOT EXISTS generation_us UInt64 COMMENT 'that time, duration less time to first token, microseconds: generated_tokens over it is the speed' AFTER generated_tokens,
    ADD COLUMN IF NOT EXISTS components Map(LowCardinality(String), Tuple(count UInt64, sum UInt64, min UInt64, max UInt64, buckets Map(Int16, UInt64))) COMMENT 'time in each component of interactions by name, microseconds; __unaccounted__ is the rest of the turn, where components were measured. Beyond 32 names __other__' CODEC(ZSTD(1)) AFTER generation_us,
    ADD COLUMN IF NOT EXISTS llm_latency Tuple(count UInt64, sum UInt64, min UInt64, max UInt64, buckets Map(Int16, UInt64)) COMMENT 'duration of calls to a model, microseconds; its count is the number of calls' CODEC(ZSTD(1)) AFTER components,
    ADD COLUMN IF NOT EXISTS llm_ttft Tuple(count UInt64, sum UInt64, min UInt64, max UInt64, buckets Map(Int16, UInt64)) COMMENT 'time to the first token of calls to a model, microseconds' CODEC(ZSTD(1)) AFTER llm_latency,
    ADD COLUMN IF NOT EXISTS output_rate Tuple(count UInt64, sum UInt64, min UInt64, max UInt64, buckets Map(Int16, UInt64)) COMMENT 'output tokens in 1,000 seconds of generation (duration less time to first token), of calls to a model: 25,000 is 25 tokens a second' CODEC(ZSTD(1)) AFTER llm_ttft,
    ADD COLUMN IF NOT EXISTS llm_errors UInt64 COMMENT 'calls to a model with status error, timeout or rate_limited' AFTER output_rate,
    ADD COLUMN IF NOT EXISTS llm_retries UInt64 COMMENT 'failed calls before a call' AFTER llm_errors,
    ADD COLUMN IF NOT EXISTS llm_input_tokens UInt64 COMMENT 'tokens in, of calls to a model. Interactions count the same tokens: never add the two' AFTER llm_retries,
    ADD COLUMN IF NOT EXISTS llm_output_tokens UInt64 COMMENT 'tokens out, of calls to a model' AFTER llm_input_tokens,
    ADD COLUMN IF NOT EXISTS llm_cache_read_tokens UInt64 COMMENT 'tokens read from a cache, of calls to a model' AFTER llm_output_tokens,
    ADD COLUMN IF NOT EXISTS llm_reasoning_tokens UInt64 COMMENT 'tokens of reasoning, of calls to a model' AFTER llm_cache_read_tokens,
    ADD COLUMN IF NOT EXISTS llm_cost_picousd UInt128 COMMENT 'cost of calls to a model whose cost is known, 10^-12 US dollars' AFTER llm_reasoning_tokens,
    ADD COLUMN IF NOT EXISTS llm_priced UInt64 COMMENT 'calls to a model whose cost is known' AFTER llm_cost_picousd,
    ADD COLUMN IF NOT EXISTS llm_unpriced UInt64 COMMENT 'calls to a model whose price is unknown' AFTER llm_priced,
    ADD COLUMN IF NOT EXISTS retrieval_latency Tuple(count UInt64, sum UInt64, min UInt64, max UInt64, buckets Map(Int16, UInt64)) COMMENT 'duration of retrievals, microseconds; its count is the number of retrievals' CODEC(ZSTD(1)) AFTER llm_unpriced,
    ADD COLUMN IF NOT EXISTS retrieval_score Tuple(count UInt64, sum UInt64, min UInt64, max UInt64, buckets Map(Int16, UInt64)) COMMENT 'best score of the documents of a retrieval, millionths; a negative one counts as 0' CODEC(ZSTD(1)) AFTER retrieval_latency,
    ADD COLUMN IF NOT EXISTS retrieval_errors UInt64 COMMENT 'retrievals with status error, timeout or rate_limited' AFTER retrieval_score,
    ADD COLUMN IF NOT EXISTS retrieval_empty UInt64 COMMENT 'retrievals with status ok that found nothing' AFTER retrieval_errors,
    ADD COLUMN IF NOT EXISTS tool_latency Tuple(count UInt64, sum UInt64, min UInt64, max UInt64, buckets Map(Int16, UInt64)) COMMENT 'duration of tool calls, microseconds; its count is the number of calls' CODEC(ZSTD(1)) AFTER retrieval_empty,
    ADD COLUMN IF NOT EXISTS tool_errors UInt64 COMMENT 'tool calls with status error, timeout or rate_limited' AFTER tool_latency,
    ADD COLUMN IF NOT EXISTS evaluations Map(LowCardinality(String), Tuple(count UInt64, sum Int64, min Int64, max Int64)) COMMENT 'evaluation scores by name, millionths. Beyond 32 names __other__' CODEC(ZSTD(1)) AFTER tool_errors,
    ADD COLUMN IF NOT EXISTS evaluation_errors UInt64 COMMENT 'judgements that failed: evaluations has nothing of them' AFTER evaluations,
    ADD COLUMN IF NOT EXISTS feedback Map(LowCardinality(String), Tuple(count UInt64, sum Int64, min Int64, max Int64)) COMMENT 'feedback by kind, millionths; one without a value counts as 0' CODEC(ZSTD(1)) AFTER evaluation_errors,
    ADD COLUMN IF NOT EXISTS gauges Map(LowCardinality(String), Tuple(count UInt64, sum Int64, min Int64, max Int64)) COMMENT 'what health events say: cpu, memory, disk (millionths), event_loop_lag_us, process_rss_bytes, in_flight_requests, active_sessions, queue:<name>, gauge:<name>. Beyond 32 names __other__' CODEC(ZSTD(1)) AFTER feedback,
    ADD COLUMN IF NOT EXISTS exceptions UInt64 COMMENT 'error events of level error or fatal' AFTER gauges,
    ADD COLUMN IF NOT EXISTS active_users UInt64 COMMENT 'users of interactions, estimated from users: within 3.3 % in 95 of 100 windows' AFTER exceptions,
    ADD COLUMN IF NOT EXISTS users Map(UInt16, UInt8) COMMENT 'HyperLogLog registers of the users (p = 12, XXH64 seed 0): merge by maximum' CODEC(ZSTD(1)) AFTER active_users,
    ADD COLUMN IF NOT EXISTS active_sessions UInt64 COMMENT 'sessions of interactions, estimated from sessions' AFTER users,
    ADD COLUMN IF NOT EXISTS sessions Map(UInt16, UInt8) COMMENT 'HyperLogLog registers of the sessions' CODEC(ZSTD(1)) AFTER active_sessions,
    ADD COLUMN IF NOT EXISTS slowest Array(String) COMMENT 'event ids of the slowest interactions, the slowest first' CODEC(ZSTD(1)) AFTER sessions,
    ADD COLUMN IF NOT EXISTS costliest Array(String) COMMENT 'event ids of the costliest interactions, the costliest first' CODEC(ZSTD(1)) AFTER slowest,
    ADD COLUMN IF NOT EXISTS failing Array(String) COMMENT 'event ids of the newest interactions that are errors, the newest first' CODEC(ZSTD(1)) AFTER costliest;
