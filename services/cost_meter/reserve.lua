-- Decides a request once a round, in all its counters or in none.
-- KEYS: the gate, the request, the tenant's open requests, the tenant's counters by expiry, then the counters.
-- ARGV: fingerprint, nano-dollars, tokens, decision if there is room, request id, moment (ms), round, whether a later round may
-- decide anew even then ('1' or ''), what may be tried where there is no room; then for each counter: limit of nano-dollars (or of
-- open requests), limit of tokens, milliseconds to keep it ('' for ever, 'open': it counts open requests).
-- Counters are 64-bit and stay strings. Lua compares doubles: limits and amounts are below 2^53 and so exact, and a larger
-- counter, rounded, still compares as larger.
if redis.call('EXISTS', KEYS[1]) == 0 then return {'shut'} end
local known = redis.call('HMGET', KEYS[2], 'fingerprint', 'closed', 'decision', 'over', 'round')
if known[1] then
  if known[1] ~= ARGV[1] then return {'reused', known[2]} end
  if known[2] then return {'closed', known[2]} end
  if not known[4] then return {'repeated', known[3]} end
  if tonumber(ARGV[7]) <= tonumber(known[5]) then
    if known[4] == '1' then return {'repeated', known[3]} end
    return {'over again', known[4]}
  end
end

local nano, tokens = tonumber(ARGV[2]), tonumber(ARGV[3])
local counters, over = {}, false
for i = 5, #KEYS do
  local at = 10 + (i - 5) * 3
  local limit, limit_tokens = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  if ARGV[at + 2] == 'open' then
    local open = redis.call('HGET', KEYS[i], 'open') or '0'
    if not over and tonumber(open) + 1 > limit then over = {'concurrency', KEYS[i], ARGV[at], open, '0', '1'} end
  else
    local now = redis.call('HMGET', KEYS[i], 'settled', 'reserved', 'tokens', 'held')
    counters[i] = now[2] or false
    if not over then
      if tonumber(now[1] or 0) + tonumber(now[2] or 0) > limit - nano then
        over = {'money', KEYS[i], ARGV[at], now[1] or '0', now[2] or '0', ARGV[2]}
      elseif tonumber(now[3] or 0) + tonumber(now[4] or 0) > limit_tokens - tokens then
        over = {'tokens', KEYS[i], ARGV[at + 1], now[3] or '0', now[4] or '0', ARGV[3]}
      end
    end
  end
end
local amount, held, open = ARGV[2], ARGV[3], 1
if over then
  amount, held, open = '0', '0', 0
  over = table.concat(over, '\n') .. '\n' .. ARGV[6] .. '\n' .. ARGV[9]
end

for i = 5, #KEYS do
  local keep = ARGV[12 + (i - 5) * 3]
  if keep == 'open' then
    if open == 1 then redis.call('HINCRBY', KEYS[i], 'open', 1) end
  else
    redis.call('HINCRBY', KEYS[i], 'reserved', amount)
    if held ~= '0' then redis.call('HINCRBY', KEYS[i], 'held', held) end
    if not counters[i] then
      local expiry = '+inf'
      if keep ~= '' then
        redis.call('PEXPIRE', KEYS[i], keep)
        expiry = tonumber(ARGV[6]) + tonumber(keep)
      end
      redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', ARGV[6])
      redis.call('ZADD', KEYS[4], expiry, KEYS[i])
    end
  end
end
-- An open request holds money and never expires.
redis.call('HSET', KEYS[2], 'fingerprint', ARGV[1], 'amount', amount, 'held', held, 'open', open, 'windows', table.concat(KEYS, '\n', 5),
  'decision', ARGV[4], 'round', ARGV[7], 'at', ARGV[6])
if over then redis.call('HSET', KEYS[2], 'over', over)
elseif ARGV[8] == '1' then redis.call('HSET', KEYS[2], 'over', '1')
elseif known[4] then redis.call('HDEL', KEYS[2], 'over') end
if not known[1] then redis.call('SADD', KEYS[3], ARGV[5]) end
if over then return {'over', over} end
return {'decided'}
