local claim, keep, replies = ARGV[1], ARGV[2], ARGV[3]
if not is_claimed(claim) then
  -- The same end: its first answer was lost with the connection.
  local known = redis.call('HMGET', KEYS[1], 'claim', 'replies')
  if known[1] == claim and known[2] == replies then return 1 end
  return 0
end
redis.call('HSET', KEYS[1], 'until', ending(keep), 'replies', replies)
forget_after(keep, 0)
return 1
