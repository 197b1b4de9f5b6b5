//! A few read-only connections, and the clock that stops a query which takes too long.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    Connection as _, Sqlite, SqliteConnection, SqlitePool,
    pool::PoolConnection,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tokio::time::Instant;

use super::{DEFAULT_TIME_BOUND, ReadError};
use crate::{
    chain::Instance,
    schema::{check_identity, instance, reader_options, user_version},
};

/// Steps of SQLite's machine between two looks at the time.
const STEPS: i32 = 4000;
const MAX_CONNECTIONS: u32 = 4;

#[derive(Clone, Debug)]
pub(crate) struct Connections {
    pool: SqlitePool,
    options: SqliteConnectOptions,
    pub(crate) time_bound: Duration,
}

impl Connections {
    pub(crate) async fn open(path: &Path) -> Result<(Self, Instance), ReadError> {
        if !path.exists() {
            return Err(ReadError::Absent(path.to_owned()));
        }
        let options = reader_options(path, false);
        let (options, instance) = match probe(&options, path).await {
            Ok(instance) => (options, instance),
            // A folder that cannot be written has no place for the shared memory of a write-ahead log. Without a log
            // the file is complete by itself and can be read as it is; with one it must not be.
            Err(ReadError::Open { .. } | ReadError::Storage(_)) if !has_log(path) => {
                let options = reader_options(path, true);
                let instance = probe(&options, path).await?;
                (options, instance)
            }
            Err(error) => return Err(error),
        };
        let pool = SqlitePoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            .min_connections(0)
            .acquire_timeout(DEFAULT_TIME_BOUND)
            .idle_timeout(Duration::from_secs(60))
            .connect_lazy_with(options.clone());
        Ok((
            Self {
                pool,
                options,
                time_bound: DEFAULT_TIME_BOUND,
            },
            instance,
        ))
    }

    /// A connection whose queries end when the time is up.
    pub(crate) async fn bounded(&self) -> Result<PoolConnection<Sqlite>, ReadError> {
        let deadline = Instant::now() + self.time_bound;
        let acquired = tokio::time::timeout_at(deadline, async {
            let mut connection = self.pool.acquire().await?;
            connection
                .lock_handle()
                .await?
                .set_progress_handler(STEPS, move || Instant::now() < deadline);
            Ok::<_, sqlx::Error>(connection)
        });
        match acquired.await {
            Ok(Ok(connection)) if Instant::now() < deadline => Ok(connection),
            Ok(Err(error)) => Err(read_error(error)),
            Ok(Ok(_)) | Err(_) => Err(ReadError::TimedOut(self.time_bound)),
        }
    }

    /// A connection outside the pool that may take its time, for work that goes through all the ledger.
    pub(crate) async fn patient(&self) -> Result<SqliteConnection, ReadError> {
        SqliteConnection::connect_with(&self.options)
            .await
            .map_err(read_error)
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

/// The reading of a database error.
pub(super) fn read_error(error: sqlx::Error) -> ReadError {
    const INTERRUPTED: &str = "9";
    match &error {
        sqlx::Error::PoolTimedOut => ReadError::TimedOut(DEFAULT_TIME_BOUND),
        sqlx::Error::Database(database) if database.code().is_some_and(|code| code == INTERRUPTED) => {
            ReadError::TimedOut(DEFAULT_TIME_BOUND)
        }
        _ => ReadError::Storage(error),
    }
}

async fn probe(options: &SqliteConnectOptions, path: &Path) -> Result<Instance, ReadError> {
    let open = |source| ReadError::Open {
        path: path.to_owned(),
        source,
    };
    let mut connection = SqliteConnection::connect_with(options).await.map_err(open)?;
    let version = user_version(&mut connection).await.map_err(open)?;
    check_identity(&mut connection, path, version)
        .await
        .map_err(|error| match error {
            crate::Error::Open { source, .. } => open(source),
            other => ReadError::Unfit(Box::new(other)),
        })?;
    let found = match version {
        0 => None,
        _ => instance(&mut connection).await.map_err(open)?,
    };
    let _ = connection.close().await;
    match found {
        Some((instance, _)) => Ok(instance),
        None => Err(ReadError::Unfit(Box::new(crate::Error::NotALedger {
            path: path.to_owned(),
        }))),
    }
}

fn has_log(path: &Path) -> bool {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name).metadata().is_ok_and(|log| log.len() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealwright_identity::SystemClock;
    use std::sync::Arc;

    #[tokio::test]
    async fn a_query_without_end_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let ledger = crate::Ledger::open(&path, crate::LedgerConfig::default(), Arc::new(SystemClock))
            .await
            .unwrap();
        let reader = ledger.reader().clone().with_time_bound(Duration::from_millis(50));
        let endless =
            "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c";
        let mut connection = reader.connections.bounded().await.unwrap();
        let error = sqlx::query(endless)
            .fetch_one(&mut *connection)
            .await
            .unwrap_err();
        assert!(matches!(read_error(error), ReadError::TimedOut(_)));
        // The connection is as good as before.
        drop(connection);
        assert_eq!(ledger.reader().head().await.unwrap().sequence, 0);
        ledger.close().await;
    }
}
