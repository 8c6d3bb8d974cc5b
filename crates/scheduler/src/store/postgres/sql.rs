//! Every statement. They name no schema: each connection has the store's schema as its search path.

pub(super) const BEGIN: &str = "BEGIN";
pub(super) const COMMIT: &str = "COMMIT";

pub(super) const FENCE: &str = "SELECT fence($1::int4[], $2::int8[])";
pub(super) const OPEN: &str = "\
    INSERT INTO partitions (partition, epoch, opening) VALUES ($1, $2, 1)
    ON CONFLICT (partition) DO UPDATE SET epoch = excluded.epoch, opening = partitions.opening + 1
    WHERE partitions.epoch <= excluded.epoch
    RETURNING opening";
pub(super) const ADVANCE: &str =
    "UPDATE partitions SET epoch = $2 WHERE partition = $1 AND opening = $3 AND epoch <= $2";
pub(super) const EPOCH: &str = "SELECT epoch FROM partitions WHERE partition = $1";

pub(super) const NUMBER_QUEUES: &str = "\
    INSERT INTO queues (namespace, queue) SELECT * FROM unnest($1::text[], $2::text[])
    ON CONFLICT DO NOTHING";
pub(super) const QUEUE_NUMBERS: &str = "\
    SELECT found.number FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS wanted (namespace, queue, place)
    JOIN queues AS found USING (namespace, queue) ORDER BY wanted.place";
pub(super) const QUEUES_OF_BOTH: &str = "SELECT number FROM queues WHERE namespace = $1 AND queue = $2 LIMIT $3";
pub(super) const QUEUES_OF_NAMESPACE: &str = "SELECT number FROM queues WHERE namespace = $1 LIMIT $2";
pub(super) const QUEUES_OF_NAME: &str = "SELECT number FROM queues WHERE queue = $1 LIMIT $2";

// A plain insert costs the server a quarter less than an upsert. New tasks are new and ends come once, so a conflict
// means that a batch is written again, or a record corrected: then the batch is tried again with upserts.
pub(super) const OPEN_INSERT: &str = "\
    INSERT INTO open_tasks (partition, queue, id, record)
    SELECT * FROM unnest($1::int4[], $2::int4[], $3::uuid[], $4::bytea[])";
pub(super) const OPEN_UPSERT: &str = "\
    INSERT INTO open_tasks (partition, queue, id, record)
    SELECT * FROM unnest($1::int4[], $2::int4[], $3::uuid[], $4::bytea[])
    ON CONFLICT (partition, id) DO UPDATE SET record = excluded.record";
pub(super) const OPEN_DELETE: &str = "\
    DELETE FROM open_tasks AS gone USING unnest($1::int4[], $2::uuid[]) AS ended (partition, id)
    WHERE gone.partition = ended.partition AND gone.id = ended.id";
pub(super) const DONE_INSERT: &str = "\
    INSERT INTO done_tasks (partition, queue, id, record, state, finish_ms)
    SELECT * FROM unnest($1::int4[], $2::int4[], $3::uuid[], $4::bytea[], $5::int2[], $6::int8[])";
pub(super) const DONE_UPSERT: &str = "\
    INSERT INTO done_tasks (partition, queue, id, record, state, finish_ms)
    SELECT * FROM unnest($1::int4[], $2::int4[], $3::uuid[], $4::bytea[], $5::int2[], $6::int8[])
    ON CONFLICT (partition, id) DO UPDATE
    SET record = excluded.record, state = excluded.state, finish_ms = excluded.finish_ms";
pub(super) const LABELS_INSERT: &str = "\
    INSERT INTO labels (partition, id, label, content)
    SELECT * FROM unnest($1::int4[], $2::uuid[], $3::text[], $4::text[]) ON CONFLICT DO NOTHING";
pub(super) const BLOBS_UPSERT: &str = "\
    INSERT INTO blobs (partition, id, kind, content)
    SELECT * FROM unnest($1::int4[], $2::uuid[], $3::int2[], $4::bytea[])
    ON CONFLICT (partition, id, kind) DO UPDATE SET content = excluded.content";
