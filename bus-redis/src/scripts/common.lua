-- The end of a time that begins now, by the server's clock.
local function ending(milliseconds)
  if milliseconds == 'endless' then return 'never' end
  local time = redis.call('TIME')
  return string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + milliseconds)
end

-- Lets Redis forget the key so long after the end.
local function forget_after(milliseconds, spare)
  if milliseconds == 'endless' then
    redis.call('PERSIST', KEYS[1])
  else
    redis.call('PEXPIRE', KEYS[1], milliseconds + spare)
  end
end

-- Replies are there once the key is done.
local function is_claimed(claim)
  local known = redis.call('HMGET', KEYS[1], 'claim', 'replies')
  return known[1] == claim and not known[2]
end

