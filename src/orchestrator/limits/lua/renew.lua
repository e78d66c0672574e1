-- Renew the leases of permits. One that is gone comes back: its call is under way, whatever Redis forgot.
-- KEYS[1] held; ARGV[1] lease ms, ARGV[2...] tickets
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 2, #ARGV do
    redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[i])
end
redis.call('EXPIRE', KEYS[1], math.ceil(ARGV[1] / 1000))
