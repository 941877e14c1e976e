-- What counters have reserved.
-- KEYS: of tenants the lists of their counters. ARGV: further counters. Returns, one after another, the key of each that has not expired,
-- and its nano-dollars, tokens and open requests.
local answer = {}

local function tell(key)
  local now = redis.call('HMGET', key, 'reserved', 'held', 'open')
  if now[1] or now[2] or now[3] then
    answer[#answer + 1] = key
    for i = 1, 3 do answer[#answer + 1] = now[i] or '0' end
  end
end

for _, list in ipairs(KEYS) do
  for _, key in ipairs(redis.call('ZRANGE', list, 0, -1)) do tell(key) end
end
for _, key in ipairs(ARGV) do tell(key) end
return answer
