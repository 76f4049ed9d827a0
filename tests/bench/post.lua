-- SPDX-License-Identifier: Apache-2.0
-- wrk: posts the body given after `--`, and ends with one line of JSON on stdout. Times are microseconds.

function setup(thread)
  threads = threads or {}
  table.insert(threads, thread)
end

function init(args)
  refused = 0
  wrk.method = "POST"
  wrk.body = args[1]
  wrk.headers["Content-Type"] = "application/json"
end

function response(status)
  if status >= 300 then
    refused = refused + 1
  end
end

function done(summary, latency)
  local bad = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  for _, thread in ipairs(threads) do
    bad = bad + thread:get("refused")
  end
  print(string.format('{"requests": %d, "bad": %d, "duration": %d, "p50": %d, "p99": %d}', summary.requests, bad,
    summary.duration, latency:percentile(50), latency:percentile(99)))
end
