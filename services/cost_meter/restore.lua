-- Books what the log says was admitted and the ledger does not know yet, whatever the limits. What it knows stays as it is.
-- KEYS: the gate, the request, the tenant's open requests, the tenant's counters by expiry, then the counters.
-- ARGV: fingerprint, nano-dollars, tokens, whether it is an open request ('1' or '0'), decision, request id, moment (ms), round; then
-- for each counter: milliseconds to keep it ('' for ever, 'open': it counts open requests).
if redis.call('EXISTS', KEYS[1]) == 0 then return {'shut'} end
local known = redis.call('HMGET', KEYS[2], 'fingerprint', 'closed', 'over', 'round')
if known[1] then
  -- What was at a limit, and was admitted in a later round, is known as the former.
  local later = known[1] == ARGV[1] and not known[2] and known[3] and tonumber(known[4]) < tonumber(ARGV[8])
  if not later then return {'before'} end
end
for i = 5, #KEYS do
  local keep = ARGV[9 + i - 5]
  if keep == 'open' then
    if ARGV[4] == '1' then redis.call('HINCRBY', KEYS[i], 'open', 1) end
  else
    local there = redis.call('EXISTS', KEYS[i]) == 1
    redis.call('HINCRBY', KEYS[i], 'reserved', ARGV[2])
    if ARGV[3] ~= '0' then redis.call('HINCRBY', KEYS[i], 'held', ARGV[3]) end
    if not there then
      local expiry = '+inf'
      if keep ~= '' then
        redis.call('PEXPIRE', KEYS[i], keep)
        expiry = tonumber(ARGV[7]) + tonumber(keep)
      end
      redis.call('ZADD', KEYS[4], expiry, KEYS[i])
    end
  end
end
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[2], 'fingerprint', ARGV[1], 'amount', ARGV[2], 'held', ARGV[3], 'open', ARGV[4],
  'windows', table.concat(KEYS, '\n', 5), 'decision', ARGV[5], 'round', ARGV[8], 'at', ARGV[7])
-- What reserved nothing may be decided anew by a later round.
if ARGV[4] == '0' then redis.call('HSET', KEYS[2], 'over', '1') end
redis.call('SADD', KEYS[3], ARGV[6])
return {'restored'}
