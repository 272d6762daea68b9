-- An item is put into a stream: what the operation `put` is made of, and `finish` (redis_store.lua) too.

local call = redis.call
local KEYS_KEPT = 100000

local function pad(index) return string.format('%016d', index) end
local function order(rank, at) return rank .. ':' .. at end
local function tell(name) call('PUBLISH', 'easel:changed', name) end

-- ARGV from `first` on: tags, call, data, rank, request, key, fingerprint; the last two may be missing or "".
-- Nothing is written where it is refused.
local function put(s, first, capacity)
  local tags, task, data, rank, request, key, fingerprint = unpack(ARGV, first, first + 6)
  local keyed = key and key ~= ''
  if keyed then
    local known = call('HGET', s.keys, key)
    if known then
      known = cjson.decode(known)
      if known[1] ~= fingerprint then return 'key' end
      return {known[2], known[3]}
    end
  end
  if capacity and call('XLEN', s.items) >= capacity then return 'full' end
  local index = call('INCR', s.given)
  local at = pad(index)
  call('XADD', s.items, string.format('%d-0', index), 'tags', tags, 'call', task, 'data', data, 'rank', rank)
  call('ZADD', s.line, 0, order(rank, at))
  if keyed then
    call('HSET', s.keys, key, cjson.encode({fingerprint, at, request}))
    call('ZADD', s.keyline, index, key)
    local oldest = call('ZRANGEBYSCORE', s.keyline, '-inf', index - KEYS_KEPT, 'LIMIT', 0, 2)
    if #oldest > 0 then
      call('HDEL', s.keys, unpack(oldest))
      call('ZREM', s.keyline, unpack(oldest))
    end
  end
  return {at, request}
end

