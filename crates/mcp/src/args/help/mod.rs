//! The longer help texts: exit codes, and examples for each command.

pub(super) mod frame;
pub(super) mod key;
pub(super) mod queue;
pub(super) mod route;
pub(super) mod schedule;
pub(super) mod workflow;

/// Below `mcp --help`.
pub(in crate::args) const MCP: &str = "\
Exit codes:
  0    done; for `wait` and `submit --wait`: every task SUCCEEDED, and so did the workflow
  1    a task or workflow FAILED or was CANCELLED; for `health`: something is not ready;
       for `dev`: it could not start; for `queue dead replay`: some could not be replayed;
       for `route diff`: something would change
  2    the command line is wrong
  3    the gateway cannot be reached
  4    there is no such task, workflow, schedule, route or instance
  5    the server refused the request or could not do it
  124  --timeout passed first

First steps:
  mcp dev                                     # everything in one process, on 127.0.0.1:8080
  mcp submit --wait -- echo 'hello, world'    # in another terminal
  mcp list";

/// Below `mcp dev --help`.
pub(in crate::args) const DEV: &str = "\
Examples:
  mcp dev                          # data in ~/.local/share/mcp/dev, gateway on 127.0.0.1:8080
  mcp dev --ephemeral --port 0     # data thrown away at the end, any free port
  mcp dev --otlp http://127.0.0.1:4317
  mcp dev --postgres postgres://me:secret@127.0.0.1/mcp       # tasks in PostgreSQL; MCP_POSTGRES does the same
  mcp dev --worker-label zone=eu-1 --worker-taint gpu --worker-cpu 4 --worker-memory 8GiB

Ctrl-C (or SIGTERM) drains the worker, the gateway, the scheduler and the registry in this order, then exits with 0.
Tasks that are not final go on after the next start on the same data folder.";

/// Below `mcp serve --help`.
pub(in crate::args) const SERVE: &str = "\
Examples:
  mcp serve registry --set coord.endpoints=http://etcd:2379
  mcp serve scheduler --config scheduler.toml --listen 0.0.0.0:7102
  mcp serve worker --set worker.slots=8 --set worker.labels=zone=eu-1,disk=ssd --set worker.taints=gpu=true
  mcp serve worker --set worker.cpu_millis=4000 --set worker.memory_bytes=8589934592
  mcp serve worker --print-config          # the settings, then exit
  mcp serve gateway --help                 # the flags of a service

A service takes the same flags, files and MCP_<SERVICE>__<SECTION>__<KEY> variables as its own binary (mcp-gateway ...).";

/// Below `mcp submit --help`.
pub(in crate::args) const SUBMIT: &str = "\
Examples:
  mcp submit -- echo hello
  mcp submit --wait --follow -- sh -c 'for i in 1 2 3; do echo step $i; sleep 1; done'
  mcp submit --queue images --retries 5 --run-timeout 10m --label owner=ana -- convert in.png out.webp
  mcp submit --stdin access.log -- awk '{n++} END {print n}'
  mcp submit --handler resize --input '{\"width\": 300}'
  mcp submit --idempotency-key invoice-2026-11 -- make-invoice   # repeated: the same task
  mcp submit --unique-key sync-42 -- sync 42                     # at most one unfinished task with this key
  mcp submit --key customer-7 --queue render -- render scene     # limits and fair shares go by the key
  mcp submit --label-rule 'zone in (a, b)' --label-rule '!spot' --cpu 500m --memory 512MiB -- train model
  mcp submit --at-most-once --retries 3 --never-retry EXIT_NON_ZERO -- charge card
  mcp submit --file tasks.ndjson                                 # one TaskSpec (JSON) per line

A line of --file is what POST /v1/tasks takes, for instance
  {\"queue\":\"images\",\"process\":{\"argv\":[\"convert\",\"a.png\",\"a.webp\"]},\"retry\":{\"maxAttempts\":5}}";

/// Below `mcp get --help`.
pub(in crate::args) const GET: &str = "\
Examples:
  mcp get 019aa6f0-5b1c-7000-8000-0123456789ab
  mcp get -o json 019aa6f0-5b1c-7000-8000-0123456789ab | jq .output";

/// Below `mcp list --help`.
pub(in crate::args) const LIST: &str = "\
Examples:
  mcp list
  mcp list --state failed --state cancelled --queue images --limit 200
  mcp list --label owner=ana --name invoice
  mcp list --all -o json | jq -r '.tasks[].id'";

/// Below `mcp wait --help`.
pub(in crate::args) const WAIT: &str = "\
Examples:
  mcp wait 019aa6f0-5b1c-7000-8000-0123456789ab
  mcp wait --timeout 5m $(mcp list --state running --all -o json | jq -r '.tasks[].id')";

/// Below `mcp cancel --help`.
pub(in crate::args) const CANCEL: &str = "\
Examples:
  mcp cancel 019aa6f0-5b1c-7000-8000-0123456789ab --reason 'wrong input'

A waiting task ends at once; a running one after its processes were stopped. `mcp wait ID` tells when.";

/// Below `mcp logs --help`.
pub(in crate::args) const LOGS: &str = "\
Examples:
  mcp logs 019aa6f0-5b1c-7000-8000-0123456789ab
  mcp logs -f 019aa6f0-5b1c-7000-8000-0123456789ab     # until the task is final
  mcp logs -o json ID | jq -r .text                    # one JSON object per line

What the task wrote to its standard output goes to standard output, the rest to standard error.";

/// Below `mcp services --help`.
pub(in crate::args) const SERVICES: &str = "\
Examples:
  mcp services
  mcp services --watch
  mcp services -o json | jq -r '.instances[] | \"\\(.service) \\(.address)\"'";

/// Below `mcp openapi --help`.
pub(in crate::args) const OPENAPI: &str = "\
Examples:
  mcp openapi > openapi.json                             # for code generators, linters, API portals
  mcp openapi | jq -r '.paths | keys[]'
  mcp openapi | diff openapi.json -                      # in CI: has a contract changed?

It is that of the gateway's `/openapi.json`: the services that are registered now. It needs the role `viewer`.";

/// Below `mcp health --help`.
pub(in crate::args) const HEALTH: &str = "\
Examples:
  mcp health
  until mcp health >/dev/null 2>&1; do sleep 1; done     # wait for a cluster";

/// Below `mcp completion --help`.
pub(in crate::args) const COMPLETION: &str = "\
Examples:
  mcp completion bash > ~/.local/share/bash-completion/completions/mcp
  mcp completion zsh  > ~/.zfunc/_mcp
  mcp completion fish > ~/.config/fish/completions/mcp.fish";

/// Below `mcp explain --help`.
pub(in crate::args) const EXPLAIN: &str = "\
Examples:
  mcp explain 019aa6f0-5b1c-7000-8000-0123456789ab
  mcp explain -o json ID | jq -r '.reasons[].kind'
  mcp explain WORKFLOW collect        # the step `collect`, which may have no task yet

The reasons come in the order in which they block: the first one has to go before the next one matters.";

/// Below `mcp retry --help`.
pub(in crate::args) const RETRY: &str = "\
Examples:
  mcp retry 019aa6f0-5b1c-7000-8000-0123456789ab
  mcp wait $(mcp retry -o json ID | jq -r .taskId)

The new task has a new id; the two name each other (`replay of`, `replayed as`). A whole list of failed tasks:
mcp queue dead replay --help";
