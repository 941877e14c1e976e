-- Decides a request once, in all its windows or in none.
-- KEYS: the request, the tenant's open requests, the tenant's windows by expiry, then one counter a window.
-- ARGV: fingerprint, amount, decision if there is room, request id, moment (ms), then for each window: limit, milliseconds to
-- keep it ('' for ever), decision if it has no room.
-- Counters are 64-bit and stay strings. Lua compares doubles: limits and amounts are below 2^53 and so exact, and a larger
-- counter, rounded, still compares as larger.
local known = redis.call('HMGET', KEYS[1], 'fingerprint', 'closed', 'decision', 'settled', 'reserved')
if known[1] then
  if known[1] ~= ARGV[1] then return {'reused', known[2]} end
  if known[2] then return {'closed', known[2]} end
  return {'repeated', known[3], known[4], known[5]}
end

local amount, decision, settled, reserved = ARGV[2], ARGV[3], '0', '0'
local new = {}
local full = false
for i = 4, #KEYS do
  local counter = redis.call('HMGET', KEYS[i], 'settled', 'reserved')
  new[i] = not counter[2]
  local used = tonumber(counter[1] or 0) + tonumber(counter[2] or 0)
  local at = 6 + (i - 4) * 3
  if not full and used > tonumber(ARGV[at]) - tonumber(amount) then
    full = true
    decision, settled, reserved = ARGV[at + 2], counter[1] or '0', counter[2] or '0'
  end
end
if full then amount = '0' end

for i = 4, #KEYS do
  redis.call('HINCRBY', KEYS[i], 'reserved', amount)
  if new[i] then
    local keep = ARGV[7 + (i - 4) * 3]
    local expiry = '+inf'
    if keep ~= '' then
      redis.call('PEXPIRE', KEYS[i], keep)
      expiry = tonumber(ARGV[5]) + tonumber(keep)
    end
    redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', ARGV[5])
    redis.call('ZADD', KEYS[3], expiry, KEYS[i])
  end
end
-- An open request holds money and never expires.
redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'amount', amount, 'windows', table.concat(KEYS, '\n', 4),
  'decision', decision, 'settled', settled, 'reserved', reserved)
redis.call('SADD', KEYS[2], ARGV[4])
return {'decided', decision, settled, reserved}
