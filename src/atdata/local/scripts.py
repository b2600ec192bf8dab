"""The scripts of an index in Redis, in Lua: what is done in one of them, nobody sees half of.

Keys and arguments are those of `atdata.local.redis`.
"""

from __future__ import annotations

from atdata.local.database import FORMAT

# First come a name, and the key of the row that must be the newest of it, or nothing; then rows.
# All is looked at before anything is written: a script that fails half-way is not undone.
INSERT = """
local fresh, slots, todo = {}, {}, {}
if ARGV[2] ~= '' then
  local last = redis.call('ZREVRANGEBYLEX', KEYS[4], '(' .. ARGV[1] .. '\255', '[' .. ARGV[1], 'LIMIT', 0, 1)[1]
  local size = last and struct.unpack('>I2', string.sub(last, -2))
  if not last or string.sub(last, -2 - size, -3) ~= ARGV[2] then return 'taken' end
end
for i = 3, #ARGV, 8 do
  local key, slot, target, row = ARGV[i], ARGV[i + 1], ARGV[i + 6], ARGV[i + 7]
  local there = fresh[key]
  if not there then
    there = redis.call('HGET', KEYS[1], key)
    there = there and string.sub(there, 9)
  end
  if there ~= row then
    if there or slots[slot] or redis.call('HEXISTS', KEYS[2], slot) == 1 then return 'taken' end
    if target ~= '' and not fresh[target] and redis.call('HEXISTS', KEYS[1], target) == 0 then return 'nothing' end
    fresh[key], slots[slot], todo[#todo + 1] = row, true, i
  end
end
if #todo > 0 then redis.call('SETNX', KEYS[9], FORMAT) end
for _, i in ipairs(todo) do
  local key, recent = ARGV[i], ARGV[i + 5]
  local number = struct.pack('>I8', redis.call('INCR', KEYS[8]))
  local tail = number .. key .. struct.pack('>I2', #key)
  redis.call('HSET', KEYS[1], key, number .. ARGV[i + 7])
  redis.call('HSET', KEYS[2], ARGV[i + 1], key)
  redis.call('ZADD', KEYS[3], 0, ARGV[i + 2] .. tail)
  redis.call('ZADD', KEYS[4], 0, ARGV[i + 3] .. tail)
  redis.call('ZADD', KEYS[5], 0, ARGV[i + 4] .. tail)
  redis.call('ZADD', KEYS[6], 0, recent .. tail)
  if ARGV[i + 6] ~= '' then redis.call('ZADD', KEYS[7], 0, ARGV[i + 6] .. '\\0' .. recent .. tail) end
end
return 'ok'
""".replace("FORMAT", str(FORMAT))
_REMOVE = """
for _, i in ipairs(todo) do
  local key, recent = ARGV[i], ARGV[i + 5]
  local tail = gone[key] .. key .. struct.pack('>I2', #key)
  redis.call('HDEL', KEYS[1], key)
  redis.call('HDEL', KEYS[2], ARGV[i + 1])
  redis.call('ZREM', KEYS[3], ARGV[i + 2] .. tail)
  redis.call('ZREM', KEYS[4], ARGV[i + 3] .. tail)
  redis.call('ZREM', KEYS[5], ARGV[i + 4] .. tail)
  redis.call('ZREM', KEYS[6], recent .. tail)
  if ARGV[i + 6] ~= '' then redis.call('ZREM', KEYS[7], ARGV[i + 6] .. '\\0' .. recent .. tail) end
end
"""
# First come rows to swap, each as it is and as it will be; then rows that go.
REPLACE = """
local gone, dropped, swaps, todo, first = {}, {}, {}, {}, 2 + 16 * tonumber(ARGV[1])
for i = 2, first - 1, 16 do
  local there = redis.call('HGET', KEYS[1], ARGV[i])
  local row = there and string.sub(there, 9)
  if row ~= ARGV[i + 15] then
    if row ~= ARGV[i + 7] then return 'taken' end
    swaps[#swaps + 1] = {i, string.sub(there, 1, 8)}
  end
  if ARGV[i + 14] == '' then dropped[ARGV[i]] = true end
end
for i = first, #ARGV, 8 do
  local there = redis.call('HGET', KEYS[1], ARGV[i])
  if there and not gone[ARGV[i]] then
    if string.sub(there, 9) ~= ARGV[i + 7] then return 'taken' end
    gone[ARGV[i]] = string.sub(there, 1, 8)
    todo[#todo + 1] = i
  end
end
for _, i in ipairs(todo) do
  local low = ARGV[i] .. '\\0'
  for _, member in ipairs(redis.call('ZRANGEBYLEX', KEYS[7], '[' .. low, '(' .. low .. '\\255')) do
    local size = struct.unpack('>I2', string.sub(member, -2))
    local key = string.sub(member, -2 - size, -3)
    if not gone[key] and not dropped[key] then return 'needed' end
  end
end
for _, swap in ipairs(swaps) do
  local i, number = swap[1], swap[2]
  local tail = number .. ARGV[i] .. struct.pack('>I2', #ARGV[i])
  redis.call('HSET', KEYS[1], ARGV[i], number .. ARGV[i + 15])
  redis.call('ZREM', KEYS[3], ARGV[i + 2] .. tail)
  redis.call('ZADD', KEYS[3], 0, ARGV[i + 10] .. tail)
  if ARGV[i + 6] ~= '' then redis.call('ZREM', KEYS[7], ARGV[i + 6] .. '\\0' .. ARGV[i + 5] .. tail) end
  if ARGV[i + 14] ~= '' then redis.call('ZADD', KEYS[7], 0, ARGV[i + 14] .. '\\0' .. ARGV[i + 13] .. tail) end
end
REMOVE
return 'ok'
""".replace("REMOVE", _REMOVE)
DELETE = """
local gone, todo = {}, {}
for i = 1, #ARGV, 8 do
  local there = redis.call('HGET', KEYS[1], ARGV[i])
  if there and string.sub(there, 9) == ARGV[i + 7] and not gone[ARGV[i]] then
    gone[ARGV[i]] = string.sub(there, 1, 8)
    todo[#todo + 1] = i
  end
end
for _, i in ipairs(todo) do
  local low = ARGV[i] .. '\\0'
  for _, member in ipairs(redis.call('ZRANGEBYLEX', KEYS[7], '[' .. low, '(' .. low .. '\\255')) do
    local size = struct.unpack('>I2', string.sub(member, -2))
    if not gone[string.sub(member, -2 - size, -3)] then return 'needed' end
  end
end
REMOVE
return 'ok'
""".replace("REMOVE", _REMOVE)
# Also what is read is read by scripts: nobody deletes a row between the look into an index and the look at the row.
_ROWS = """
local found = {}
local function take(members, first, last, step)
  for i = first, last, step do
    local size = struct.unpack('>I2', string.sub(members[i], -2))
    found[#found + 1] = redis.call('HGET', KEYS[1], string.sub(members[i], -2 - size, -3))
  end
end
"""
LAST = f"""{_ROWS}
local members = redis.call('ZREVRANGEBYLEX', KEYS[2], ARGV[1], ARGV[2], 'LIMIT', 0, ARGV[3])
take(members, 1, #members, 1)
return found
"""
OF_SLOT = """
local key = redis.call('HGET', KEYS[2], ARGV[1])
return key and redis.call('HGET', KEYS[1], key)
"""
# The members of a name lie with the newest last. Of the last name some may be missing: it is asked for by itself.
UNDER = f"""{_ROWS}
local kind, limit = #ARGV[1], tonumber(ARGV[4])
local members = redis.call('ZRANGEBYLEX', KEYS[2], ARGV[2], ARGV[3], 'LIMIT', 0, limit)
local first, name = 1, nil
for i, member in ipairs(members) do
  local this = string.sub(member, 1, (string.find(member, '%z[^\\255]', kind + 1)))
  if this ~= name then
    take(members, i - 1, first, -1)
    first, name = i, this
  end
end
if name then
  local left = limit < 0 and limit or limit - #found
  members = redis.call('ZREVRANGEBYLEX', KEYS[2], '(' .. name .. '\\255', '[' .. name, 'LIMIT', 0, left)
  take(members, 1, #members, 1)
end
return found
"""
