//! What HTTP/1.1 asks of a proxy, row by row, in raw bytes: a client that sends them, evenkeel, and a replica that
//! records them. Nothing here knows how evenkeel works inside.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "test code: what is not as expected must fail the test"
)]

mod case;
mod client;
mod docs;
mod pieces;
mod process;
mod replica;
mod rows;
mod run;
mod tables;
mod world;

use std::io;
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};

/// How long anything may take that is to happen.
const PATIENCE: Duration = Duration::from_secs(10);

/// Writes byte by byte.
async fn paced(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    for byte in bytes {
        stream.write_all(&[*byte]).await?;
        pause().await;
    }
    Ok(())
}

/// Long enough for bytes to be read before more are sent, mostly; nothing depends on it but what is tried.
async fn pause() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}
