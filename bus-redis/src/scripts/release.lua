if is_claimed(ARGV[1]) then redis.call('DEL', KEYS[1]) end
return 1
