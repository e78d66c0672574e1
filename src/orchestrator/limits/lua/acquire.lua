-- Ask for a permit: granted when the endpoint is not blocked, a call may begin, who asked before has one, and the caps
-- allow it; else the ticket keeps its place in the queue. A ticket that is not asked for again leaves it by itself.
-- KEYS[1] state, KEYS[2] held, KEYS[3] waiting, KEYS[4] asked, KEYS[5] index
-- ARGV: 1 ticket, 2 lease ms, 3 ceiling, 4 initial, 5 tokens, 6 and 7 requests at once and per ms, 8 and 9 tokens at
-- once and per ms, 10 endpoint, 11 about it, 12 how long a ticket waits in ms, 13 how long the state lives in s
-- Returns granted, now in ms, calls under way, limit, how many come before (granted: how many wait), ms to wait
-- (-1: unknown), ms blocked.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ticket, ceiling, life = ARGV[1], tonumber(ARGV[3]), ARGV[13]

local function number(text, otherwise)
    return tonumber(text or '') or otherwise
end

-- What a bucket holds now; one without capacity never runs dry.
local function filled(level, at, capacity, rate)
    return math.min(capacity, number(level, capacity) + (now - number(at, now)) * rate)
end

local known = redis.call('HMGET', KEYS[1], 'limit', 'peak', 'blocked', 'requests', 'requests_at', 'tokens', 'tokens_at',
    'about')
if not known[1] then
    known[1] = math.min(tonumber(ARGV[4]), ceiling)
    redis.call('HSET', KEYS[1], 'limit', known[1], 'window', known[1])
end
if known[8] ~= ARGV[11] then
    redis.call('HSET', KEYS[1], 'about', ARGV[11])
end
redis.call('EXPIRE', KEYS[1], life)
redis.call('ZADD', KEYS[5], now, ARGV[10])
redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', now - life * 1000)
redis.call('EXPIRE', KEYS[5], life)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', now)) do
    redis.call('ZREM', KEYS[3], gone)
    redis.call('ZREM', KEYS[4], gone)
end

local limit = math.min(tonumber(known[1]), ceiling)
local used = redis.call('ZCARD', KEYS[2])
if redis.call('ZSCORE', KEYS[2], ticket) then
    -- asked again, because the answer was lost: it must not wait for itself
    return {1, now, used, limit, redis.call('ZCARD', KEYS[3]), 0, 0}
end
local before = redis.call('ZRANK', KEYS[3], ticket) or redis.call('ZCARD', KEYS[3])
local blocked = math.max(0, number(known[3], 0) - now)
local wait = -1
local capacity, rate = tonumber(ARGV[6]), tonumber(ARGV[7])
local token_capacity, token_rate = tonumber(ARGV[8]), tonumber(ARGV[9])
local requests = filled(known[4], known[5], capacity, rate)
local tokens = filled(known[6], known[7], token_capacity, token_rate)
if blocked > 0 then
    wait = blocked
elseif before < limit - used then
    wait = 0
    -- who comes before may need as much; a call larger than the bucket goes when that is full
    if capacity > 0 and requests < before + 1 then
        wait = math.ceil((before + 1 - requests) / rate)
    end
    local need = math.min(tonumber(ARGV[5]) * (before + 1), token_capacity)
    if token_capacity > 0 and tokens < need then
        wait = math.max(wait, math.ceil((need - tokens) / token_rate))
    end
end

if wait ~= 0 then
    if not redis.call('ZSCORE', KEYS[3], ticket) then
        redis.call('ZADD', KEYS[3], redis.call('HINCRBY', KEYS[1], 'tickets', 1), ticket)
    end
    redis.call('ZADD', KEYS[4], now + ARGV[12], ticket)
    redis.call('EXPIRE', KEYS[3], math.ceil(ARGV[12] / 1000))
    redis.call('EXPIRE', KEYS[4], math.ceil(ARGV[12] / 1000))
    return {0, now, used, limit, before, wait, blocked}
end
redis.call('ZREM', KEYS[3], ticket)
redis.call('ZREM', KEYS[4], ticket)
redis.call('ZADD', KEYS[2], now + ARGV[2], ticket)
redis.call('EXPIRE', KEYS[2], math.ceil(ARGV[2] / 1000))
if used + 1 > number(known[2], 0) then
    redis.call('HSET', KEYS[1], 'peak', used + 1)
end
if capacity > 0 then
    redis.call('HSET', KEYS[1], 'requests', requests - 1, 'requests_at', now)
end
if token_capacity > 0 then
    redis.call('HSET', KEYS[1], 'tokens', tokens - ARGV[5], 'tokens_at', now)
end
return {1, now, used + 1, limit, redis.call('ZCARD', KEYS[3]), 0, 0}
