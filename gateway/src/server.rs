//! Takes connections and hands their requests to the router.
//!
//! Done by hand where the web framework would do it, for two things it does not: a limit on how long a request's head may
//! take, without which whoever opens a connection and says nothing has it for ever, and the address a request comes from.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tower_service::Service;
use tracing::{debug, warn};

/// How long to let be what keeps connections from being accepted, such as too many open files.
const PAUSE: Duration = Duration::from_millis(500);

/// Who is at the other end of a request's connection: an extension of the request.
#[derive(Clone, Copy)]
pub struct Peer(pub IpAddr);

/// Serves on `listener` until `shutdown`, then until the requests under way are answered.
///
/// A connection on which no complete head arrives within `head_patience` is closed.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    head_patience: Duration,
    shutdown: impl Future<Output = ()>,
) {
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(head_patience);
    let connections = GracefulShutdown::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_connection(&error) => continue,
            Err(error) => {
                warn!(%error, "no connection can be accepted at the moment");
                sleep(PAUSE).await;
                continue;
            }
        };
        // Answers are small and complete; waiting to fill a packet only delays them.
        let _ = stream.set_nodelay(true);
        let router = router.clone();
        let answer = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer.ip()));
            router.clone().call(request.map(Body::new))
        });
        let connection = connections.watch(server.serve_connection(TokioIo::new(stream), answer));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "a connection ended badly");
            }
        });
    }
    drop(listener);
    connections.shutdown().await;
}

/// Whether only the connection that was to be accepted is concerned.
fn is_of_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}
