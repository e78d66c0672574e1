-- How often entries were delivered; 0 for one that nobody holds.
-- KEYS[1] stream; ARGV[1] group, ARGV[2...] ids.
local times = {}
for i = 2, #ARGV do
    local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)
    times[#times + 1] = pending[1] and pending[1][4] or 0
end
return times
