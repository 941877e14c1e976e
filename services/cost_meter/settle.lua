-- Ends a request once: releases what was reserved and books what it cost, in the windows it was reserved in. A later result of the
-- request books the attempts that none before it had.
-- KEYS: the request, the tenant's open requests. The counters are named in the reservation; they have the same hash tag.
-- ARGV: fingerprint, cost, place of the result in the log, milliseconds to remember it, request id, then id and cost of each attempt.
local known = redis.call('HMGET', KEYS[1], 'fingerprint', 'closed', 'amount', 'windows')
if known[1] ~= ARGV[1] then return 0 end
local prefix = string.sub(KEYS[2], 1, -5) .. 'spent/'

local function book(window, field, amount)
  -- A window that has expired is over; it must not come back as a debt.
  if redis.call('EXISTS', window) == 1 then redis.call('HINCRBY', window, field, amount) end
end

if known[2] then
  for at = 6, #ARGV, 2 do
    if redis.call('HSETNX', KEYS[1], ARGV[at], '') == 1 then
      local number = 1
      local window = redis.call('HGET', KEYS[1], '1')
      while window do
        book(prefix .. window, 'settled', ARGV[at + 1])
        number = number + 1
        window = redis.call('HGET', KEYS[1], tostring(number))
      end
    end
  end
  return 0
end

-- Written anew, small values in a field each, so that Redis keeps the rest in its compact form: where the result is, the windows by
-- number, and the attempts that are booked.
local rest = {'fingerprint', ARGV[1], 'closed', ARGV[3]}
local release = known[3] == '0' and '0' or '-' .. known[3]
for window in string.gmatch(known[4], '[^\n]+') do
  book(window, 'reserved', release)
  book(window, 'settled', ARGV[2])
  rest[#rest + 1] = tostring(#rest / 2 - 1)
  rest[#rest + 1] = string.sub(window, #prefix + 1)
end
for at = 6, #ARGV, 2 do
  rest[#rest + 1] = ARGV[at]
  rest[#rest + 1] = ''
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(rest))
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('SREM', KEYS[2], ARGV[5])
return 1
