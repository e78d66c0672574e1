-- Give entries back: at once (a new entry) or when they are due (the sorted set). An entry that is gone, or was delivered
-- again by now, is passed over, so that a second call adds nothing.
-- KEYS[1] stream, KEYS[2] delayed; ARGV[1] group, ARGV[2...] id, consumer, which delivery of it, delay in ms, id ...
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local given = 0
for i = 2, #ARGV, 4 do
    local id, consumer, times, delay = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
    local pending = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)
    local entry = redis.call('XRANGE', KEYS[1], id, id)
    if pending[1] and pending[1][2] == consumer and pending[1][4] == times and entry[1] then
        if delay > 0 then
            redis.call('ZADD', KEYS[2], now + delay, cmsgpack.pack({id, entry[1][2]}))
        else
            redis.call('XADD', KEYS[1], '*', unpack(entry[1][2]))
        end
        redis.call('XACK', KEYS[1], ARGV[1], id)
        redis.call('XDEL', KEYS[1], id)
        given = given + 1
    end
end
return given
