-- Ends a request once: releases what was reserved and books what it cost, in the counters it was reserved in. A later result of the
-- request books the attempts that none before it had.
-- KEYS: the gate, the request. The other keys are of the same tenant.
-- ARGV: one text of lines: fingerprint, nano-dollars, tokens, place of the result in the log, milliseconds to remember it, request id,
-- then id and nano-dollars of each attempt.
if redis.call('EXISTS', KEYS[1]) == 0 then return {'shut'} end
local line = {}
for text in string.gmatch(ARGV[1], '[^\n]+') do line[#line + 1] = text end
local known = redis.call('HMGET', KEYS[2], 'fingerprint', 'closed', 'amount', 'held', 'open', 'windows')
if not known[1] then return {'unknown'} end
if known[1] ~= line[1] then return {'before', '0'} end
local tenant = string.match(KEYS[2], '^[^/]*/')
local prefix = tenant .. 'spent/'

if known[2] then
  local late = 0
  for at = 7, #line, 2 do
    if redis.call('HSETNX', KEYS[2], line[at], '') == 1 then
      late = late + line[at + 1]
      local number = 1
      local path = redis.call('HGET', KEYS[2], '1')
      while path do
        if redis.call('EXISTS', prefix .. path) == 1 then redis.call('HINCRBY', prefix .. path, 'settled', line[at + 1]) end
        number = number + 1
        path = redis.call('HGET', KEYS[2], tostring(number))
      end
    end
  end
  return {'before', string.format('%.0f', late)}
end

-- Written anew, small values in a field each, so that Redis keeps the rest in its compact form: where the result is, the counters by
-- number, and the attempts that are booked.
local rest, number = {'fingerprint', line[1], 'closed', line[4]}, 0
local function negative(amount) return amount == '0' and '0' or '-' .. amount end
local amount, held = negative(known[3]), negative(known[4] or '0')
for path in string.gmatch(known[6], '[^\n]+') do
  -- Until version 2 the whole key was written down.
  if string.sub(path, 1, #prefix) == prefix then path = string.sub(path, #prefix + 1) end
  local key = prefix .. path
  -- A counter that has expired is over; it must not come back as a debt.
  local there = redis.call('EXISTS', key) == 1
  if string.sub(path, -9) == '/open/now' then
    if there and known[5] == '1' and redis.call('HINCRBY', key, 'open', -1) <= 0 then redis.call('DEL', key) end
  else
    if there then
      redis.call('HINCRBY', key, 'reserved', amount)
      redis.call('HINCRBY', key, 'settled', line[2])
      if held ~= '0' then redis.call('HINCRBY', key, 'held', held) end
      if line[3] ~= '0' then redis.call('HINCRBY', key, 'tokens', line[3]) end
    end
    number = number + 1
    rest[#rest + 1] = tostring(number)
    rest[#rest + 1] = path
  end
end
for at = 7, #line, 2 do
  rest[#rest + 1] = line[at]
  rest[#rest + 1] = ''
end
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[2], unpack(rest))
redis.call('PEXPIRE', KEYS[2], line[5])
redis.call('SREM', tenant .. 'open', line[6])
return {'settled', known[3]}
