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
    // `IF NOT EXISTS` is no protection from somebody who makes the same at the same time; the lock is.
    transaction
        .batch_execute(&format!(
            "SELECT pg_advisory_xact_lock(hashtextextended('mcp migrations of {schema}', 0));
             DO $$ BEGIN
                 IF to_regnamespace('{schema}') IS NULL THEN CREATE SCHEMA \"{schema}\"; END IF;
             END $$;
             CREATE TABLE IF NOT EXISTS mcp_migrations (
                 version int4 PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        ))
        .await
        .map_err(&failed)?;
    let row = transaction.query_one("SELECT coalesce(max(version), 0) FROM mcp_migrations", &[]).await;
    let current: i32 = row.and_then(|row| row.try_get(0)).map_err(&failed)?;
    let newest = MIGRATIONS.last().map_or(0, |(version, ..)| *version);
    if current > newest {
        let reason = format!("the schema is at version {current}; this program knows versions up to {newest}");
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
