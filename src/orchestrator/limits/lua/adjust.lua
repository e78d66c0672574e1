-- Change the limit, unless somebody else did since it was read.
-- KEYS[1] state; ARGV[1] version read, ARGV[2] how long the state lives in s, ARGV[3...] fields and values
if (redis.call('HGET', KEYS[1], 'version') or '0') ~= ARGV[1] then
    return 0
end
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
redis.call('HINCRBY', KEYS[1], 'version', 1)
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
