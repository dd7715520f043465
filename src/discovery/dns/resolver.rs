//! Questions to the DNS. The library does one question to one server; which names are tried, which server is next, and
//! what of an answer is believed is decided here.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _, stream};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use tokio::time::timeout;

use crate::config::settings::{DnsQuestion, DnsSettings};

/// Hosts of a service whose addresses are asked for at once.
const HOSTS_AT_ONCE: usize = 16;
/// The longest chain of aliases that is followed within one answer.
const LONGEST_CHAIN: usize = 16;

/// What a name came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Every address with its weight; port 0 where the answer has none.
    pub(super) weights: BTreeMap<SocketAddr, u16>,
    /// Families of which something may be missing, since a question about them failed.
    pub(super) in_doubt: Families,
    /// The least of the TTLs.
    pub(super) ttl: Duration,
}

/// Some families of addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Families {
    v4: bool,
    v6: bool,
}

impl Families {
    #[cfg(test)]
    pub(super) const V6: Self = Self { v4: false, v6: true };
    const BOTH: Self = Self { v4: true, v6: true };

    /// Whether the address is of one of them.
    pub(super) fn contain(self, addr: &SocketAddr) -> bool {
        if addr.is_ipv4() { self.v4 } else { self.v6 }
    }

    fn with(self, other: Self) -> Self {
        Self { v4: self.v4 || other.v4, v6: self.v6 || other.v6 }
    }
}

/// Why nothing was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Miss {
    /// The DNS says that there is nothing.
    #[error("{0}")]
    Nothing(String),
    /// The DNS did not say.
    #[error("{0}")]
    Failed(String),
    /// What it said makes no sense.
    #[error("{0}")]
    Undecodable(String),
}

impl Miss {
    fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing(_))
    }
}

/// Addresses of one host.
#[derive(Debug, Default)]
struct Addresses {
    ips: Vec<IpAddr>,
    in_doubt: Families,
    ttl: u32,
}

/// Asks one question of the settings.
pub(super) struct Resolver {
    /// One for each server, in the order in which they are asked.
    servers: Vec<TokioResolver>,
    /// The first of them that has not kept silent during this lookup. The last is asked whatever it did: it may well have
    /// something to say of another name.
    first: AtomicUsize,
    /// The whole names to try, in this order.
    names: Vec<Name>,
    is_srv: bool,
    timeout: Duration,
}

impl Resolver {
    /// One with the servers of the settings, or with those of the system.
    pub(super) fn new(settings: &DnsSettings) -> Result<Self, Miss> {
        let failed = |error: String| Miss::Failed(format!("cannot read /etc/resolv.conf: {error}"));
        let rules = &settings.rules;
        let (config, options) = if rules.servers.is_empty() {
            read_system_conf().map_err(|error| failed(error.to_string()))?
        } else {
            let servers = rules.servers.iter().map(|addr| server(*addr)).collect();
            (ResolverConfig::from_name_servers(servers), ResolverOpts::default())
        };
        Self::with(settings, config, options)
    }

    fn with(settings: &DnsSettings, config: ResolverConfig, options: ResolverOpts) -> Result<Self, Miss> {
        let (is_srv, name) = match &settings.question {
            DnsQuestion::Host(name) => (false, name),
            DnsQuestion::Srv(name) => (true, name),
        };
        let failed = |error: String| Miss::Failed(error);
        let name = Name::from_ascii(name).map_err(|error| failed(error.to_string()))?;
        let (domain, search, servers) = config.into_parts();
        let search = if search.is_empty() { domain.into_iter().collect() } else { search };
        let timeout = settings.rules.timeout;
        // All servers together get less than the whole: when one of a name's two families stays silent, that is to be known
        // in time for the other's addresses to count.
        let share = timeout * 3 / 4 / u32::try_from(servers.len()).unwrap_or(u32::MAX).max(1);
        let options = options_for(share, &options);
        let one = |server| {
            let config = ResolverConfig::from_name_servers(vec![server]);
            let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
            builder.with_options(options.clone()).build()
        };
        let servers = servers.into_iter().map(one).collect::<Result<_, _>>();
        Ok(Self {
            servers: servers.map_err(|error: NetError| failed(error.to_string()))?,
            first: AtomicUsize::new(0),
            names: candidates(&name, &search, options.ndots),
            is_srv,
            timeout,
        })
    }

    /// Asks, and waits for no more than the time-out of the settings.
    pub(super) async fn ask(&self) -> Result<Found, Miss> {
        self.first.store(0, Ordering::Relaxed);
        let late = |_| Miss::Failed(format!("no answer within {:?}", self.timeout));
        timeout(self.timeout, self.try_names()).await.map_err(late)?
    }

