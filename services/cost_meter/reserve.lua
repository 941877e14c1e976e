-- Decides a request once a round, in all its counters or in none.
-- KEYS: the gate, the request. The other keys are of the same tenant: its open requests, its counters by expiry, its counters.
-- ARGV: one text of lines ('-' stands for nothing), as one long argument is far less work than thirty short ones: fingerprint,
-- nano-dollars, tokens, request id, moment (ms), round, whether a later round may decide anew even if there is room ('1'), what may be
-- tried if there is none, decision if there is; then for each counter: its path, limit of nano-dollars (or of open requests), limit of
-- tokens, when it may be forgotten (ms; '-' never; 'open': it counts open requests).
-- Counters are 64-bit and stay strings. Lua compares doubles: limits and amounts are below 2^53 and so exact, and a larger
-- counter, rounded, still compares as larger.
if redis.call('EXISTS', KEYS[1]) == 0 then return {'shut'} end
local line = {}
for text in string.gmatch(ARGV[1], '[^\n]+') do line[#line + 1] = text end

local known = redis.call('HMGET', KEYS[2], 'fingerprint', 'closed', 'decision', 'over', 'round')
if known[1] then
  if known[1] ~= line[1] then return {'reused', known[2]} end
  if known[2] then return {'closed', known[2]} end
  if not known[4] then return {'repeated', known[3]} end
  if tonumber(line[6]) <= tonumber(known[5]) then
    if known[4] == '1' then return {'repeated', known[3]} end
    return {'over again', known[4]}
  end
end

local tenant = string.match(KEYS[2], '^[^/]*/')
local nano, tokens = tonumber(line[2]), tonumber(line[3])
local there, over, paths = {}, false, {}
for i = 10, #line, 4 do
  local key = tenant .. 'spent/' .. line[i]
  paths[#paths + 1] = line[i]
  if line[i + 3] == 'open' then
    local open = redis.call('HGET', key, 'open') or '0'
    if not over and tonumber(open) + 1 > tonumber(line[i + 1]) then over = {'concurrency', line[i], line[i + 1], open, '0', '1'} end
  else
    local now = redis.call('HMGET', key, 'settled', 'reserved', 'tokens', 'held')
    there[i] = now[2]
    if not over then
      if tonumber(now[1] or 0) + tonumber(now[2] or 0) > tonumber(line[i + 1]) - nano then
        over = {'money', line[i], line[i + 1], now[1] or '0', now[2] or '0', line[2]}
      elseif tonumber(now[3] or 0) + tonumber(now[4] or 0) > tonumber(line[i + 2]) - tokens then
        over = {'tokens', line[i], line[i + 2], now[3] or '0', now[4] or '0', line[3]}
      end
    end
  end
end
local amount, held, open = line[2], line[3], '1'
if over then
  amount, held, open = '0', '0', '0'
  over = table.concat(over, '\n') .. '\n' .. line[5] .. '\n' .. line[8]
end

for i = 10, #line, 4 do
  local key, forget = tenant .. 'spent/' .. line[i], line[i + 3]
  if forget == 'open' then
    if open == '1' then redis.call('HINCRBY', key, 'open', 1) end
  else
    redis.call('HINCRBY', key, 'reserved', amount)
    if held ~= '0' then redis.call('HINCRBY', key, 'held', held) end
    if not there[i] then
      -- By the record's time, not by Redis' clock.
      if forget ~= '-' then redis.call('PEXPIRE', key, tonumber(forget) - tonumber(line[5])) end
      redis.call('ZREMRANGEBYSCORE', tenant .. 'windows', '-inf', line[5])
      redis.call('ZADD', tenant .. 'windows', forget == '-' and '+inf' or forget, key)
    end
  end
end
-- An open request holds money and never expires.
redis.call('HSET', KEYS[2], 'fingerprint', line[1], 'amount', amount, 'held', held, 'open', open, 'windows', table.concat(paths, '\n'),
  'decision', line[9], 'round', line[6], 'at', line[5])
if over then redis.call('HSET', KEYS[2], 'over', over)
elseif line[7] == '1' then redis.call('HSET', KEYS[2], 'over', '1')
elseif known[4] then redis.call('HDEL', KEYS[2], 'over') end
if not known[1] then redis.call('SADD', tenant .. 'open', line[4]) end
if over then return {'over', over} end
return {'decided'}
