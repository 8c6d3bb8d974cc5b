# Sums up one part of an access log: combined format, with the request's time in ms after it.
#
# In:  the lines on standard input; variables `part` (its name), `total` (lines to expect) and `bounds` (upper bounds
#      of the latency classes in ms, rising, separated by spaces; one more class holds what is above the last).
# Out: one JSON object in the file named by MCP_OUTPUT; progress on standard output, odd lines on standard error.
#
# POSIX awk: runs under mawk, gawk and busybox.

BEGIN {
    FS = "\""
    classes = split(bounds, bound, " ")
    step = int(total / 4)
    if (step < 1) step = 1
    for (i = 1; i <= classes + 1; i++) latency[i] = 0
}

NR % step == 0 {
    printf "%s: %d of %d lines\n", part, NR, total
    fflush()
}

# The quotes cut a line into: client and time, request, status and size, referer, blank, agent, milliseconds.
NF != 7 || split($2, request, " ") != 3 || split($3, answer, " ") != 2 \
    || answer[1] !~ /^[1-5][0-9][0-9]$/ || answer[2] !~ /^([0-9]+|-)$/ || $7 !~ /^ [0-9]+$/ {
    malformed++
    if (malformed <= 3) printf "%s: line %d is malformed: %s\n", part, NR, substr($0, 1, 60) > "/dev/stderr"
    next
}

{
    path = resource(request[2])
    size = answer[2] + 0 # "-" is no body
    time = $7 + 0
    for (class = 1; class <= classes && time > bound[class] + 0; class++) continue
    latency[class]++
    status[answer[1]]++
    bytes += size
    hits[path]++
    path_bytes[path] += size
    path_ms[path] += time
    if (answer[1] >= 500) path_errors[path]++
}

END {
    out = ENVIRON["MCP_OUTPUT"]
    printf "{\"lines\":%.0f,\"malformed\":%.0f,\"bytes\":%.0f,\"status\":{", NR, malformed, bytes > out
    comma = ""
    for (code in status) {
        printf "%s\"%s\":%.0f", comma, code, status[code] > out
        comma = ","
    }
    printf "},\"latency\":[" > out
    for (i = 1; i <= classes + 1; i++) printf "%s%.0f", (i > 1 ? "," : ""), latency[i] > out
    printf "],\"paths\":{" > out
    comma = ""
    for (path in hits) {
        printf "%s\"%s\":{\"hits\":%.0f,\"bytes\":%.0f,\"errors\":%.0f,\"ms\":%.0f}", comma, json(path), \
            hits[path], path_bytes[path], path_errors[path], path_ms[path] > out
        comma = ","
    }
    printf "}}\n" > out
    close(out)
}

# The resource a target names: without its query, and with `:id` for every segment of digits.
function resource(target,    segments, count, i, path) {
    sub(/\?.*$/, "", target)
    count = split(target, segments, "/")
    path = segments[1]
    for (i = 2; i <= count; i++) path = path "/" (segments[i] ~ /^[0-9]+$/ ? ":id" : segments[i])
    return path
}

# Text inside a JSON string. A log line holds no control characters, and the quotes were taken out above.
function json(text,    i, c, escaped) {
    if (!index(text, "\\")) return text
    for (i = 1; i <= length(text); i++) {
        c = substr(text, i, 1)
        escaped = escaped (c == "\\" ? "\\\\" : c)
    }
    return escaped
}
