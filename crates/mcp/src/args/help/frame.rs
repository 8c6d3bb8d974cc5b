//! Help of `mcp frame`.

/// Below `mcp frame --help`.
pub(in crate::args) const FRAME: &str = "\
Examples:
  mcp frame ping
  mcp frame call task-list
  mcp frame subscribe 'tasks/default/#'

The wire frame is the binary protocol for devices and for programs without gRPC; docs/protocol/frame.md has its bytes. The
gateway takes it where its setting `gateway.frames.standard_addr` says; name that with --address or MCP_FRAMES.";

/// Below `mcp frame call --help`.
pub(in crate::args) const CALL: &str = "\
Examples:
  mcp frame call task-list
  mcp frame call task-get '{\"taskId\": \"0192f0c1-0000-7000-8000-000000000001\"}'
  mcp frame call /mcp.scheduler.v1.TaskService/ListTasks '{\"pageSize\": 5}'
  mcp frame call task-watch --stream --timeout 1m
  mcp frame call task-submit '{\"task\": {\"name\": \"x\", \"process\": {\"argv\": [\"true\"]}}}' -m idempotency-key=k-1
  mcp frame call 0x8001 --raw 'on'                # a user command that a route names

The body is the request of the method as JSON. Any method of any registered service can be called.";

/// Below `mcp frame subscribe --help`.
pub(in crate::args) const SUBSCRIBE: &str = "\
Examples:
  mcp frame subscribe 'tasks/default/*'
  mcp frame subscribe 'rooms/#' --count 10
  mcp frame subscribe 'services/#' -o json --timeout 1h

The subscription is made again when the connection breaks.";

/// Below `mcp frame publish --help`.
pub(in crate::args) const PUBLISH: &str = "\
Examples:
  mcp frame publish rooms/12/light '{\"on\": true}'
  mcp frame publish rooms/12/display 'hello' --raw";

/// Below `mcp frame ping --help`.
pub(in crate::args) const PING: &str = "\
Examples:
  mcp frame ping
  mcp frame ping --count 5 --address mcps://gateway.example:7070
  mcp frame ping --address mcps://10.0.0.7:7070 --ca /etc/mcp/ca.pem";
