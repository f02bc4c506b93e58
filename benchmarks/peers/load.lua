-- Requests of one thread of wrk: customers drawn at random, each thread its own stream. Arguments: how many customers
-- there are, and a seed. Whoever is measured gets the same bodies; what they do not know of a body, they ignore.

local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(args)
  customers = tonumber(args[1])
  math.randomseed(1000 * tonumber(args[2]) + number)
  wrk.method = "POST"
  wrk.headers["content-type"] = "application/json"
end

local zones = {"America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles"}
local body = '{"customer":{"customer_id":"c%d"},"placements":["home_banner"],"limit":1,'
  .. '"context":{"time_zone":"%s","basket_value":%.2f,"is_app":%s}}'

function request()
  local is_app = math.random(2) == 1 and "true" or "false"
  local zone = zones[math.random(#zones)]
  return wrk.format(nil, nil, nil, body:format(math.random(customers), zone, 100 * math.random(), is_app))
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\nFIGURES {"p50_us":%d,"p95_us":%d,"p99_us":%d,"requests":%d,"duration_us":%d,"socket":%d,"status":%d}\n',
    latency:percentile(50), latency:percentile(95), latency:percentile(99), summary.requests, summary.duration,
    errors.connect + errors.read + errors.write + errors.timeout, errors.status))
end
