-- What open requests hold.
-- KEYS: requests. Returns the moment of the oldest (ms; '-': none is there) and, one after another, for each counter they are booked in:
-- its key, and the sums of nano-dollars, tokens and open requests, each in two parts (2^26, and ones), as Lua counts in doubles.
local PART = 2 ^ 26
local sums, oldest = {}, nil

local function add(sum, at, text)
  local amount = tonumber(text or 0)
  sum[at] = sum[at] + math.floor(amount / PART)
  sum[at + 1] = sum[at + 1] + amount % PART
end

for _, key in ipairs(KEYS) do
  local held = redis.call('HMGET', key, 'at', 'amount', 'held', 'open', 'windows')
  if held[1] then
    local tenant = string.match(key, '^[^/]*/')
    local of_tenant = sums[tenant] or {}
    sums[tenant] = of_tenant
    if not oldest or tonumber(held[1]) < oldest then oldest = tonumber(held[1]) end
    for path in string.gmatch(held[5], '[^\n]+') do
      local sum = of_tenant[path] or {0, 0, 0, 0, 0, 0}
      of_tenant[path] = sum
      if string.sub(path, -9) == '/open/now' then
        add(sum, 5, held[4])
      else
        add(sum, 1, held[2])
        add(sum, 3, held[3])
      end
    end
  end
end

local answer = {oldest and string.format('%.0f', oldest) or '-'}
for tenant, of_tenant in pairs(sums) do
  for path, sum in pairs(of_tenant) do
    -- Until version 2 the whole key was written down.
    answer[#answer + 1] = string.sub(path, 1, 1) == '{' and path or tenant .. 'spent/' .. path
    for part = 1, 6 do answer[#answer + 1] = string.format('%.0f', sum[part]) end
  end
end
return answer
