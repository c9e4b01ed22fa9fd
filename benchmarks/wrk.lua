-- Called by benchmarks/wrk.py: a method and a file for the body, and at the end
-- one line of JSON.

function init(arguments)
    wrk.method = arguments[1]
    local file = io.open(arguments[2])
    local body = file:read("*a")
    file:close()
    if body ~= "" then
        wrk.body = body
    end
end

function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        '\n{"requests": %d, "microseconds": %d, "errors": %d, '
            .. '"p50": %.0f, "p99": %.0f}\n',
        summary.requests,
        summary.duration,
        errors.connect + errors.read + errors.write + errors.status,
        latency:percentile(50),
        latency:percentile(99)
    ))
end