pub(super) const KEYS_UPSERT: &str = "\
    INSERT INTO idempotency_keys (partition, forget_ms, id, record)
    SELECT * FROM unnest($1::int4[], $2::int8[], $3::uuid[], $4::bytea[])
    ON CONFLICT (partition, forget_ms, id) DO UPDATE SET record = excluded.record";
pub(super) const LOGS_UPSERT: &str = "\
    INSERT INTO logs (partition, id, first_seq, chunk)
    SELECT * FROM unnest($1::int4[], $2::uuid[], $3::int8[], $4::bytea[])
    ON CONFLICT (partition, id, first_seq) DO UPDATE SET chunk = excluded.chunk";
pub(super) const ENTRIES_UPSERT: &str = "\
    INSERT INTO entries (partition, kind, key, content, expires_ms)
    SELECT * FROM unnest($1::int4[], $2::int2[], $3::bytea[], $4::bytea[], $5::int8[])
    ON CONFLICT (partition, kind, key) DO UPDATE SET content = excluded.content, expires_ms = excluded.expires_ms";
pub(super) const ENTRIES_DELETE: &str = "\
    DELETE FROM entries AS gone USING unnest($1::int4[], $2::int2[], $3::bytea[]) AS wanted (partition, kind, key)
    WHERE gone.partition = wanted.partition AND gone.kind = wanted.kind AND gone.key = wanted.key";

// One statement, so one snapshot: a task that ends meanwhile is seen once.
pub(super) const TASK: &str = "\
    SELECT record, (SELECT content FROM blobs WHERE partition = $1 AND id = $2 AND kind = $3) FROM (
        SELECT record FROM open_tasks WHERE partition = $1 AND id = $2
        UNION ALL SELECT record FROM done_tasks WHERE partition = $1 AND id = $2) AS task";
// Blobs after the one that fills the room are left out.
pub(super) const TO_RUN: &str = "\
    SELECT place, open.id, open.record, CASE WHEN coalesce(sum(octet_length(apart.content)) OVER (
            ORDER BY place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) < $3 THEN apart.content END
    FROM unnest($2::uuid[]) WITH ORDINALITY AS wanted (id, place)
    JOIN open_tasks AS open ON open.partition = $1 AND open.id = wanted.id
    LEFT JOIN blobs AS apart ON apart.partition = $1 AND apart.id = wanted.id AND apart.kind = 0
    ORDER BY place";

pub(super) const LOAD_OPEN: &str =
    "SELECT id, record FROM open_tasks WHERE partition = $1 AND id > $2 ORDER BY id LIMIT $3";
pub(super) const LOAD_KEYS: &str = "\
    SELECT forget_ms, id, record FROM idempotency_keys
    WHERE partition = $1 AND (forget_ms, id) > ($2, $3) ORDER BY forget_ms, id LIMIT $4";
pub(super) const LOAD_ENTRIES: &str = "\
    SELECT key, content, expires_ms FROM entries
    WHERE partition = $1 AND kind = $2 AND key > $3 ORDER BY key LIMIT $4";

pub(super) const LIST_ALL: &str = "\
    SELECT id, record FROM (
        (SELECT id, record FROM open_tasks WHERE partition = $1 AND id < $2 AND $4 ORDER BY id DESC LIMIT $3)
        UNION ALL
        (SELECT id, record FROM done_tasks WHERE partition = $1 AND id < $2 AND $5 ORDER BY id DESC LIMIT $3)
    ) AS task ORDER BY id DESC LIMIT $3";
pub(super) const LIST_UNSUCCESSFUL: &str = "\
    SELECT id, record FROM (
        (SELECT id, record FROM open_tasks WHERE partition = $1 AND id < $2 AND $4 ORDER BY id DESC LIMIT $3)
        UNION ALL
        (SELECT id, record FROM done_tasks WHERE partition = $1 AND id < $2 AND state <> 6 AND $5
         ORDER BY id DESC LIMIT $3)
    ) AS task ORDER BY id DESC LIMIT $3";
