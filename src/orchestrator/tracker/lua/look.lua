-- How full a queue is, in steps that do not grow with it. A queue that is not there is empty.
-- KEYS[1] stream, KEYS[2] delayed. Returns: entries nobody has read, delayed ones, entries that have left it so far.
local function fields(list)
    local found = {}
    for i = 1, #list, 2 do
        found[list[i]] = list[i + 1]
    end
    return found
end
local delayed = redis.call('ZCARD', KEYS[2])
local info = redis.pcall('XINFO', 'STREAM', KEYS[1])
if info.err then
    return {0, delayed, 0}
end
local stream = fields(info)
local read = 0
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    read = math.max(read, fields(group)['pending'])
end
return {stream['length'] - read, delayed, stream['entries-added'] - stream['length']}
