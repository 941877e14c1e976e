-- Books what the log says was admitted and the ledger does not know yet, whatever the limits. What it knows stays as it is.
-- Text: fingerprint, nano-dollars, tokens, request id, moment (ms), round, whether it is an open request ('1' or '0'), decision; then for
-- each counter: its path, when it may be forgotten (ms; '-' never; 'open': it counts open requests).
local HEAD = '^' .. string.rep('([^\n]*)\n', 8) .. '(.*)$'
local paths = {}

local function paths_of(windows)
  if not paths[windows] then
    local line, found = lines(windows), {}
    for i = 1, #line, 2 do found[#found + 1] = line[i] end
    paths[windows] = table.concat(found, '\n')
  end
  return paths[windows]
end

local function restore(key, text)
  local fingerprint, amount, held, id, at, round, open, decision, windows = string.match(text, HEAD)
  local known = redis.call('HMGET', key, 'fingerprint', 'closed', 'over', 'round')
  if known[1] then
    -- What was at a limit, and was admitted in a later round, is known as the former.
    local later = known[1] == fingerprint and not known[2] and known[3] and tonumber(known[4]) < tonumber(round)
    if not later then return {'before'} end
  end

  local tenant, line, booked = string.match(key, '^[^/]*/'), lines(windows), {}
  for i = 1, #line, 2 do
    local found = counter(tenant .. 'spent/' .. line[i])
    booked[#booked + 1] = found
    if line[i + 1] ~= 'open' and not found.there then create(found, tenant, line[i + 1], at) end
  end
  redis.call('HSET', key, 'fingerprint', fingerprint, 'amount', amount, 'held', held, 'open', open, 'windows', paths_of(windows),
    'decision', decision, 'round', round, 'at', at)
  -- What reserved nothing may be decided anew by a later round.
  if open == '0' then redis.call('HSET', key, 'over', '1') elseif known[3] then redis.call('HDEL', key, 'over') end
  move(tenant, id)
  for i, found in ipairs(booked) do
    if line[i * 2] == 'open' then
      add(found, OPEN, tonumber(open))
    else
      add(found, RESERVED, tonumber(amount))
      add(found, HELD, tonumber(held))
    end
  end
  return {'restored'}
end

return each(restore, 'SADD')
