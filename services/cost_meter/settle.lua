-- Ends a request once: releases what was reserved and books what it cost, in the windows it was reserved in.
-- KEYS: the request, the tenant's open requests. The counters are named in the reservation; they have the same hash tag.
-- ARGV: fingerprint, cost, place of the result in the log, milliseconds to remember it, request id.
local known = redis.call('HMGET', KEYS[1], 'fingerprint', 'closed', 'amount', 'windows')
if known[1] ~= ARGV[1] or known[2] then return 0 end
local release = known[3] == '0' and '0' or '-' .. known[3]
for window in string.gmatch(known[4], '[^\n]+') do
  -- A window that has expired is over; it must not come back as a debt.
  if redis.call('EXISTS', window) == 1 then
    redis.call('HINCRBY', window, 'reserved', release)
    redis.call('HINCRBY', window, 'settled', ARGV[2])
  end
end
-- Written anew, so that Redis keeps the short rest in its compact form.
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'closed', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('SREM', KEYS[2], ARGV[5])
return 1
