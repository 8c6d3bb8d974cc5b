//! What the server does for each statement: it takes an index that leads to what is wanted, whatever it knows of the
//! tables, and reads no more than is asked for.

use mcp_proto::{
    TaskId,
    scheduler::v1::{TaskSpec, TaskState},
};
use prost::Message as _;
use testkit::Postgres;
use tokio_postgres::SimpleQueryMessage;

use super::{
    super::{connection::Connection, sql},
    store,
};
use crate::store::{Entry, Fixed, LogChunk, Moving, PartitionStore, Store as _, Table, Write};

/// Tasks on record, half of them finished.
const TASKS: u64 = 4_000;
/// Rows that the statements ask for.
const LIMIT: u64 = 50;
/// Latest id.
const LAST: &str = "'ffffffff-ffff-ffff-ffff-ffffffffffff'";

/// A statement, the types of its parameters, and values for them.
type Case = (&'static str, &'static str, &'static str);

/// Those that only read: they are run, and what they read is counted.
const READS: [Case; 20] = [
    (sql::LIST_ALL, "int4, uuid, int8, bool, bool", "1, LAST, 50, true, true"),
    (sql::LIST_UNSUCCESSFUL, "int4, uuid, int8, bool, bool", "1, LAST, 50, true, true"),
    (sql::LIST_QUEUES, "int4, uuid, int8, bool, bool, int4[]", "1, LAST, 50, true, true, '{1,2,3}'"),
    (sql::LIST_LABELLED, "int4, uuid, int8, bool, bool, text, text", "1, LAST, 50, true, true, 'of', 'q3'"),
    (sql::QUEUES_OF_BOTH, "text, text, int8", "'n', 'q3', 50"),
    (sql::QUEUES_OF_NAMESPACE, "text, int8", "'n', 50"),
    (sql::QUEUES_OF_NAME, "text, int8", "'q3', 50"),
    (sql::TASK, "int4, uuid, int2", "1, LAST, 0"),
    (sql::TO_RUN, "int4, uuid[], int8", "1, ARRAY[LAST]::uuid[], 50"),
    (sql::LOAD_OPEN, "int4, uuid, int8", "1, '00000000-0000-0000-0000-000000000000', 50"),
    (sql::LOAD_KEYS, "int4, int8, uuid, int8", "1, 0, LAST, 50"),
    (sql::LOAD_ENTRIES, "int4, int2, bytea, int8", "1, 4, '', 50"),
    (sql::LOG_FROM, "int4, uuid, int8, int8", "1, LAST, 1, 50"),
    (sql::LOG_LAST, "int4, uuid", "1, LAST"),
    (sql::ENTRY, "int4, int2, bytea", "1, 4, '7'"),
    (sql::SCAN_FROM, "int4, int2, bytea, int8", "1, 4, '7', 50"),
    (sql::SCAN_AFTER, "int4, int2, bytea, int8", "1, 4, '7', 50"),
    (sql::SWEEP_LOOK, "int4, uuid, uuid, int8", "1, '00000000-0000-0000-0000-000000000000', LAST, 50"),
    (sql::SWEEP_DUE, "int4, int8", "1, 0"),
    (sql::EPOCH, "int4", "1"),
];

/// Those that write: they are only planned.
const WRITES: [Case; 12] = [
    (sql::OPEN_UPSERT, "int4[], int4[], uuid[], bytea[]", "'{1}', '{1}', ARRAY[LAST]::uuid[], '{x}'"),
    (sql::OPEN_DELETE, "int4[], uuid[]", "'{1}', ARRAY[LAST]::uuid[]"),
    (sql::ENTRIES_DELETE, "int4[], int2[], bytea[]", "'{1}', '{1}', '{x}'"),
    (sql::ADVANCE, "int4, int8, int8", "1, 1, 1"),
    (sql::SWEEP_TAKE, "int4, uuid[], int8", "1, ARRAY[LAST]::uuid[], 7"),
    (sql::SWEEP_LOGS, "int4, uuid[], int8", "1, ARRAY[LAST]::uuid[], 50"),
    (sql::SWEEP_BLOBS, "int4, uuid[]", "1, ARRAY[LAST]::uuid[]"),
    (sql::SWEEP_LABELS, "int4, uuid[], text[], text[]", "1, ARRAY[LAST]::uuid[], '{a}', '{b}'"),
    (sql::SWEEP_TASKS, "int4, uuid[]", "1, ARRAY[LAST]::uuid[]"),
    (sql::SWEEP_KEYS, "int4, int8, int8", "1, 7, 50"),
    (sql::SWEEP_ENTRIES, "int4, int8, int8", "1, 7, 50"),
    (sql::QUEUE_NUMBERS, "text[], text[]", "'{n}', '{q3}'"),
];

#[test]
fn every_statement_takes_an_index_and_reads_what_it_was_asked_for() {
    let store = store(&Postgres::shared().database());
    let partitions = [0, 1, 2].map(|number| store.open(number, 1).unwrap());
    partitions.iter().for_each(|partition| fill(&**partition));
    let explained = store.0.read("explain", async |connection| {
        // First with no statistics, as in a young cluster.
        for analyze in ["", "ANALYZE"] {
            connection.client().batch_execute(analyze).await.unwrap();
            for case in READS {
                check(&case, &explain(connection, &case, ", ANALYZE, TIMING OFF, SUMMARY OFF").await);
            }
            for case in WRITES {
                check(&case, &explain(connection, &case, "").await);
            }
        }
        Ok(())
    });
    explained.unwrap();
}

/// The plan that every execution of the prepared statement takes.
async fn explain(connection: &mut Connection, case: &Case, options: &str) -> Vec<String> {
    let (sql, types, values) = case;
    let values = values.replace("LAST", LAST);
    let text = format!(
        "PREPARE explained ({types}) AS {sql};
         EXPLAIN (COSTS OFF {options}) EXECUTE explained ({values});
         DEALLOCATE explained"
    );
    let messages = connection.client().simple_query(&text).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let line = |message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    };
    messages.into_iter().filter_map(line).collect()
}

