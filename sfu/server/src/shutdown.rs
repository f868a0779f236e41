//! When the server is asked to end.
//!
//! In: Ctrl-C (SIGINT) and SIGTERM. Out: the first ends it cleanly, the second at once.

use tokio::signal::unix::{SignalKind, signal};

/// The exit status of a process ended by Ctrl-C, as shells have it.
const INTERRUPTED: i32 = 130;

/// Returns at the first signal; from then on another one ends the process at once.
pub(crate) async fn asked() -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::warn!("asked twice: ending at once");
        std::process::exit(INTERRUPTED);
    });
    Ok(())
}
