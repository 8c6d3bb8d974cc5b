//! Help of `mcp workflow`.

/// Below `mcp workflow --help`.
pub(in crate::args) const WORKFLOW: &str = "\
Examples:
  mcp workflow submit -f report.yaml --wait
  mcp workflow get 019aa6f0-5b1c-7000-8000-0123456789ab
  mcp workflow rerun 019aa6f0-5b1c-7000-8000-0123456789ab --from merge

A file holds a WorkflowSpec as in the HTTP API, as YAML or JSON. Steps may be written short:
  name: report
  steps:
    - {name: list, run: \"ls *.log | jq -R . | jq -s . > $MCP_OUTPUT\"}
    - {name: count, depends_on: [list], for_each: steps.list.output, argv: [count, \"${ item }\"], run_timeout: 5m}
    - {name: merge, depends_on: [count], handler: merge, input: {counts: \"${ steps.count.output }\"}}";

/// Below `mcp workflow submit --help`.
pub(in crate::args) const SUBMIT: &str = "\
Examples:
  mcp workflow submit -f report.yaml
  mcp workflow submit -f report.yaml --input day=2026-11-21 --input parts=8 --wait
  mcp workflow submit -f report.yaml --input-file input.json --idempotency-key report-2026-11-21
  generate-workflow | mcp workflow submit -f - -o json | jq -r .workflowId

With --wait the exit code is 0 when the workflow SUCCEEDED, and 1 otherwise.";

/// Below `mcp workflow check --help`.
pub(in crate::args) const CHECK: &str = "\
Examples:
  mcp workflow check -f report.yaml       # a cycle, an unknown step, a bad expression: each by its name and line";

/// Below `mcp workflow get --help`.
pub(in crate::args) const GET: &str = "\
Examples:
  mcp workflow get 019aa6f0-5b1c-7000-8000-0123456789ab
  mcp workflow get ID -o json | jq .output";

/// Below `mcp workflow list --help`.
pub(in crate::args) const LIST: &str = "\
Examples:
  mcp workflow list
  mcp workflow list --state failed --limit 10";

/// Below `mcp workflow wait --help`.
pub(in crate::args) const WAIT: &str = "\
Examples:
  mcp workflow wait 019aa6f0-5b1c-7000-8000-0123456789ab
  mcp workflow wait ID --timeout 10m -o json | jq .output";

/// Below `mcp workflow cancel --help`.
pub(in crate::args) const CANCEL: &str = "\
Examples:
  mcp workflow cancel 019aa6f0-5b1c-7000-8000-0123456789ab --reason 'wrong input'

No further step starts, and what runs is stopped. `mcp workflow wait ID` tells when.";

/// Below `mcp workflow pause --help`.
pub(in crate::args) const PAUSE: &str = "\
Examples:
  mcp workflow pause 019aa6f0-5b1c-7000-8000-0123456789ab      # what runs is finished, nothing further starts
  mcp workflow resume 019aa6f0-5b1c-7000-8000-0123456789ab";

/// Below `mcp workflow resume --help`.
pub(in crate::args) const RESUME: &str = "\
Examples:
  mcp workflow resume 019aa6f0-5b1c-7000-8000-0123456789ab";

/// Below `mcp workflow rerun --help`.
pub(in crate::args) const RERUN: &str = "\
Examples:
  mcp workflow rerun ID                              # whatever did not succeed
  mcp workflow rerun ID --from merge                 # this step, and all that depends on it
  mcp workflow rerun ID --from merge -f newer.yaml   # with a newer version of the file

It is a new run with a new id; the outputs of the steps before are taken over.";
