-- Give a permit back and note what came of the call, and of those made before under the same ticket.
-- KEYS[1] state, KEYS[2] held
-- ARGV: 1 ticket, 2 outcome (answered, refused, nothing), 3 when it was granted in ms, 4 how long each call that was
-- answered took in ms, the latest first, 5 ms for which nobody may call, 6 tokens asked for and not used, 7 tokens at once,
-- 8 answers kept, 9 how long the state lives in s
-- Returns now in ms, and, when the limit is to be looked at, version, limit, peak, answers, changed_at, too_much,
-- baseline in ms, the latest answers in ms.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local first = redis.call('ZREM', KEYS[2], ARGV[1]) == 1
if not first and ARGV[2] ~= 'refused' then
    return {now} -- noted already and told again, because the answer was lost; or its lease had ended
end
local known = redis.call('HMGET', KEYS[1], 'version', 'limit', 'peak', 'answers', 'changed_at', 'too_much', 'baseline',
    'samples', 'window', 'blocked', 'tokens')
if not known[2] then -- Redis was emptied: nothing is known, and this call belongs to what was
    if ARGV[2] == 'refused' and tonumber(ARGV[5]) > 0 then
        redis.call('HSET', KEYS[1], 'blocked', now + ARGV[5])
        redis.call('EXPIRE', KEYS[1], ARGV[9])
    end
    return {now}
end
for i = 1, 7 do
    known[i] = tonumber(known[i] or '') or 0
end
if first and known[11] and ARGV[6] ~= '0' then
    redis.call('HSET', KEYS[1], 'tokens', math.min(tonumber(ARGV[7]), tonumber(known[11]) + ARGV[6]))
end
local due = false
if first and ARGV[4] ~= '' then
    local samples, answers = {}, 0
    for i, times in ipairs({ARGV[4], known[8] or ''}) do
        for sample in string.gmatch(times, '[^,]+') do
            if #samples < tonumber(ARGV[8]) then
                samples[#samples + 1] = sample
            end
            if i == 1 then
                answers = answers + 1
            end
        end
    end
    known[8] = table.concat(samples, ',')
    known[4] = known[4] + answers
    redis.call('HSET', KEYS[1], 'samples', known[8], 'answers', known[4])
    due = known[4] >= tonumber(known[9])
end
if ARGV[2] == 'refused' then
    if first then
        redis.call('HINCRBY', KEYS[1], 'refused', 1)
    end
    local blocked = now + ARGV[5]
    if tonumber(ARGV[5]) > 0 and blocked > (tonumber(known[10] or '') or 0) then
        redis.call('HSET', KEYS[1], 'blocked', blocked)
    end
    due = tonumber(ARGV[3]) > known[5]
end
redis.call('EXPIRE', KEYS[1], ARGV[9])
if not due then
    return {now}
end
return {now, known[1], known[2], known[3], known[4], known[5], known[6], known[7], known[8] or ''}
