-- The streams of a service in Redis. Each call is one operation, which nothing comes between; Redis logs it as one MULTI/EXEC.
-- What redis_put.lua defines stands before this. KEYS: those of each stream concerned, in the order of `stream`, then the
-- ledger's. ARGV: operation, stream, …
-- What an operation costs depends on how many items it is about, never on how many there are (filters by tag apart).
--
-- An item is an entry `<index>-0` of the stream `items`. `at` is its index as 16 digits, `rank` its priority as 19 digits that
-- sort highest first; "rank:at" is its `order`, its place in the line. A record says which groups have the item: JSON
-- {rank, groups: {group: [state, consumer, count]}}. Names are joined by "\1", which they cannot have in them.

local PENDING, RETURNED, DONE = 0, 1, 2
local LINES_KEPT = 100000
local AT_ONCE = 1000 -- items looked at for a filter, before others get their turn

local function stream(number)
  local first = 13 * (number - 1)
  return {
    items = KEYS[first + 1],      -- stream: the items
    given = KEYS[first + 2],      -- text: the highest index ever given
    line = KEYS[first + 3],       -- sorted set of orders
    keys = KEYS[first + 4],       -- hash: idempotency key -> JSON [fingerprint, at, request]
    keyline = KEYS[first + 5],    -- sorted set of those keys by index
    records = KEYS[first + 6],    -- hash: at -> record
    held = KEYS[first + 7],       -- sorted set of group\1consumer\1at
    returned = KEYS[first + 8],   -- sorted set of group\1order
    done = KEYS[first + 9],       -- sorted set: at of items that some group is done with
    cursors = KEYS[first + 10],   -- hash: group\1scope\1rank -> at; saves looking, nothing more
    consumers = KEYS[first + 11], -- hash: group\1consumer -> gateway\1scope
    seen = KEYS[first + 12],      -- sorted set: group\1consumer by ms; "" is when somebody last looked for silent ones
    interests = KEYS[first + 13], -- hash: group\1scope -> consumers
  }
end

local function join(...) return table.concat({...}, '\1') end
local function starting(text) return '[' .. text .. '\1', '(' .. text .. '\2' end -- range of what begins with text\1

local function load(s, at) -- {tags, call, data, rank} with their names between, or nil
  local id = string.format('%d-0', at)
  local found = call('XRANGE', s.items, id, id)[1]
  return found and found[2]
end
local TAGS, RANK = 2, 8 -- in what `load` returns

local function record_of(s, at)
  local text = call('HGET', s.records, at)
  return text and cjson.decode(text)
end
local function keep(s, at, record) call('HSET', s.records, at, cjson.encode(record)) end

local function wants(scope, at, tags) -- scope: {start, pairs}, or nil: everything
  if not scope then return true end
  if tonumber(at) < scope[1] then return false end
  for _, pair in ipairs(scope[2]) do
    if tags[pair[1]] ~= pair[2] then return false end
  end
  return true
end
local function parsed(scope) return scope ~= '' and cjson.decode(scope) or nil end

-- Items -----------------------------------------------------------------------------------------------------------------

local function remove(s, at)
  local entry = load(s, at)
  if not entry then return end
  call('XDEL', s.items, string.format('%d-0', at))
  call('ZREM', s.line, order(entry[RANK], at))
  local record = record_of(s, at)
  if record then
    for group, one in pairs(record.groups) do
      if one[1] == PENDING then call('ZREM', s.held, join(group, one[2], at)) end
      if one[1] == RETURNED then call('ZREM', s.returned, join(group, order(record.rank, at))) end
    end
    call('HDEL', s.records, at)
    call('ZREM', s.done, at)
  end
  if call('XLEN', s.items) == 0 then call('DEL', s.cursors) end
end

local function give_back(s, group, at, discount)
  local record = record_of(s, at)
  local one = record and record.groups[group]
  if not one or one[1] ~= PENDING then return end
  call('ZREM', s.held, join(group, one[2], at))
  call('ZADD', s.returned, 0, join(group, order(record.rank, at)))
  record.groups[group] = {RETURNED, one[2], one[3] - discount}
  keep(s, at, record)
end

local function mark_done(s, group, at, rank)
  local record = record_of(s, at) or {rank = rank, groups = {}}
  local one = record.groups[group] or {DONE, '', 0}
  if one[1] == PENDING then call('ZREM', s.held, join(group, one[2], at)) end
  if one[1] == RETURNED then call('ZREM', s.returned, join(group, order(rank, at))) end
  record.groups[group] = {DONE, one[2], one[3]}
  keep(s, at, record)
  call('ZADD', s.done, 0, at)
end

