-- Ack and delete entries: acked entries must not stay (X-33), and nothing may see one half of it.
-- The ids come as one text: hundreds of arguments cost the caller more.
-- KEYS[1] stream; ARGV[1] group, ARGV[2] ids, a space between them. Returns how many were deleted.
local ids = {}
for id in string.gmatch(ARGV[2], '%S+') do
    ids[#ids + 1] = id
end
local deleted = 0
for first = 1, #ids, 1000 do -- unpack takes no more than a few thousand
    local last = math.min(first + 999, #ids)
    redis.call('XACK', KEYS[1], ARGV[1], unpack(ids, first, last))
    deleted = deleted + redis.call('XDEL', KEYS[1], unpack(ids, first, last))
end
return deleted
