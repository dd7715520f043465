-- wrk sends this one request over and over: no Lua runs while it measures.
wrk.method = "POST"
wrk.body = string.rep("x", 4096)
