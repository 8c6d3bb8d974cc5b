# Adds the sums of all parts into the report.
#
# In:  JSON objects on standard input as parse.awk writes them, one on a line, or an array of them on a line; variables
#      `bounds` (as there) and `top` (how many paths the report lists).
# Out: the report, one JSON object, in the file named by MCP_OUTPUT; one line per part on standard output.
#
# POSIX awk: runs under mawk, gawk and busybox.

{
    text = $0
    at = 1
    if (next_char() != "[") read_part()
    else {
        at++
        while (next_char() != "]") {
            if (next_char() == ",") at++
            read_part()
        }
    }
}

END {
    if (failed) exit 1
    out = ENVIRON["MCP_OUTPUT"]
    classes = split(bounds, bound, " ")
    printf "{\"lines\":%.0f,\"malformed\":%.0f,\"bytes\":%.0f,\"status\":{", \
        sum["lines"], sum["malformed"], sum["bytes"] > out
    comma = ""
    for (name in sum) {
        if (split(name, key, SUBSEP) == 2 && key[1] == "status") {
            printf "%s\"%s\":%.0f", comma, key[2], sum[name] > out
            comma = ","
        }
        if (key[1] == "paths" && key[3] == "hits") hits[key[2]] = sum[name]
        if (key[1] == "latency") requests += sum[name]
    }
    printf "},\"latency\":[" > out
    for (i = 0; i <= classes; i++) printf "%s%.0f", (i ? "," : ""), sum["latency", i] > out
    printf "],\"p50_ms\":%s,\"p90_ms\":%s,\"p99_ms\":%s,\"top_paths\":[", \
        percentile(50), percentile(90), percentile(99) > out
    for (i = 1; i <= top; i++) {
        path = busiest()
        if (path == "") break
        printf "%s{\"path\":\"%s\",\"hits\":%.0f,\"bytes\":%.0f,\"errors\":%.0f,\"mean_ms\":%.0f}", (i > 1 ? "," : ""), \
            path, hits[path], sum["paths", path, "bytes"], sum["paths", path, "errors"], \
            int(sum["paths", path, "ms"] / hits[path]) > out
        delete hits[path]
    }
    printf "]}\n" > out
    close(out)
}

# Adds the sums of one part.
function read_part() {
    add("")
    printf "part %d of the reduction read: %.0f lines so far\n", ++parts, sum["lines"]
    fflush()
}

# Takes the path with the most hits; of equals the first in byte order (LC_ALL is C).
function busiest(    path, best) {
    for (path in hits) {
        if (best == "" || hits[path] > hits[best] || (hits[path] == hits[best] && path < best)) best = path
    }
    return best
}

# The upper bound of the class in which the request at `part` percent lies; null above the last bound.
function percentile(part,    i, below) {
    for (i = 0; i < classes; i++) {
        below += sum["latency", i]
        if (below * 100 >= requests * part) return bound[i + 1]
    }
    return "null"
}

# Reads the JSON value at `at` and adds each number in it to `sum`, under its keys joined by SUBSEP; arrays count
# from 0. Strings stay escaped, as they are written again just so.
function add(prefix,    c, key, i) {
    c = next_char()
    if (c == "{") {
        at++
        while (next_char() != "}") {
            if (next_char() == ",") at++
            next_char()
            key = string()
            if (next_char() != ":") broken("a colon")
            at++
            add(prefix == "" ? key : prefix SUBSEP key)
        }
        at++
    } else if (c == "[") {
        at++
        i = 0
        while (next_char() != "]") {
            if (next_char() == ",") at++
            add(prefix SUBSEP i++)
        }
        at++
    } else if (match(substr(text, at, 40), /^-?[0-9]+/)) {
        sum[prefix] += substr(text, at, RLENGTH)
        at += RLENGTH
    } else broken("a value")
}

# The string at `at`, without its quotes.
function string(    start, c) {
    if (substr(text, at, 1) != "\"") broken("a string")
    start = ++at
    while ((c = substr(text, at, 1)) != "\"") {
        if (c == "") broken("a closing quote")
        at += c == "\\" ? 2 : 1
    }
    return substr(text, start, at++ - start)
}

# The character at `at`, after white space.
function next_char() {
    while (substr(text, at, 1) ~ /^[ \t\r]$/) at++
    if (at > length(text)) broken("more")
    return substr(text, at, 1)
}

function broken(expected) {
    printf "line %d: expected %s at character %d\n", NR, expected, at > "/dev/stderr"
    failed = 1
    exit 1 # by way of END
}
