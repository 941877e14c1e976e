-- What the scripts of the ledger share; each begins with it. A call takes many requests, one after another, each by itself: an error of
-- one is its own. What they change in counters waits here and is booked once, as the requests of a busy tenant meet in the same ones.
-- KEYS: the gate, then a key for each request. The other keys are of the same tenant: its open requests, its counters by expiry, its
-- counters. ARGV: for each request one text of lines ('-' stands for nothing), as a long argument is far less work than thirty short ones.
-- Counters are 64-bit and stay strings. Lua counts in doubles: limits and amounts are below 2^53 and so exact, and a larger counter,
-- rounded, still compares as larger, and is only added to. What waits is booked before it reaches 2^53.
if redis.call('EXISTS', KEYS[1]) == 0 then return {'shut'} end

local EXACT = 2 ^ 53
local SETTLED, RESERVED, TOKENS, HELD, OPEN = 1, 2, 3, 4, 5
local FIELDS = {'settled', 'reserved', 'tokens', 'held', 'open'}
local counters, moved, lists = {}, {}, {}

-- A counter as it is with what waits (1 to 5, as FIELDS), and what of it waits (6 to 10).
local function counter(key)
  local found = counters[key]
  if not found then
    local now = redis.call('HMGET', key, 'settled', 'reserved', 'tokens', 'held', 'open')
    found = {tonumber(now[1] or 0), tonumber(now[2] or 0), tonumber(now[3] or 0), tonumber(now[4] or 0), tonumber(now[5] or 0),
      0, 0, 0, 0, 0, key = key, there = now[2] or now[5]}
    found.exact = found[1] < EXACT and found[2] < EXACT and found[3] < EXACT and found[4] < EXACT
    counters[key] = found
  end
  return found
end

local function book(found)
  local set, last, new = {}, 0, found.new
  for field = 1, 5 do
    local amount = found[field + 5]
    if amount ~= 0 or (new and field == RESERVED) then
      found[field + 5] = 0
      if found.exact then
        set[last + 1], set[last + 2] = FIELDS[field], string.format('%.0f', found[field])
        last = last + 2
      else
        redis.call('HINCRBY', found.key, FIELDS[field], string.format('%.0f', amount))
      end
    end
  end
  if set[1] == 'open' and found[OPEN] <= 0 then
    redis.call('DEL', found.key)
  elseif last > 0 then
    redis.call('HSET', found.key, unpack(set))
  end
  if new then
    found.new = nil
    if new.forget ~= '-' then redis.call('PEXPIRE', found.key, tonumber(new.forget) - tonumber(new.at)) end
    redis.call('ZADD', new.tenant .. 'windows', new.forget == '-' and '+inf' or new.forget, found.key)
  end
end

-- Cannot fail: comes after all that can.
local function add(found, field, amount)
  local waits, now = found[field + 5] + amount, found[field] + amount
  if waits >= EXACT or waits <= -EXACT then
    book(found)
    waits = amount
  end
  found[field + 5], found[field] = waits, now
  if now >= EXACT or now <= -EXACT then found.exact = false end
end

-- `forget`, `at`: milliseconds. By the record's time, not by Redis' clock.
local function create(found, tenant, forget, at)
  found.new, found.there = {tenant = tenant, forget = forget, at = at}, true
end

local function lines(text)
  local found = lists[text]
  if not found then
    found = {}
    for line in string.gmatch(text, '[^\n]+') do found[#found + 1] = line end
    lists[text] = found
  end
  return found
end

-- Into the set of open requests, or out of it: all of a tenant at once.
local function move(tenant, id)
  local ids = moved[tenant]
  if not ids then ids = {}; moved[tenant] = ids end
  ids[#ids + 1] = id
end

local function each(handle, how)
  local answers = {}
  for i = 2, #KEYS do
    local fine, answer = pcall(handle, KEYS[i], ARGV[i - 1])
    if not fine then answer = {'error', type(answer) == 'table' and answer.err or tostring(answer)} end
    answers[i - 1] = answer
  end
  for _, found in pairs(counters) do book(found) end
  for tenant, ids in pairs(moved) do redis.call(how, tenant .. 'open', unpack(ids)) end
  return answers
end
