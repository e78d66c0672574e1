-- Append entries. They come as one JSON text: thousands of arguments cost the caller more.
-- KEYS[1] stream; ARGV[1] runs of entries: the fields they have in common and the name of one more; the values of that one.
for _, run in ipairs(cjson.decode(ARGV[1])) do
    local entry, values = run[1], run[2]
    local last = #entry + 1
    for _, value in ipairs(values) do
        entry[last] = value
        redis.call('XADD', KEYS[1], '*', unpack(entry))
    end
end
