-- Remove consumers that hold nothing: removing one with pending entries would drop them (X-48).
-- KEYS[1] stream; ARGV[1] group, ARGV[2...] names. Returns the names removed.
local idle = {}
for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
    local fields = {}
    for i = 1, #info, 2 do
        fields[info[i]] = info[i + 1]
    end
    idle[fields['name']] = fields['pending'] == 0
end
local removed = {}
for i = 2, #ARGV do
    if idle[ARGV[i]] then
        redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[i])
        removed[#removed + 1] = ARGV[i]
    end
end
return removed
