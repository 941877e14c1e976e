-- Books what the log says was admitted and the ledger does not know yet, whatever the limits. What it knows stays as it is.
-- KEYS: the gate, the request. The other keys are of the same tenant.
-- ARGV: one text of lines ('-' stands for nothing): fingerprint, nano-dollars, tokens, request id, moment (ms), round, whether it is an
-- open request ('1' or '0'), decision; then for each counter: its path, when it may be forgotten (ms; '-' never; 'open': it counts
-- open requests).
if redis.call('EXISTS', KEYS[1]) == 0 then return {'shut'} end
local line = {}
for text in string.gmatch(ARGV[1], '[^\n]+') do line[#line + 1] = text end
local known = redis.call('HMGET', KEYS[2], 'fingerprint', 'closed', 'over', 'round')
if known[1] then
  -- What was at a limit, and was admitted in a later round, is known as the former.
  local later = known[1] == line[1] and not known[2] and known[3] and tonumber(known[4]) < tonumber(line[6])
  if not later then return {'before'} end
end

local tenant = string.match(KEYS[2], '^[^/]*/')
local paths = {}
for i = 9, #line, 2 do
  local key, forget = tenant .. 'spent/' .. line[i], line[i + 1]
  paths[#paths + 1] = line[i]
  if forget == 'open' then
    if line[7] == '1' then redis.call('HINCRBY', key, 'open', 1) end
  else
    local there = redis.call('EXISTS', key) == 1
    redis.call('HINCRBY', key, 'reserved', line[2])
    if line[3] ~= '0' then redis.call('HINCRBY', key, 'held', line[3]) end
    if not there then
      if forget ~= '-' then redis.call('PEXPIRE', key, tonumber(forget) - tonumber(line[5])) end
      redis.call('ZADD', tenant .. 'windows', forget == '-' and '+inf' or forget, key)
    end
  end
end
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[2], 'fingerprint', line[1], 'amount', line[2], 'held', line[3], 'open', line[7],
  'windows', table.concat(paths, '\n'), 'decision', line[8], 'round', line[6], 'at', line[5])
-- What reserved nothing may be decided anew by a later round.
if line[7] == '0' then redis.call('HSET', KEYS[2], 'over', '1') end
redis.call('SADD', tenant .. 'open', line[4])
return {'restored'}