pub(super) const LIST_QUEUES: &str = "\
    SELECT task.id, task.record FROM unnest($6::int4[]) AS wanted (queue), LATERAL (
        (SELECT id, record FROM open_tasks AS open
         WHERE partition = $1 AND open.queue = wanted.queue AND id < $2 AND $4 ORDER BY id DESC LIMIT $3)
        UNION ALL
        (SELECT id, record FROM done_tasks AS done
         WHERE partition = $1 AND done.queue = wanted.queue AND id < $2 AND $5 ORDER BY id DESC LIMIT $3)
    ) AS task ORDER BY task.id DESC LIMIT $3";
pub(super) const LIST_LABELLED: &str = "\
    SELECT wanted.id, task.record FROM (
        SELECT id FROM labels WHERE partition = $1 AND label = $6 AND content = $7 AND id < $2
        ORDER BY id DESC LIMIT $3
    ) AS wanted LEFT JOIN LATERAL (
        SELECT record FROM open_tasks AS open WHERE partition = $1 AND open.id = wanted.id AND $4
        UNION ALL SELECT record FROM done_tasks AS done WHERE partition = $1 AND done.id = wanted.id AND $5
    ) AS task ON true ORDER BY wanted.id DESC";

pub(super) const LOG_FROM: &str = "\
    SELECT first_seq, chunk FROM logs WHERE partition = $1 AND id = $2 AND first_seq >= coalesce(
        (SELECT first_seq FROM logs WHERE partition = $1 AND id = $2 AND first_seq <= $3
         ORDER BY first_seq DESC LIMIT 1), 0)
    ORDER BY first_seq LIMIT $4";
pub(super) const LOG_LAST: &str =
    "SELECT chunk FROM logs WHERE partition = $1 AND id = $2 ORDER BY first_seq DESC LIMIT 1";
pub(super) const ENTRY: &str = "SELECT content FROM entries WHERE partition = $1 AND kind = $2 AND key = $3";
pub(super) const SCAN_FROM: &str = "\
    SELECT key, content FROM entries WHERE partition = $1 AND kind = $2 AND key >= $3 ORDER BY key LIMIT $4";
pub(super) const SCAN_AFTER: &str = "\
    SELECT key, content FROM entries WHERE partition = $1 AND kind = $2 AND key > $3 ORDER BY key LIMIT $4";

pub(super) const SWEEP_LOOK: &str = "\
    SELECT id, finish_ms FROM done_tasks WHERE partition = $1 AND id >= $2 AND id < $3 ORDER BY id LIMIT $4";
pub(super) const SWEEP_DUE: &str = "\
    SELECT EXISTS (SELECT 1 FROM idempotency_keys WHERE partition = $1 AND forget_ms <= $2),
           EXISTS (SELECT 1 FROM entries WHERE partition = $1 AND expires_ms > 0 AND expires_ms <= $2)";
// What a commit holds is left for the next sweep: a sweep never waits for a row, so it is in no deadlock.
pub(super) const SWEEP_TAKE: &str = "\
    SELECT id, record FROM done_tasks WHERE partition = $1 AND id = ANY ($2) AND finish_ms < $3
    FOR UPDATE SKIP LOCKED";
pub(super) const SWEEP_LOGS: &str = "\
    DELETE FROM logs WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM logs WHERE partition = $1 AND id = ANY ($2) LIMIT $3 FOR UPDATE SKIP LOCKED))";
pub(super) const SWEEP_BLOBS: &str = "DELETE FROM blobs WHERE partition = $1 AND id = ANY ($2)";
pub(super) const SWEEP_LABELS: &str = "\
    DELETE FROM labels AS gone USING unnest($2::uuid[], $3::text[], $4::text[]) AS old (id, label, content)
    WHERE gone.partition = $1 AND gone.label = old.label AND gone.content = old.content AND gone.id = old.id";
pub(super) const SWEEP_TASKS: &str = "DELETE FROM done_tasks WHERE partition = $1 AND id = ANY ($2)";
pub(super) const SWEEP_KEYS: &str = "\
    DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM idempotency_keys WHERE partition = $1 AND forget_ms <= $2
        ORDER BY forget_ms LIMIT $3 FOR UPDATE SKIP LOCKED))";
pub(super) const SWEEP_ENTRIES: &str = "\
    DELETE FROM entries WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM entries WHERE partition = $1 AND expires_ms > 0 AND expires_ms <= $2
        ORDER BY expires_ms LIMIT $3 FOR UPDATE SKIP LOCKED))";
