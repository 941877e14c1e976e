-- Decides requests once a round, each in all its counters or in none.
-- Text: fingerprint, nano-dollars, tokens, request id, moment (ms), round, whether a later round may decide anew even if there is room
-- ('1'), what may be tried if there is none, decision if there is; then for each counter: its path, limit of nano-dollars (or of open
-- requests), limit of tokens, when it may be forgotten (ms; '-' never; 'open': it counts open requests).
local HEAD = '^' .. string.rep('([^\n]*)\n', 9) .. '(.*)$'
local paths = {}
-- Of the opening of the ledger that decides.
local NUMBER = redis.call('GET', 'ledger/number') or '0'

-- The paths of the counters, as they are written down.
local function paths_of(windows)
  if not paths[windows] then
    local line, found = lines(windows), {}
    for i = 1, #line, 4 do found[#found + 1] = line[i] end
    paths[windows] = table.concat(found, '\n')
  end
  return paths[windows]
end

-- What has no room, as it is told; false: all have.
local function full(tenant, line, nano, tokens)
  for i = 1, #line, 4 do
    local key = tenant .. 'spent/' .. line[i]
    local found, kind = counter(key), false
    if line[i + 3] == 'open' then
      if found[OPEN] + 1 > tonumber(line[i + 1]) then kind = {'concurrency', 'open', false, line[i + 1], '1'} end
    elseif found[SETTLED] + found[RESERVED] > tonumber(line[i + 1]) - nano then
      kind = {'money', 'settled', 'reserved', line[i + 1], string.format('%.0f', nano)}
    elseif found[TOKENS] + found[HELD] > tonumber(line[i + 2]) - tokens then
      kind = {'tokens', 'tokens', 'held', line[i + 2], string.format('%.0f', tokens)}
    end
    if kind then
      -- To the last digit, as it stands in Redis.
      book(found)
      local first, second = redis.call('HGET', key, kind[2]) or '0', kind[3] and redis.call('HGET', key, kind[3]) or '0'
      return {kind[1], line[i], kind[4], first, second, kind[5]}
    end
  end
  return false
end

local function decide(key, text)
  local fingerprint, amount, held, id, at, round, anew, try, decision, windows = string.match(text, HEAD)
  local known = redis.call('HMGET', key, 'fingerprint', 'closed', 'decision', 'over', 'round')
  if known[1] then
    if known[1] ~= fingerprint then return {'reused', known[2]} end
    if known[2] then return {'closed', known[2]} end
    if not known[4] then return {'repeated', known[3], NUMBER} end
    if tonumber(round) <= tonumber(known[5]) then
      if known[4] == '1' then return {'repeated', known[3], NUMBER} end
      return {'over again', known[4]}
    end
  end

  local tenant, line, open = string.match(key, '^[^/]*/'), lines(windows), '1'
  local over = full(tenant, line, tonumber(amount), tonumber(held))
  if over then
    amount, held, open = '0', '0', '0'
    over = table.concat(over, '\n') .. '\n' .. at .. '\n' .. try
  end
  local booked, created = {}, false
  for i = 1, #line, 4 do
    local found = counter(tenant .. 'spent/' .. line[i])
    booked[#booked + 1] = found
    if line[i + 3] ~= 'open' and not found.there then
      create(found, tenant, line[i + 3], at)
      created = true
    end
  end
  if created then redis.call('ZREMRANGEBYSCORE', tenant .. 'windows', '-inf', at) end
  -- An open request holds money and never expires.
  redis.call('HSET', key, 'fingerprint', fingerprint, 'amount', amount, 'held', held, 'open', open, 'windows', paths_of(windows),
    'decision', decision, 'round', round, 'at', at)
  if over then redis.call('HSET', key, 'over', over)
  elseif anew == '1' then redis.call('HSET', key, 'over', '1')
  elseif known[4] then redis.call('HDEL', key, 'over') end
  if not known[1] then move(tenant, id) end
  if over then return {'over', over} end
  for i, found in ipairs(booked) do
    if line[i * 4] == 'open' then
      add(found, OPEN, 1)
    else
      add(found, RESERVED, tonumber(amount))
      add(found, HELD, tonumber(held))
    end
  end
  return {'decided', NUMBER}
end

return each(decide, 'SADD')
