-- Ack and delete entries: acked entries must not stay (X-33), and nothing may see one half of it.
-- KEYS[1] stream; ARGV[1] group, ARGV[2...] ids. Returns how many were deleted.
redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, 2))
return redis.call('XDEL', KEYS[1], unpack(ARGV, 2))
