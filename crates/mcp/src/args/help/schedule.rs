//! Help of `mcp schedule`.

/// Below `mcp schedule --help`.
pub(in crate::args) const SCHEDULE: &str = "\
Examples:
  mcp schedule create report --cron '0 7 * * 1-5' --time-zone Europe/Berlin -- make-report
  mcp schedule next report
  mcp schedule fires report

Every fire time ends up in the ledger once: it RAN, or was SKIPPED or MISSED, with the reason.";

/// Below `mcp schedule put --help`.
pub(in crate::args) const PUT: &str = "\
Examples:
  mcp schedule put -f report.yaml

A file holds a Schedule as in the HTTP API, for instance
  name: report
  cron: '0 7 * * 1-5'
  time_zone: Europe/Berlin
  overlap: BUFFER_ONE
  task: {argv: [make-report, --all], queue: nightly, run_timeout: 20m}";

/// Below `mcp schedule create --help`.
pub(in crate::args) const CREATE: &str = "\
Examples:
  mcp schedule create report --cron '0 7 * * 1-5' --time-zone Europe/Berlin -- make-report
  mcp schedule create poll --every 30s --overlap skip --queue polls -- poll inbox
  mcp schedule create sync --cron @hourly --jitter 5m --catch-up 6h --handler sync --input '{\"full\": false}'

A schedule that is there already is not touched without --replace. `mcp schedule next NAME` shows when it fires.";

/// Below `mcp schedule list --help`.
pub(in crate::args) const LIST: &str = "\
Examples:
  mcp schedule list
  mcp schedule list -n prod -o json | jq -r '.schedules[].name'";

/// Below `mcp schedule get --help`.
pub(in crate::args) const GET: &str = "\
Examples:
  mcp schedule get report
  mcp schedule get report -o json > report.json      # edit, then: mcp schedule put -f report.json";

/// Below `mcp schedule delete --help`.
pub(in crate::args) const DELETE: &str = "\
Examples:
  mcp schedule delete report       # what it started goes on; the ledger is kept for the retention";

/// Below `mcp schedule pause --help`.
pub(in crate::args) const PAUSE: &str = "\
Examples:
  mcp schedule pause report        # fire times from now on are SKIPPED
  mcp schedule resume report";

/// Below `mcp schedule resume --help`.
pub(in crate::args) const RESUME: &str = "\
Examples:
  mcp schedule resume report";

/// Below `mcp schedule trigger --help`.
pub(in crate::args) const TRIGGER: &str = "\
Examples:
  mcp schedule trigger report
  mcp wait $(mcp schedule trigger report -o json | jq -r .fire.taskId)

It starts now, as its overlap policy allows, and is in the ledger like any other.";

/// Below `mcp schedule backfill --help`.
pub(in crate::args) const BACKFILL: &str = "\
Examples:
  mcp schedule backfill report --from 2026-11-01 --to 2026-11-08
  mcp schedule backfill report --from 6h

Fire times of the range that RAN already do not run again.";

/// Below `mcp schedule fires --help`.
pub(in crate::args) const FIRES: &str = "\
Examples:
  mcp schedule fires report
  mcp schedule fires report --since 7d --all -o json | jq -r '.fires[] | select(.outcome != \"FIRE_OUTCOME_RAN\")'";

/// Below `mcp schedule next --help`.
pub(in crate::args) const NEXT: &str = "\
Examples:
  mcp schedule next report
  mcp schedule next --cron '30 2 * * *' --time-zone Europe/Berlin --after 2027-03-26 --count 4   # over a skipped hour
  mcp schedule next --cron '*/15 9-17 * * 1-5'";
