-- Write the fast view of a job, unless a newer version is there already; its life begins anew with each write.
-- KEYS[1] the view; ARGV[1] version, ARGV[2] life in seconds, ARGV[3...] field, value, field, value ...
local have = tonumber(redis.call('HGET', KEYS[1], 'version') or '-1')
if have > tonumber(ARGV[1]) then
    return 0
end
redis.call('HSET', KEYS[1], 'version', ARGV[1], unpack(ARGV, 3))
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
