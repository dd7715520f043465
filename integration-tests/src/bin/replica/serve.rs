//! The life of the serving replica: wait, listen, answer, and stop the way it was told to.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use integration_tests::process;

use crate::options::{Options, TermMode};
use crate::routes::App;
use crate::work::WorkLog;

/// Serves until SIGTERM has had its say.
pub(crate) async fn run(options: Options) -> io::Result<()> {
    if let Some(core) = options.core {
        // Before there is another thread.
        process::stay_on(core)?;
    }
    // Caught from the first moment: as PID 1 of a container nothing else would act on them.
    let stop = Stop::new(&options)?;
    let mut stop = pin!(stop.requested());
    tokio::select! {
        () = &mut stop => return Ok(()),
        () = sleep(options.start_delay) => {}
    }
    let listener = TcpListener::bind((options.address, options.port)).await?;
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_owned();
    println!("{hostname} listens on {}", listener.local_addr()?);
    let ready_at = Instant::now() + options.ready_delay;
    let work_log = WorkLog::open(options.work_log.as_deref(), &hostname)?;
    work_log.ready(SystemTime::now() + options.ready_delay)?;
    let app = Arc::new(App { hostname, ready_at, work_log, tunnels: TaskTracker::new(), options });
    serve(listener, app, stop).await;
    Ok(())
}

/// Accepts until `stop`, goes on for the exit delay, then lets what is open end, for a bounded time.
async fn serve(listener: TcpListener, app: Arc<App>, stop: impl Future<Output = ()>) {
    let connections = TaskTracker::new();
    let closing = CancellationToken::new();
    let mut stopped = pin!(async {
        stop.await;
        // A log that cannot be written is missed by whoever reads it.
        let _ = app.work_log.told_to_stop();
        sleep(app.options.exit_delay).await;
    });
    loop {
        tokio::select! {
            () = &mut stopped => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => _ = connections.spawn(converse(stream, Arc::clone(&app), closing.clone())),
                // Out of descriptors, most likely: accepting again at once would spin.
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    }
    drop(listener);
    closing.cancel();
    connections.close();
    app.tunnels.close();
    let _ = timeout(app.options.drain, async { tokio::join!(connections.wait(), app.tunnels.wait()) }).await;
}

/// Answers one client's requests until it goes, or until the answer that is due when `closing` comes.
async fn converse(stream: TcpStream, app: Arc<App>, closing: CancellationToken) {
    // Small answers should not wait for an ACK.
    let _ = stream.set_nodelay(true);
    let keep_alive = app.options.keep_alive;
    let service = service_fn(move |request| {
        let app = Arc::clone(&app);
        async move { Ok::<_, Infallible>(app.answer(request).await) }
    });
    let mut server = http1::Builder::new();
    if !keep_alive.is_zero() {
        server.timer(TokioTimer::new()).header_read_timeout(keep_alive);
    }
    let mut connection = pin!(server.serve_connection(TokioIo::new(stream), service).with_upgrades());
    // A client that breaks off is its own affair.
    tokio::select! {
        _ = &mut connection => {}
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

/// The signals that may end the program.
struct Stop {
    mode: TermMode,
    term: Signal,
    int: Signal,
}

impl Stop {
    fn new(options: &Options) -> io::Result<Self> {
        // A reload signal is none to die of.
        drop(signal(SignalKind::hangup())?);
        Ok(Self {
            mode: options.term_mode,
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
        })
    }

    /// Resolves when the program is to stop in its own time.
    async fn requested(mut self) {
        loop {
            tokio::select! {
                _ = self.int.recv() => return,
                _ = self.term.recv() => match self.mode {
                    TermMode::Graceful => return,
                    TermMode::Abrupt => std::process::exit(0),
                    TermMode::Ignore => {}
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::fetch::get;

    /// A replica on a port of its own, with the handle that stops it and the task that ends when it has.
    async fn replica() -> (std::net::SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        let options = Options::from_env().unwrap();
        let ready_at = Instant::now();
        let work_log = WorkLog::open(None, "here").unwrap();
        let app = Arc::new(App { options, hostname: "here".into(), ready_at, work_log, tunnels: TaskTracker::new() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        (addr, stop.clone(), tokio::spawn(serve(listener, app, stop.cancelled_owned())))
    }

    #[tokio::test]
    async fn every_route_answers_as_documented() {
        let (addr, _stop, _task) = replica().await;
        for (path, status, body) in [
            ("/", 200, "here\n"),
            ("/ready", 200, "ready\n"),
            ("/slow?ms=1", 200, "here\n"),
            ("/status/503", 503, "503 Service Unavailable\n"),
            ("/stream?chunks=2&ms=1", 200, "chunk 0\nchunk 1\n"),
            ("/echo", 200, ""),
            ("/upgrade", 426, "send an Upgrade header\n"),
            ("/work", 400, "which id?\n"),
            ("/work?id=1-2", 400, "1-2 in the query, None in the header\n"),
            ("/nowhere", 404, "no such path\n"),
        ] {
            let answer = get(&format!("http://{addr}{path}")).await.unwrap();
            assert_eq!((answer.status, answer.text().as_str()), (status, body), "{path}");
        }
        let headers = get(&format!("http://{addr}/headers?x")).await.unwrap().text();
        assert!(headers.starts_with("GET /headers?x HTTP/1.1\n") && headers.contains(&format!("host: {addr}\n")));
    }

    #[tokio::test]
    async fn an_upgraded_connection_echoes() {
        let (addr, _stop, _task) = replica().await;
        let mut tunnel = TcpStream::connect(addr).await.unwrap();
        tunnel
            .write_all(b"GET /upgrade HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n")
            .await
            .unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(tunnel.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "));
        tunnel.write_all(b"there and back").await.unwrap();
        let mut echoed = [0; 14];
        tunnel.read_exact(&mut echoed).await.unwrap();
        assert_eq!(&echoed, b"there and back");
    }

    #[tokio::test]
    async fn stopping_finishes_open_requests_and_closes_idle_connections() {
        let (addr, stop, task) = replica().await;
        let mut idle = TcpStream::connect(addr).await.unwrap();
        idle.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut byte = [0];
        idle.read_exact(&mut byte).await.unwrap();
        let mut open = TcpStream::connect(addr).await.unwrap();
        open.write_all(b"GET /stream?chunks=3&ms=50 HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        open.read_exact(&mut byte).await.unwrap();

        stop.cancel();
        let (mut rest, mut chunks) = (Vec::new(), String::new());
        idle.read_to_end(&mut rest).await.unwrap();
        open.read_to_string(&mut chunks).await.unwrap();
        assert!(chunks.contains("chunk 2\n") && chunks.ends_with("0\r\n\r\n"), "{chunks}");
        timeout(Duration::from_secs(5), task).await.unwrap().unwrap();
        assert!(TcpStream::connect(addr).await.is_err());
    }
}
