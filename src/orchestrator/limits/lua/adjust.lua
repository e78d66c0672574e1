-- Change the limit, unless somebody else did since it was read.
-- KEYS[1] state; ARGV[1] version read, ARGV[2] how long the state lives in s, ARGV[3] 1 when the limit is lowered,
-- ARGV[4...] fields and values
if (redis.call('HGET', KEYS[1], 'version') or '0') ~= ARGV[1] then
    return 0
end
redis.call('HSET', KEYS[1], unpack(ARGV, 4))
if ARGV[3] == '1' then
    -- now, and not when the refusal was noted: a call that began in between had the old limit
    local time = redis.call('TIME')
    redis.call('HSET', KEYS[1], 'changed_at', time[1] * 1000 + math.floor(time[2] / 1000))
end
redis.call('HINCRBY', KEYS[1], 'version', 1)
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
