-- Runs once, in a transaction, with the schema as search path.

-- Who may write to a partition: its newest epoch, and a number for each opening.
CREATE TABLE partitions (
    partition int4 PRIMARY KEY,
    epoch     int8 NOT NULL,
    opening   int8 NOT NULL
) WITH (fillfactor = 50);

-- Queues by number, so that tasks and their indexes hold four bytes instead of two names.
CREATE TABLE queues (
    number    int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    namespace text COLLATE "C" NOT NULL,
    queue     text COLLATE "C" NOT NULL,
    UNIQUE (namespace, queue)
);
CREATE INDEX queues_by_name ON queues (queue);

-- Unfinished tasks. Rows come and go, so it is cleaned early.
CREATE TABLE open_tasks (
    partition int4  NOT NULL,
    queue     int4  NOT NULL,
    id        uuid  NOT NULL,
    record    bytea NOT NULL,
    PRIMARY KEY (partition, id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 20000);
CREATE INDEX open_tasks_by_queue ON open_tasks (partition, queue, id);

-- Finished tasks. Rows stay until the retention sweep.
CREATE TABLE done_tasks (
    partition int4  NOT NULL,
    queue     int4  NOT NULL,
    finish_ms int8  NOT NULL,
    id        uuid  NOT NULL,
    state     int2  NOT NULL,
    record    bytea NOT NULL,
    PRIMARY KEY (partition, id)
);
CREATE INDEX done_tasks_by_queue ON done_tasks (partition, queue, id);
-- 6 is SUCCEEDED: what is looked for most is what failed, and it is rare.
CREATE INDEX done_tasks_unsuccessful ON done_tasks (partition, id) WHERE state <> 6;

-- Labels of tasks, finished or not, in the order in which lists show them.
CREATE TABLE labels (
    partition int4 NOT NULL,
    id        uuid NOT NULL,
    label     text COLLATE "C" NOT NULL,
    content   text COLLATE "C" NOT NULL,
    PRIMARY KEY (partition, label, content, id)
);

-- Specs (kind 0) and outputs (kind 1) too large for the record.
CREATE TABLE blobs (
    partition int4  NOT NULL,
    id        uuid  NOT NULL,
    kind      int2  NOT NULL,
    content   bytea NOT NULL,
    PRIMARY KEY (partition, id, kind)
);
ALTER TABLE blobs ALTER COLUMN content SET STORAGE EXTERNAL;

-- Idempotency keys.
CREATE TABLE idempotency_keys (
    partition int4  NOT NULL,
    forget_ms int8  NOT NULL,
    id        uuid  NOT NULL,
    record    bytea NOT NULL,
    PRIMARY KEY (partition, forget_ms, id)
);

-- Chunks of log lines.
CREATE TABLE logs (
    partition int4  NOT NULL,
    id        uuid  NOT NULL,
    first_seq int8  NOT NULL,
    chunk     bytea NOT NULL,
    PRIMARY KEY (partition, id, first_seq)
);

-- Everything else, by table and key. Expiry 0 means never.
CREATE TABLE entries (
    partition int4  NOT NULL,
    kind      int2  NOT NULL,
    expires_ms int8 NOT NULL,
    key       bytea NOT NULL,
    content   bytea NOT NULL,
    PRIMARY KEY (partition, kind, key)
);
CREATE INDEX entries_by_expiry ON entries (partition, expires_ms) WHERE expires_ms > 0;

-- Fails unless each opening is the latest of its partition, and keeps it so until the transaction ends.
CREATE FUNCTION fence(wanted_partitions int4[], wanted_openings int8[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    lost record;
BEGIN
    PERFORM 1 FROM partitions WHERE partition = ANY (wanted_partitions) ORDER BY partition FOR SHARE;
    SELECT wanted.partition, found.epoch INTO lost
        FROM unnest(wanted_partitions, wanted_openings) AS wanted (partition, opening)
        LEFT JOIN partitions AS found USING (partition)
        WHERE found.opening IS DISTINCT FROM wanted.opening
        ORDER BY wanted.partition LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'fenced' USING ERRCODE = 'MCP01', DETAIL = lost.partition || ' ' || coalesce(lost.epoch, 0);
    END IF;
END
$$;