    /// The first name that exists. One of which that is not known is no reason to believe the next.
    async fn try_names(&self) -> Result<Found, Miss> {
        let mut first_miss = None;
        for name in &self.names {
            let outcome = match self.is_srv {
                true => self.service(name).await,
                false => self.addresses(name).await.map(Found::from),
            };
            match outcome {
                Err(miss) if miss.is_nothing() => first_miss = first_miss.or(Some(miss)),
                outcome => return outcome,
            }
        }
        Err(first_miss.unwrap_or_else(|| Miss::Failed("there is no name to ask for".to_owned())))
    }

    async fn addresses(&self, name: &Name) -> Result<Addresses, Miss> {
        let of = |v4, v6| Families { v4, v6 };
        match tokio::join!(self.family(name, RecordType::A), self.family(name, RecordType::AAAA)) {
            (Ok(mut v4), Ok(v6)) => {
                v4.ips.extend(v6.ips);
                Ok(Addresses { ttl: v4.ttl.min(v6.ttl), ..v4 })
            }
            (Ok(v4), Err(miss)) => Ok(Addresses { in_doubt: of(false, !miss.is_nothing()), ..v4 }),
            (Err(miss), Ok(v6)) => Ok(Addresses { in_doubt: of(!miss.is_nothing(), false), ..v6 }),
            (Err(miss), Err(other)) => Err(if miss.is_nothing() { other } else { miss }),
        }
    }

    async fn family(&self, name: &Name, record_type: RecordType) -> Result<Addresses, Miss> {
        let (answers, _) = self.query(name, record_type).await?;
        let (records, ttl) = chosen(name, record_type, &answers);
        let ips: Vec<_> = records.iter().filter_map(|record| ip(&record.data)).collect();
        if ips.is_empty() {
            return Err(Miss::Undecodable(format!("the answer for {name} has none that can be dialled")));
        }
        Ok(Addresses { ips, in_doubt: Families::default(), ttl })
    }

    /// The hosts of the lowest priority that have addresses.
    async fn service(&self, name: &Name) -> Result<Found, Miss> {
        let (answers, additionals) = self.query(name, RecordType::SRV).await?;
        let (records, ttl) = chosen(name, RecordType::SRV, &answers);
        let mut groups: BTreeMap<u16, Vec<&SRV>> = BTreeMap::new();
        for record in &records {
            // A dot in place of a host says that there is none; nobody can dial port 0.
            if let RData::SRV(srv) = &record.data
                && srv.port > 0
                && !srv.target.is_root()
            {
                groups.entry(srv.priority).or_default().push(srv);
            }
        }
        for group in groups.into_values() {
            // In whatever order, so that none waits for another that is asked for in vain.
            let ask = |srv| self.host_of(srv, &additionals).boxed();
            let asked: Vec<_> = group.into_iter().map(ask).collect();
            let hosts: Vec<_> = stream::iter(asked).buffer_unordered(HOSTS_AT_ONCE).collect().await;
            let mut found = Found { weights: BTreeMap::new(), in_doubt: Families::default(), ttl: seconds(ttl) };
            let mut failure = None;
            for (srv, host) in hosts {
                match host {
                    Ok(addresses) => found.add(srv, &addresses),
                    Err(miss) if miss.is_nothing() => {}
                    Err(miss) => {
                        found.in_doubt = Families::BOTH;
                        failure = failure.or(Some(miss));
                    }
                }
            }
            match failure {
                _ if !found.weights.is_empty() => return Ok(found),
                // Whether these can be reached is not known, and the next priority is for when they cannot.
                Some(failure) => return Err(failure),
                None => {}
            }
        }
        Err(Miss::Nothing(format!("no host of {name} has an address")))
    }

    async fn host_of<'a>(&self, srv: &'a SRV, additionals: &[Record]) -> (&'a SRV, Result<Addresses, Miss>) {
        (srv, self.host(&srv.target, additionals).await)
    }

    /// The addresses that came along with an answer, or else those that a question of its own brings.
    async fn host(&self, name: &Name, additionals: &[Record]) -> Result<Addresses, Miss> {
        let of_host = || additionals.iter().filter(|record| record.name == *name);
        let ips: Vec<_> = of_host().filter_map(|record| ip(&record.data)).collect();
        if ips.is_empty() {
            return self.addresses(name).await;
        }
        let ttl = of_host().map(|record| record.ttl).min().unwrap_or(0);
        Ok(Addresses { ips, in_doubt: Families::default(), ttl })
    }

    /// The answers and what came along with them, from the first server that says anything.
    async fn query(&self, name: &Name, record_type: RecordType) -> Result<(Vec<Record>, Vec<Record>), Miss> {
        let mut first_failure = None;
        for (index, server) in self.servers.iter().enumerate().skip(self.first.load(Ordering::Relaxed)) {
            let error = match server.lookup(name.clone(), record_type).await {
                Ok(lookup) => return Ok((lookup.answers().to_vec(), lookup.additionals().to_vec())),
                Err(error) => error,
            };
            let miss = miss(name, record_type, &error);
            if miss.is_nothing() {
                return Err(miss);
            }
            // That it cannot tell of one name says nothing of the others.
            let is_silent = !matches!(error, NetError::Dns(_) | NetError::Proto(_));
            if is_silent && index + 1 < self.servers.len() {
                self.first.fetch_max(index + 1, Ordering::Relaxed);
            }
            first_failure = first_failure.or(Some(miss));
        }
        Err(first_failure.unwrap_or_else(|| Miss::Failed("no DNS server is left to ask".to_owned())))
    }
}

