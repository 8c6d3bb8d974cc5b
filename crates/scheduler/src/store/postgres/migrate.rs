//! Schema migrations: numbered files, each run once. Any number of processes may start at the same time.

use tokio_postgres::Client;

use super::failure::failed;
use crate::store::Error;

/// All migrations, oldest first. One that was released is never changed.
const MIGRATIONS: [(i32, &str, &str); 1] = [(1, "tables", include_str!("migrations/0001_tables.sql"))];

/// Brings the schema up to date, in one transaction.
///
/// # Errors
/// [`Error::Unavailable`]; [`Error::Corrupt`] when a newer version of this program was here.
pub(super) async fn migrate(client: &mut Client, schema: &str) -> Result<(), Error> {
    let failed = failed("migrate its schema");
    let transaction = client.transaction().await.map_err(&failed)?;
    // Looking is no protection from somebody who makes the same at the same time; the lock is. What is there is not made
    // again, so that a user without the right to make anything can use it.
    transaction
        .batch_execute(&format!(
            "SELECT pg_advisory_xact_lock(hashtextextended('mcp migrations of {schema}', 0));
             DO $$ BEGIN
                 IF to_regnamespace('{schema}') IS NULL THEN CREATE SCHEMA \"{schema}\"; END IF;
                 IF to_regclass('mcp_migrations') IS NULL THEN
                     CREATE TABLE mcp_migrations (
                         version int4 PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now());
                 END IF;
             END $$"
        ))
        .await
        .map_err(&failed)?;
    let row = transaction.query_one("SELECT coalesce(max(version), 0) FROM mcp_migrations", &[]).await;
    let current: i32 = row.and_then(|row| row.try_get(0)).map_err(&failed)?;
    let newest = MIGRATIONS.last().map_or(0, |(version, ..)| *version);
    if current > newest {
        let reason = format!(
            "it is at version {current}, and this program knows versions up to {newest}: run the newer program that \
             migrated it, or name another schema"
        );
        return Err(Error::Corrupt { key: format!("schema {schema}"), reason });
    }
    for (version, name, text) in MIGRATIONS.into_iter().filter(|(version, ..)| *version > current) {
        transaction.batch_execute(text).await.map_err(&failed)?;
        let insert = "INSERT INTO mcp_migrations (version, name) VALUES ($1, $2)";
        transaction.execute(insert, &[&version, &name]).await.map_err(&failed)?;
        tracing::info!(schema, version, name, "migrated the PostgreSQL schema");
    }
    transaction.commit().await.map_err(&failed)
}
