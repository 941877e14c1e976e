-- What the scripts of the ledger share; each begins with it. A call takes many requests, one after another, each by itself: an error of
-- one is its own. What they change in counters waits here and is booked once, as the requests of a busy tenant meet in the same ones.
-- KEYS: the gate, then a key for each request. The other keys are of the same tenant: its open requests, its counters by expiry, its
-- counters. ARGV: for each request one text of lines ('-' stands for nothing), as a long argument is far less work than thirty short ones.
-- Counters are 64-bit and stay strings. Lua counts in doubles: limits and amounts are below 2^53 and so exact, and a larger counter,
-- rounded, still compares as larger. What waits is booked before it reaches 2^53.
if redis.call('EXISTS', KEYS[1]) == 0 then return {'shut'} end

local EXACT = 2 ^ 53
local FIELDS = {'settled', 'reserved', 'tokens', 'held', 'open'}
local counters, moved, lists = {}, {}, {}

local function counter(key)
  local found = counters[key]
  if not found then
    local now = redis.call('HMGET', key, unpack(FIELDS))
    found = {key = key, there = now[2] or now[5], waits = {}}
    for i, field in ipairs(FIELDS) do
      found[field] = tonumber(now[i] or 0)
      found.waits[field] = 0
    end
    counters[key] = found
  end
  return found
end

local function book(found)
  for _, field in ipairs(FIELDS) do
    local amount = found.waits[field]
    if amount ~= 0 then
      found.waits[field] = 0
      local now = redis.call('HINCRBY', found.key, field, string.format('%.0f', amount))
      if field == 'open' and now <= 0 then redis.call('DEL', found.key) end
    end
  end
end

-- Cannot fail: comes after all that can.
local function add(found, field, amount)
  if math.abs(found.waits[field] + amount) >= EXACT then book(found) end
  found.waits[field] = found.waits[field] + amount
  found[field] = found[field] + amount
end

-- `forget`, `at`: milliseconds. By the record's time, not by Redis' clock.
local function create(found, tenant, forget, at)
  redis.call('HINCRBY', found.key, 'reserved', '0')
  if forget ~= '-' then redis.call('PEXPIRE', found.key, tonumber(forget) - tonumber(at)) end
  redis.call('ZREMRANGEBYSCORE', tenant .. 'windows', '-inf', at)
  redis.call('ZADD', tenant .. 'windows', forget == '-' and '+inf' or forget, found.key)
  found.there = true
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
