-- Ends a request once: releases what was reserved and books what it cost, in the counters it was reserved in.
-- KEYS: the gate, the request. The other keys are of the same tenant.
-- ARGV: one text of lines: fingerprint, nano-dollars, tokens, place of the result in the log, milliseconds to remember it, request id.
if redis.call('EXISTS', KEYS[1]) == 0 then return {'shut'} end
local line = {}
for text in string.gmatch(ARGV[1], '[^\n]+') do line[#line + 1] = text end
local known = redis.call('HMGET', KEYS[2], 'fingerprint', 'closed', 'amount', 'held', 'open', 'windows')
if not known[1] then return {'unknown'} end
if known[1] ~= line[1] or known[2] then return {'before'} end

local tenant = string.match(KEYS[2], '^[^/]*/')
local function negative(amount) return amount == '0' and '0' or '-' .. amount end
local amount, held = negative(known[3]), negative(known[4] or '0')
for path in string.gmatch(known[6], '[^\n]+') do
  -- Until version 2 the whole key was written down.
  local key = string.sub(path, 1, 1) == '{' and path or tenant .. 'spent/' .. path
  -- A counter that has expired is over; it must not come back as a debt.
  if redis.call('EXISTS', key) == 1 then
    if string.sub(path, -9) == '/open/now' then
      if known[5] == '1' and redis.call('HINCRBY', key, 'open', -1) <= 0 then redis.call('DEL', key) end
    else
      redis.call('HINCRBY', key, 'reserved', amount)
      redis.call('HINCRBY', key, 'settled', line[2])
      if held ~= '0' then redis.call('HINCRBY', key, 'held', held) end
      if line[3] ~= '0' then redis.call('HINCRBY', key, 'tokens', line[3]) end
    end
  end
end
-- Written anew, so that Redis keeps the short rest in its compact form.
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[2], 'fingerprint', line[1], 'closed', line[4])
redis.call('PEXPIRE', KEYS[2], line[5])
redis.call('SREM', tenant .. 'open', line[6])
return {'settled', known[3]}
