//! evenkeel between raw clients and recording replicas.

use std::io;
use std::time::Duration;

use evenkeel::app::App;
use evenkeel::config::{Flags, Sources};
use evenkeel::replica::Replica as Known;
use integration_tests::eventually;

use crate::PATIENCE;
use crate::client::{Client, Ended};
use crate::replica::{Recorded, Replica, Script};

/// Variables beyond [`BASE`].
pub(crate) type Settings = &'static [(&'static str, &'static str)];

const BASE: Settings = &[
    ("EVENKEEL_LISTEN", "127.0.0.1:0"),
    ("EVENKEEL_ADMIN_LISTEN", "127.0.0.1:0"),
    ("EVENKEEL_NO_DOCKER", "true"),
    // One worker, so that every connection to a replica can be used again by the next request.
    ("EVENKEEL_THREADS", "1"),
    ("EVENKEEL_HEALTH_INTERVAL", "1h"),
    ("EVENKEEL_HOLD", "0s"),
    ("EVENKEEL_SHUTDOWN_TIMEOUT", "300ms"),
];

/// How long a request that an attack left hanging at a replica may stay there.
const SETTLING: Duration = Duration::from_secs(2);

pub(crate) struct World {
    app: App,
    /// Of the service `gateway`, which is the default.
    pub(crate) gateway: Replica,
    /// Of the service `api`.
    pub(crate) api: Replica,
}

/// What the replicas got, in the end.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    pub(crate) gateway: Vec<Recorded>,
    pub(crate) api: Vec<Recorded>,
    /// Whether no request hung at a replica until evenkeel was stopped.
    pub(crate) were_settled: bool,
}

impl World {
    pub(crate) async fn start(settings: Settings, script: Script) -> Result<Self, String> {
        Self::start_piecewise(settings, script, false).await
    }

    /// `piecewise`: the replicas answer byte by byte.
    pub(crate) async fn start_piecewise(settings: Settings, script: Script, piecewise: bool) -> Result<Self, String> {
        let gateway = Replica::start(script.clone(), piecewise).await;
        let api = Replica::start(script, piecewise).await;
        let own = ("EVENKEEL_STATIC".to_owned(), format!("gateway={},api={}", gateway.addr(), api.addr()));
        let given = BASE.iter().chain(settings).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let resolved = Sources::read(Flags::default(), given.chain([own])).resolve();
        let settings = resolved.map_err(|wrong| wrong.to_string())?.settings;
        // Aside, so that the clients of other worlds are not kept waiting while their time runs.
        let starting = tokio::task::spawn_blocking(move || App::start(settings));
        let app = starting.await.expect("no panic").expect("evenkeel starts");
        eventually(PATIENCE, "both replicas are ready", async || {
            let lists = ["gateway", "api"].map(|service| app.registry().replicas(service));
            lists.iter().flatten().flat_map(|list| list.list()).filter(|one| Known::is_pickable(one)).count() == 2
        })
        .await;
        Ok(Self { app, gateway, api })
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.app.proxy_addr()).await
    }

    /// A client whose connection may be reset at once.
    pub(crate) async fn try_client(&self) -> io::Result<Client> {
        Client::try_connect(self.app.proxy_addr()).await
    }

    pub(crate) fn narrow_client(&self) -> Client {
        Client::connect_narrow(self.app.proxy_addr())
    }

    /// A client of the admin port.
    pub(crate) async fn admin(&self) -> Client {
        Client::connect(self.app.admin_addr()).await
    }

    /// Asks on a fresh connection, as any other client would after whatever happened.
    pub(crate) async fn is_healthy(&self) -> Result<(), String> {
        let mut client = self.client().await;
        let answer = client.ask("GET /healthy HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n").await;
        let answer = answer.map_err(|wrong| format!("no healthy request after it: {wrong}"))?;
        if answer.status != 200 || answer.body != b"GET /healthy" {
            return Err(format!("a healthy request after it got {answer:?}"));
        }
        match client.answers.end().await {
            (rest, Ended::Closed) if rest.is_empty() => Ok(()),
            end => Err(format!("a healthy request after it ended as {end:?}")),
        }
    }

    /// Stops evenkeel, after which nothing can come any more, and hands over what came. The clients must be gone.
    pub(crate) async fn stop(self) -> Records {
        let Self { app, gateway, api } = self;
        let settled = async {
            while !(gateway.is_settled() && api.is_settled()) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let were_settled = tokio::time::timeout(SETTLING, settled).await.is_ok();
        app.shutdown().await;
        eventually(PATIENCE, "the replicas' connections end", async || {
            [&gateway, &api].iter().all(|one| one.recorded().iter().all(|record| record.has_ended))
        })
        .await;
        Records { gateway: gateway.recorded(), api: api.recorded(), were_settled }
    }
}
