-- Ack and delete entries whose chunks the ledger did not give us, as far as they are still ours: whoever has one by now may
-- be at work under it.
-- KEYS[1] stream; ARGV[1] group, ARGV[2...] id, consumer, which delivery of it, id ... Returns how many were deleted.
local deleted = 0
for i = 2, #ARGV, 3 do
    local id, consumer, times = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
    local pending = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)
    if pending[1] and pending[1][2] == consumer and pending[1][4] == times then
        redis.call('XACK', KEYS[1], ARGV[1], id)
        deleted = deleted + redis.call('XDEL', KEYS[1], id)
    end
end
return deleted
