-- Ends a request once: releases what was reserved and books what it cost, in the counters it was reserved in.
-- KEYS: the gate, the request, the tenant's open requests. The counters are named in the reservation; they have the same hash tag.
-- ARGV: fingerprint, nano-dollars, tokens, place of the result in the log, milliseconds to remember it, request id.
if redis.call('EXISTS', KEYS[1]) == 0 then return {'shut'} end
local known = redis.call('HMGET', KEYS[2], 'fingerprint', 'closed', 'amount', 'held', 'open', 'windows')
if not known[1] then return {'unknown'} end
if known[1] ~= ARGV[1] or known[2] then return {'before'} end
local function negative(amount) return amount == '0' and '0' or '-' .. amount end
local amount, held = negative(known[3]), negative(known[4] or '0')
for counter in string.gmatch(known[6], '[^\n]+') do
  -- A counter that has expired is over; it must not come back as a debt.
  if redis.call('EXISTS', counter) == 1 then
    if string.sub(counter, -9) == '/open/now' then
      if known[5] == '1' and redis.call('HINCRBY', counter, 'open', -1) <= 0 then redis.call('DEL', counter) end
    else
      redis.call('HINCRBY', counter, 'reserved', amount)
      redis.call('HINCRBY', counter, 'settled', ARGV[2])
      if held ~= '0' then redis.call('HINCRBY', counter, 'held', held) end
      if ARGV[3] ~= '0' then redis.call('HINCRBY', counter, 'tokens', ARGV[3]) end
    end
  end
end
-- Written anew, so that Redis keeps the short rest in its compact form.
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[2], 'fingerprint', ARGV[1], 'closed', ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
redis.call('SREM', KEYS[3], ARGV[6])
return {'settled', known[3]}
