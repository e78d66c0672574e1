-- Move entries to the dead letters, each with its reason; one that is gone already is passed over.
-- KEYS[1] stream, KEYS[2] dead; ARGV[1] group, ARGV[2] how many dead letters are kept, ARGV[3...] id, reason, id, reason ...
local buried = 0
for i = 3, #ARGV, 2 do
    local id, reason = ARGV[i], ARGV[i + 1]
    local entry = redis.call('XRANGE', KEYS[1], id, id)
    if entry[1] then
        local fields = entry[1][2]
        fields[#fields + 1] = 'dead_reason'
        fields[#fields + 1] = reason
        fields[#fields + 1] = 'dead_entry'
        fields[#fields + 1] = id
        redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', unpack(fields))
        buried = buried + 1
    end
    redis.call('XACK', KEYS[1], ARGV[1], id)
    redis.call('XDEL', KEYS[1], id)
end
return buried
