-- Forget tickets, granted or not.
-- KEYS[1...] held, waiting, asked; ARGV tickets
for _, key in ipairs(KEYS) do
    redis.call('ZREM', key, unpack(ARGV))
end