-- Removes items that no group with a consumer still waits for.
local function remove_unneeded(s, ats)
  local interests = {}
  for _, one in ipairs(call('HKEYS', s.interests)) do
    local group, scope = one:match('^(.-)\1(.*)$')
    table.insert(interests, {group, parsed(scope)})
  end
  for _, at in ipairs(ats) do
    local entry, record, needed = load(s, at), record_of(s, at), false
    local tags = entry and cjson.decode(entry[TAGS])
    for _, one in ipairs(entry and interests or {}) do
      local state = record.groups[one[1]]
      needed = needed or (not (state and state[1] == DONE) and wants(one[2], at, tags))
    end
    if not needed then remove(s, at) end
  end
end

-- Consumers -------------------------------------------------------------------------------------------------------------

local function now()
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function enrol(s, group, consumer, gateway, scope)
  local name = join(group, consumer)
  local before = call('HGET', s.consumers, name)
  if before then
    local old = join(group, before:match('\1(.*)$'))
    if call('HINCRBY', s.interests, old, -1) <= 0 then call('HDEL', s.interests, old) end
  end
  call('HSET', s.consumers, name, join(gateway, scope))
  call('HINCRBY', s.interests, join(group, scope), 1)
  call('ZADD', s.seen, now(), name)
end

local function gone(s, group, consumer, owner)
  local name = join(group, consumer)
  local entry = call('HGET', s.consumers, name)
  if entry then
    local scope = entry:match('\1(.*)$')
    if call('HINCRBY', s.interests, join(group, scope), -1) <= 0 then call('HDEL', s.interests, join(group, scope)) end
    call('HDEL', s.consumers, name)
    call('ZREM', s.seen, name)
  end
  for _, member in ipairs(call('ZRANGEBYLEX', s.held, starting(name))) do
    give_back(s, group, member:sub(#name + 2), 0)
  end
  local prefix = group .. '\1'
  for _, one in ipairs(call('HKEYS', s.interests)) do
    if one:sub(1, #prefix) == prefix then return end
  end
  for _, field in ipairs(call('HKEYS', s.cursors)) do -- nobody is left in the group: it pins nothing any more
    if field:sub(1, #prefix) == prefix and field:sub(#prefix + 1, #prefix + 1) ~= '\1' then
      call('HDEL', s.cursors, field)
    end
  end
  if owner == '' then remove_unneeded(s, call('ZRANGE', s.done, 0, -1)) end
end

-- Lets the silent ones go. `patient`: a time when nobody looked (Redis was away) is held against nobody.
local function reap(s, name, silence, owner, patient)
  local moment = now()
  local before = tonumber(call('ZSCORE', s.seen, '') or moment)
  if patient and moment - before > silence / 2 then
    for _, one in ipairs(call('ZRANGE', s.seen, 0, -1)) do call('ZADD', s.seen, moment, one) end
  end
  call('ZADD', s.seen, moment, '')
  local silent = call('ZRANGEBYSCORE', s.seen, '-inf', moment - silence)
  for _, one in ipairs(silent) do
    local group, consumer = one:match('^(.-)\1(.*)$')
    gone(s, group, consumer, owner)
  end
  if #silent > 0 then tell(name) end
end

-- Claiming --------------------------------------------------------------------------------------------------------------

-- Up to `room` returned items, in order.
local function returned(s, group, scope, room)
  local rows, from, till = {}, starting(group)
  repeat
    local batch = call('ZRANGEBYLEX', s.returned, from, till, 'LIMIT', 0, room)
    for _, member in ipairs(batch) do
      local place = member:sub(#group + 2)
      local at = place:match(':(.*)$')
      local entry = load(s, at)
      if #rows < room and wants(scope, at, scope and cjson.decode(entry[TAGS])) then
        table.insert(rows, {order = place, at = at, entry = entry})
      end
      from = '(' .. member
    end
  until #batch < room or #rows >= room
  return rows
end

-- Adds to `rows` up to `room` items of a rank that the group was never given, from its cursor on. Returns where it stopped,
-- and how many it looked at.
local function fresh(s, group, scope, rank, cursor, room, rows)
  local found, looked, till, most = 0, 0, '(' .. rank .. ';', scope and math.max(room, 100) or room
  repeat
    local batch = call('ZRANGEBYLEX', s.line, '(' .. order(rank, cursor), till, 'LIMIT', 0, most)
    for _, place in ipairs(batch) do
      if found == room then break end
      cursor = place:match(':(.*)$')
      local record = record_of(s, cursor)
      if not (record and record.groups[group]) then
        local entry = load(s, cursor)
        if wants(scope, cursor, scope and cjson.decode(entry[TAGS])) then
          table.insert(rows, {order = place, at = cursor, entry = entry, rank = rank})
          found = found + 1
        end
      end
    end
    looked = looked + #batch
  until #batch < most or found == room or looked >= AT_ONCE
  return cursor, looked
end

-- Where the group's cursors stand after `chosen`: behind all that was looked at of a rank, or behind the last one taken.
local function move_cursors(s, prefix, reached, rows, chosen)
  local last, left = {}, {}
  for _, row in ipairs(rows) do
    if row.rank and chosen[row.at] then last[row.rank] = row.at end
    if row.rank and not chosen[row.at] then left[row.rank] = true end
  end
  for rank, at in pairs(reached) do
    if left[rank] then at = last[rank] end
    if at then call('HSET', s.cursors, prefix .. rank, at) end
  end
end

local op = {}

-- group, consumer, window, scope -> {more to look at, {deliveries, at, entry}…}
function op.claim(s)
  local group, consumer, scope_text = ARGV[3], ARGV[4], ARGV[6]
  local scope, holder = parsed(scope_text), join(group, consumer)
  local room = ARGV[5] - call('ZLEXCOUNT', s.held, starting(holder))
  if room <= 0 then return {0} end
  local rows, reached, looked = returned(s, group, scope, room), {}, 0
  local prefix, free = join(group, scope_text, ''), room
  local next_level, till = call('ZRANGEBYLEX', s.line, '-', '+', 'LIMIT', 0, 1)[1], nil
  while next_level and free > 0 and looked < AT_ONCE do
    local rank = next_level:match('^(.-):')
    local cursor, before, number = call('HGET', s.cursors, prefix .. rank) or pad(0), #rows, 0
    if scope and tonumber(cursor) < scope[1] then cursor = pad(scope[1] - 1) end
    reached[rank], number = fresh(s, group, scope, rank, cursor, free, rows)
    free, looked = free - (#rows - before), looked + number
    if looked >= AT_ONCE then till = order(rank, reached[rank]) end -- what comes behind that is not known yet
    if reached[rank] == cursor then reached[rank] = nil end -- nothing was there
    next_level = call('ZRANGEBYLEX', s.line, '(' .. rank .. ';', '+', 'LIMIT', 0, 1)[1]
  end
  table.sort(rows, function(a, b) return a.order < b.order end)
  local chosen, answer = {}, {till and 1 or 0}
  for number = 1, math.min(room, #rows) do
    local row = rows[number]
    if till and row.order > till then break end
    local record = record_of(s, row.at) or {rank = row.entry[RANK], groups = {}}
    local count = (record.groups[group] or {0, '', 0})[3] + 1
    record.groups[group] = {PENDING, consumer, count}
    keep(s, row.at, record)
    call('ZADD', s.held, 0, join(holder, row.at))
    if not row.rank then call('ZREM', s.returned, join(group, row.order)) end
    chosen[row.at] = true
    table.insert(answer, {count, row.at, row.entry})
  end
  move_cursors(s, prefix, reached, rows, chosen)
  return answer
end

-- Changes ---------------------------------------------------------------------------------------------------------------

-- silence, owner
function op.open(s)
  reap(s, ARGV[2], tonumber(ARGV[3]), ARGV[4], false)
  for _, member in ipairs(call('ZRANGE', s.held, 0, -1)) do
    local group, consumer, at = member:match('^(.-)\1(.-)\1(.*)$')
    if call('HEXISTS', s.consumers, join(group, consumer)) == 0 then give_back(s, group, at, 0) end
  end
end

-- at …
function op.delete(s)
  for number = 3, #ARGV do remove(s, ARGV[number]) end
  tell(ARGV[2])
end

-- below
function op.truncate(s)
  local last = string.format('(%d-0', ARGV[3])
  repeat
    local batch = call('XRANGE', s.items, '-', last, 'COUNT', 100)
    for _, entry in ipairs(batch) do remove(s, pad(entry[1]:match('^%d+'))) end
  until #batch == 0
  tell(ARGV[2])
end

-- group, consumer, gateway, scope
function op.join(s) enrol(s, ARGV[3], ARGV[4], ARGV[5], ARGV[6]) end

-- group, consumer, gateway, owner. A consumer that has moved to another gateway stays.
function op.leave(s)
  local entry = call('HGET', s.consumers, join(ARGV[3], ARGV[4]))
  if entry and entry:match('^(.-)\1') ~= ARGV[5] then return end
  gone(s, ARGV[3], ARGV[4], ARGV[6])
  tell(ARGV[2])
end

-- group, consumer, gateway, scope, silence, owner
function op.alive(s)
  local name = join(ARGV[3], ARGV[4])
  local entry = call('HGET', s.consumers, name)
  if not entry then
    enrol(s, ARGV[3], ARGV[4], ARGV[5], ARGV[6])
  elseif entry:match('^(.-)\1') == ARGV[5] then
    call('ZADD', s.seen, now(), name)
  end
  reap(s, ARGV[2], tonumber(ARGV[7]), ARGV[8], true)
end

-- group, owner, at …
function op.commit(s)
  local group, owner = ARGV[3], ARGV[4]
  local alone = owner == ''
  for _, one in ipairs(alone and call('HKEYS', s.interests) or {}) do
    alone = alone and one:sub(1, #group + 1) == group .. '\1'
  end
  local marked = {}
  for number = 5, #ARGV do
    local at = ARGV[number]
    if alone or group == owner then
      remove(s, at)
    else
      local entry = load(s, at)
      if entry then
        mark_done(s, group, at, entry[RANK])
        table.insert(marked, at)
      end
    end
  end
  if owner == '' then remove_unneeded(s, marked) end
  tell(ARGV[2])
end

-- group, discount, at …
function op.release(s)
  for number = 5, #ARGV do give_back(s, ARGV[3], ARGV[number], tonumber(ARGV[4])) end
  tell(ARGV[2])
end

-- at, deliveries, owner, sink, job, ended, line, how many results, how many dead letters, their items -> 1, 0 or "key"
function op.finish(s)
  local at, count, owner, sink = ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6]
  local record = record_of(s, at)
  local one = record and record.groups[owner]
  if not one or one[1] ~= PENDING or one[3] ~= count then return 0 end
  local first, results = 12, tonumber(ARGV[10])
  if results == 1 and put(stream(2), first) == 'key' then return 'key' end
  if ARGV[11] == '1' then put(stream(3), first + 7 * results) end
  remove(s, at)
  local ledger, ended = KEYS[40], KEYS[41]
  call('HSET', ledger, ARGV[7], ARGV[9])
  call('ZADD', ended, ARGV[8], ARGV[7])
  if call('ZCARD', ended) > LINES_KEPT then call('HDEL', ledger, call('ZPOPMIN', ended)[1]) end
  tell(ARGV[2])
  tell(sink)
  return 1
end

-- Looking ---------------------------------------------------------------------------------------------------------------

function op.facts(s)
  local first, last = call('XRANGE', s.items, '-', '+', 'COUNT', 1)[1], call('XREVRANGE', s.items, '+', '-', 'COUNT', 1)[1]
  return {call('XLEN', s.items), first and first[1] or '0-0', last and last[1] or '', call('GET', s.given) or '0'}
end

-- start, scope, rank or "", how many, whether with what is in them -> {where to go on or "", {at, entry}… or how many}
function op.scan(s)
  local scope, rank, room, whole = parsed(ARGV[4]), ARGV[5], tonumber(ARGV[6]), ARGV[7] == '1'
  local batch = call('XRANGE', s.items, ARGV[3], '+', 'COUNT', scope and AT_ONCE or room)
  local found = {}
  for _, entry in ipairs(batch) do
    local fields = entry[2]
    if (rank == '' or fields[RANK] == rank) and wants(scope, entry[1]:match('^%d+'), scope and cjson.decode(fields[TAGS])) then
      table.insert(found, whole and {entry[1]:match('^%d+'), fields} or 1)
      if #found == room then return {'', found} end
    end
  end
  local on = scope and #batch == AT_ONCE and '(' .. batch[#batch][1] or ''
  return {on, whole and found or #found}
end

-- at, group, owner -> {holder, ahead}, or nothing
function op.place(s)
  local at, groups = ARGV[3], {ARGV[4], ARGV[5] ~= ARGV[4] and ARGV[5] or nil}
  local entry, record = load(s, at), record_of(s, at)
  if not entry then return end
  for _, group in ipairs(groups) do
    local one = record and record.groups[group]
    if one and one[1] == PENDING then return {group .. '.' .. one[2], 0} end
  end
  local mine, taken = order(entry[RANK], at), {}
  for _, group in ipairs(groups) do
    for _, member in ipairs(call('ZRANGEBYLEX', s.held, starting(group))) do taken[member:match('[^\1]*$')] = true end
  end
  for _, other in ipairs(call('ZRANGE', s.done, 0, -1)) do
    local groups_of = record_of(s, other).groups
    for _, group in ipairs(groups) do
      if groups_of[group] and groups_of[group][1] == DONE then taken[other] = true end
    end
  end
  local ahead = call('ZLEXCOUNT', s.line, '-', '(' .. mine)
  for other in pairs(taken) do
    if order(record_of(s, other).rank, other) < mine then ahead = ahead - 1 end
  end
  return {'', ahead}
end

return op[ARGV[1]](stream(1))
