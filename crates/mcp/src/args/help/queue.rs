//! Help of `mcp queue`.

/// Below `mcp queue --help`.
pub(in crate::args) const QUEUE: &str = "\
Examples:
  mcp queue list
  mcp queue set render --concurrency 8 --rate 100/s
  mcp queue pause render
  mcp queue dead list render

A queue needs no making: it is there with its first task, under default rules.";

/// Below `mcp queue list --help`.
pub(in crate::args) const LIST: &str = "\
Examples:
  mcp queue list
  mcp queue list -n prod -o json | jq -r '.queues[] | select(.pauseTime) | .queue'";

/// Below `mcp queue get --help`.
pub(in crate::args) const GET: &str = "\
Examples:
  mcp queue get render
  mcp queue get render -n prod -o json | jq .pending";

/// Below `mcp queue set --help`.
pub(in crate::args) const SET: &str = "\
Examples:
  mcp queue set render --concurrency 8                     # at most 8 of its tasks run at a time
  mcp queue set render --key-concurrency 2 --weight ana=3  # 2 for each key; ana gets three shares
  mcp queue set mails --rate 100/s:20 --key-rate 30/m      # starts; 20 at once after a quiet time
  mcp queue set mails --tasks-max 10000                    # further submits are refused as QUEUE_FULL
  mcp queue set mails --rate none                          # no limit any more

Rules without a flag stay as they are. They hold from the answer on, and across restarts.";

/// Below `mcp queue pause --help`.
pub(in crate::args) const PAUSE: &str = "\
Examples:
  mcp queue pause render        # nothing new starts; what runs goes on; submits are taken
  mcp queue resume render";

/// Below `mcp queue drain --help`.
pub(in crate::args) const DRAIN: &str = "\
Examples:
  mcp queue drain render        # submits are refused as QUEUE_CLOSED; what is there is run
  mcp queue resume render";

/// Below `mcp queue resume --help`.
pub(in crate::args) const RESUME: &str = "\
Examples:
  mcp queue resume render       # ends a pause and a drain";

/// Below `mcp queue scaling --help`.
pub(in crate::args) const SCALING: &str = "\
Examples:
  mcp queue scaling render
  mcp queue scaling render --slots-per-worker 8 --target-wait 1m

KEDA's metrics-api scaler reads the same numbers from the gateway:
  url: http://GATEWAY/v1/namespaces/default/queues/render:scaling
  valueLocation: neededWorkers";

/// Below `mcp queue dead --help`.
pub(in crate::args) const DEAD: &str = "\
Examples:
  mcp queue dead list render
  mcp queue dead replay render --error EXIT_NON_ZERO
  mcp queue dead purge render --until 30d

A dead letter is a task that FAILED: no retry was left, or none was allowed. `mcp get ID` shows the errors of its attempts.";

/// Below `mcp queue dead list --help`.
pub(in crate::args) const DEAD_LIST: &str = "\
Examples:
  mcp queue dead list render
  mcp queue dead list render --error RUN_TIMEOUT --since 2h
  mcp queue dead list render --all -o json | jq -r '.deadLetters[].task.id'";

/// Below `mcp queue dead replay --help`.
pub(in crate::args) const DEAD_REPLAY: &str = "\
Examples:
  mcp queue dead replay render --id 019aa6f0-5b1c-7000-8000-0123456789ab
  mcp queue dead replay render --error RUN_TIMEOUT --since 2026-11-21
  mcp queue dead replay render --all

Each becomes a new task with a new id, and leaves the list in the same moment. What cannot be submitted stays, with the reason.";

/// Below `mcp queue dead purge --help`.
pub(in crate::args) const DEAD_PURGE: &str = "\
Examples:
  mcp queue dead purge render --until 30d
  mcp queue dead purge render --all --yes

On a terminal it asks first; elsewhere it needs --yes. The tasks themselves stay until their retention has passed.";
