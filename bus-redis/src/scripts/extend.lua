local claim, lease, spare = ARGV[1], ARGV[2], ARGV[3]
if not is_claimed(claim) then return 0 end
redis.call('HSET', KEYS[1], 'until', ending(lease))
forget_after(lease, spare)
return 1