fn check((sql, ..): &Case, plan: &[String]) {
    let whole = plan.join("\n");
    for bad in ["Seq Scan", "Bitmap", "Rows Removed by"] {
        assert!(!whole.contains(bad), "{bad}:\n{sql}\n{whole}");
    }
    for (at, line) in plan.iter().enumerate().filter(|(_, line)| line.contains("Index") && line.contains(" using ")) {
        let condition = plan.get(at + 1).map_or("", String::as_str);
        assert!(condition.contains("Index Cond"), "no condition:\n{sql}\n{whole}");
        let is_ours = condition.contains("partition = ") || line.contains(" on queues");
        assert!(is_ours, "reads other partitions:\n{sql}\n{whole}");
        let rows = line.split_once("actual rows=").and_then(|(_, rest)| rest.split(' ').next()?.parse::<u64>().ok());
        assert!(rows.unwrap_or_default() <= LIMIT, "reads too much:\n{sql}\n{whole}");
    }
}

fn fill(partition: &dyn PartitionStore) {
    let home = u64::from(partition.ticket().partition);
    let id = |n: u64| TaskId::new(n / 3 + 1, 0, 0, (home * TASKS + n) << 20);
    for part in (0..TASKS).collect::<Vec<_>>().chunks(1_000) {
        let writes = part.iter().flat_map(|n| {
            let spec = TaskSpec {
                namespace: "n".to_owned(),
                queue: format!("q{}", n % 20),
                labels: [("of".to_owned(), format!("q{}", n % 20))].into(),
                ..TaskSpec::default()
            };
            let len = spec.encoded_len();
            let (fixed, whole) = Fixed::encode(spec, len, 0, "", None);
            let moving = |state: TaskState| Moving { state: state.into(), finish_ms: 9, ..Moving::default() };
            let new = Write::Submitted {
                id: id(*n),
                fixed: fixed.clone(),
                whole,
                moving: moving(TaskState::Pending),
                key: None,
            };
            let state = if n % 10 == 0 { TaskState::Failed } else { TaskState::Succeeded };
            let end = (n % 2 == 0).then(|| Write::Finished { id: id(*n), fixed, moving: moving(state) });
            let entry = Entry {
                table: Table::Fire,
                key: n.to_string().into(),
                value: "v".into(),
                expires_ms: if n % 3 == 0 { 7 } else { 0 },
            };
            let log =
                Write::Logs { id: id(*n), chunk: LogChunk { lines: Vec::new(), bytes_total: 0, truncated: false } };
            [Some(new), end, Some(Write::Put(entry)), Some(log)].into_iter().flatten().collect::<Vec<_>>()
        });
        partition.commit(&writes.collect::<Vec<_>>()).unwrap();
    }
}
