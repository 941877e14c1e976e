-- Ends requests once: releases what was reserved and books what it cost, in the counters it was reserved in. A later result of a
-- request books the attempts that none before it had.
-- Text: fingerprint, nano-dollars, tokens, place of the result in the log, milliseconds to remember it, request id, then id,
-- nano-dollars and tokens of each attempt.
local HEAD = '^' .. string.rep('([^\n]*)\n', 6) .. '(.*)$'
local NUMBERED = {}
for number = 1, 64 do NUMBERED[number] = tostring(number) end

-- Where it was reserved, by the numbers written down at its end.
local function book_late(key, prefix, attempts)
  local late, found, number = 0, {}, 1
  local path = redis.call('HGET', key, '1')
  while path do
    found[number] = counter(prefix .. path)
    number = number + 1
    path = redis.call('HGET', key, tostring(number))
  end
  for i = 1, #attempts, 3 do
    if redis.call('HSETNX', key, attempts[i], '') == 1 then
      late = late + tonumber(attempts[i + 1])
      for _, each in ipairs(found) do
        if each.there then
          add(each, SETTLED, tonumber(attempts[i + 1]))
          add(each, TOKENS, tonumber(attempts[i + 2]))
        end
      end
    end
  end
  return {'before', string.format('%.0f', late)}
end

local function settle(key, text)
  local fingerprint, cost, tokens, place, keep, id, listed = string.match(text, HEAD)
  local known = redis.call('HMGET', key, 'fingerprint', 'closed', 'amount', 'held', 'open', 'windows')
  if not known[1] then return {'unknown'} end
  if known[1] ~= fingerprint then return {'before', '0'} end
  local tenant = string.match(key, '^[^/]*/')
  local prefix, attempts = tenant .. 'spent/', lines(listed)
  if known[2] then return book_late(key, prefix, attempts) end

  -- Written anew, small values in a field each, so that Redis keeps the rest in its compact form: where the result is, the counters by
  -- number, and the attempts that are booked.
  local rest, found, number = {'fingerprint', fingerprint, 'closed', place}, {}, 0
  for i, path in ipairs(lines(known[6])) do
    -- Until version 2 the whole key was written down.
    if string.sub(path, 1, #prefix) == prefix then path = string.sub(path, #prefix + 1) end
    found[i] = counter(prefix .. path)
    if string.sub(path, -9) ~= '/open/now' then
      number = number + 1
      rest[#rest + 1] = NUMBERED[number] or tostring(number)
      rest[#rest + 1] = path
    end
  end
  for i = 1, #attempts, 3 do
    rest[#rest + 1] = attempts[i]
    rest[#rest + 1] = ''
  end
  redis.call('DEL', key)
  redis.call('HSET', key, unpack(rest))
  redis.call('PEXPIRE', key, keep)
  move(tenant, id)
  for _, each in ipairs(found) do
    -- A counter that has expired is over; it must not come back as a debt.
    if each.there and string.sub(each.key, -9) == '/open/now' then
      if known[5] == '1' then add(each, OPEN, -1) end
    elseif each.there then
      add(each, RESERVED, -tonumber(known[3]))
      add(each, SETTLED, tonumber(cost))
      add(each, HELD, -tonumber(known[4] or 0))
      add(each, TOKENS, tonumber(tokens))
    end
  end
  return {'settled', known[3]}
end

return each(settle, 'SREM')
