local fingerprint, claim, lease, spare = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local known = redis.call('HMGET', KEYS[1], 'fingerprint', 'claim', 'until', 'replies')
local lasts = known[3] == 'never'
if known[3] and not lasts then
  local until_then = tonumber(known[3])
  if not until_then then return {'foreign'} end
  lasts = until_then > tonumber(ending(0))
elseif not known[3] and redis.call('EXISTS', KEYS[1]) == 1 then
  return {'foreign'}
end
-- The same claim: its first answer was lost with the connection.
if lasts and known[2] ~= claim then
  if known[1] ~= fingerprint then return {'mismatch'} end
  if known[4] then return {'done', known[4]} end
  return {'in progress'}
end
-- First of all what needs memory: once it has written, a script is no longer stopped for want of it.
redis.call('HSET', KEYS[1], 'fingerprint', fingerprint, 'claim', claim, 'until', ending(lease))
redis.call('HDEL', KEYS[1], 'replies')
forget_after(lease, spare)
return {'fresh'}
