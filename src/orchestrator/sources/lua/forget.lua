-- Remove copies of dead letters, newest first: each is named by its entry or by its chunk, and looked for once.
-- KEYS[1] dead; ARGV `entry\0id` or `chunk\0job_id\0chunk_id` ... Returns how many were removed.
local wanted, left = {}, 0
for i = 1, #ARGV do
    if not wanted[ARGV[i]] then
        wanted[ARGV[i]] = true
        left = left + 1
    end
end
local removed, from = 0, '+'
while left > 0 do
    local page = redis.call('XREVRANGE', KEYS[1], from, '-', 'COUNT', 200)
    if #page == 0 then
        break
    end
    for _, entry in ipairs(page) do
        local fields = {}
        for i = 1, #entry[2], 2 do
            fields[entry[2][i]] = entry[2][i + 1]  -- bury.lua appends its own fields: the last of a name counts
        end
        local names = {'entry\0' .. (fields['dead_entry'] or ''),
            'chunk\0' .. (fields['job_id'] or '') .. '\0' .. (fields['chunk_id'] or '')}
        for _, name in ipairs(names) do
            if wanted[name] then
                wanted[name] = nil
                left = left - 1
                removed = removed + redis.call('XDEL', KEYS[1], entry[1])
            end
        end
    end
    from = '(' .. page[#page][1]
end
return removed
