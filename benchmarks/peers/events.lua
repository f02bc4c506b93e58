-- Batches of events of one thread of wrk: customers and kinds drawn at random, every event with an id of its own.
-- Arguments: how many customers there are, a seed, and how many events are sent together.

local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(args)
  customers, size = tonumber(args[1]), tonumber(args[3])
  sent, name = 0, args[2] .. "-" .. number
  math.randomseed(1000 * tonumber(args[2]) + number)
  wrk.method = "POST"
  wrk.headers["content-type"] = "application/json"
  now = os.date("!%Y-%m-%dT%H:%M:%SZ")
end

local kinds = {"page_view", "product_view", "add_to_cart", "login"}
local row = '{"contract":"events","properties":{"event_id":"%s-%d","customer_id":"c%d","type":"%s","channel":"web",'
  .. '"category":"frozen_pizza","session_id":"s%d","occurred_at":"%s"}}'

function request()
  local rows = {}
  for index = 1, size do
    sent = sent + 1
    local customer = math.random(customers)
    rows[index] = row:format(name, sent, customer, kinds[math.random(#kinds)], customer, now)
  end
  return wrk.format(nil, nil, nil, '{"events":[' .. table.concat(rows, ",") .. ']}')
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\nFIGURES {"p50_us":%d,"p95_us":%d,"p99_us":%d,"requests":%d,"duration_us":%d,"socket":%d,"status":%d}\n',
    latency:percentile(50), latency:percentile(95), latency:percentile(99), summary.requests, summary.duration,
    errors.connect + errors.read + errors.write + errors.timeout, errors.status))
end
