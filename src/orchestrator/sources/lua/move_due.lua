-- Move retries that are due from the sorted set back to the stream.
-- KEYS[1] stream, KEYS[2] delayed; ARGV[1] at most so many. Returns how many were moved.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, ARGV[1])
for _, member in ipairs(due) do
    redis.call('XADD', KEYS[1], '*', unpack(cmsgpack.unpack(member)[2]))
    redis.call('ZREM', KEYS[2], member)
end
return #due