impl From<Addresses> for Found {
    fn from(addresses: Addresses) -> Self {
        let Addresses { ips, in_doubt, ttl } = addresses;
        Self { weights: ips.into_iter().map(|ip| (SocketAddr::new(ip, 0), 1)).collect(), in_doubt, ttl: seconds(ttl) }
    }
}

impl Found {
    /// Adds one host of a service. A weight of 0 asks for a small share beside others, which is the smallest.
    fn add(&mut self, srv: &SRV, addresses: &Addresses) {
        self.ttl = self.ttl.min(seconds(addresses.ttl));
        self.in_doubt = self.in_doubt.with(addresses.in_doubt);
        for ip in &addresses.ips {
            let weight = self.weights.entry(SocketAddr::new(*ip, srv.port)).or_default();
            *weight = weight.saturating_add(srv.weight.max(1));
        }
    }
}

fn seconds(ttl: u32) -> Duration {
    Duration::from_secs(ttl.into())
}

/// The address in a record, if it can be anybody's: 0.0.0.0 is what servers say of names that they block.
fn ip(data: &RData) -> Option<IpAddr> {
    let ip = match data {
        RData::A(a) => IpAddr::V4(a.0),
        RData::AAAA(aaaa) => IpAddr::V6(aaaa.0),
        _ => return None,
    };
    (!ip.is_unspecified() && !ip.is_multicast()).then_some(ip)
}

/// The records of this type that belong to the name or to what it is an alias of, and the least TTL on the way.
fn chosen<'a>(name: &Name, record_type: RecordType, answers: &'a [Record]) -> (Vec<&'a Record>, u32) {
    let (mut owner, mut ttl) = (name.clone(), u32::MAX);
    for _ in 0..LONGEST_CHAIN {
        let alias = answers.iter().find_map(|record| match &record.data {
            RData::CNAME(alias) if record.name == owner => Some((alias.0.clone(), record.ttl)),
            _ => None,
        });
        let Some((alias, alias_ttl)) = alias else { break };
        owner = alias;
        ttl = ttl.min(alias_ttl);
    }
    let is_chosen = |record: &&Record| record.record_type() == record_type && record.name == owner;
    let records: Vec<_> = answers.iter().filter(is_chosen).collect();
    let ttl = records.iter().map(|record| record.ttl).fold(ttl, u32::min);
    (records, ttl)
}

/// What an error means.
fn miss(name: &Name, record_type: RecordType, error: &NetError) -> Miss {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => Miss::Nothing(format!("{name} does not exist")),
            ResponseCode::NoError => Miss::Nothing(format!("{name} has no {record_type} records")),
            code => Miss::Failed(format!("{record_type} of {name}: {code}")),
        },
        NetError::Proto(_) => Miss::Undecodable(format!("{record_type} of {name}: {error}")),
        error => Miss::Failed(format!("{record_type} of {name}: {error}")),
    }
}

fn server(addr: SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(addr.ip());
    for connection in &mut server.connections {
        connection.port = addr.port();
    }
    server
}

/// What we change about the system's options: each question goes out once, its answer is never kept, and names come from
/// the DNS alone.
fn options_for(share: Duration, system: &ResolverOpts) -> ResolverOpts {
    let mut options = system.clone();
    options.timeout = share;
    options.attempts = 0;
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.preserve_intermediates = true;
    options
}

/// The whole names to try, as the C library does: the name itself first if it has enough dots, else last.
fn candidates(name: &Name, search: &[Name], ndots: usize) -> Vec<Name> {
    if name.is_fqdn() {
        return vec![name.clone()];
    }
    let mut whole = name.clone();
    whole.set_fqdn(true);
    let with_domain = search.iter().filter_map(|domain| name.clone().append_domain(domain).ok()).map(|mut name| {
        name.set_fqdn(true);
        name
    });
    let mut names: Vec<_> = with_domain.collect();
    let has_enough_dots = usize::from(name.num_labels()) > ndots;
    names.insert(if has_enough_dots { 0 } else { names.len() }, whole);
    names
}

#[cfg(test)]
mod tests;
