-- Renew leases: only of entries that are still the consumer's own, and without counting a delivery (JUSTID).
-- KEYS[1] stream; ARGV[1] group, ARGV[2...] id, consumer, id, consumer ... Returns the ids that are not.
local lost = {}
for i = 2, #ARGV, 2 do
    local id, consumer = ARGV[i], ARGV[i + 1]
    local pending = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)
    if pending[1] and pending[1][2] == consumer then
        redis.call('XCLAIM', KEYS[1], ARGV[1], consumer, 0, id, 'JUSTID')
    else
        lost[#lost + 1] = id
    end
end
return lost
