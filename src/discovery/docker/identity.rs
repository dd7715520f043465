//! Who am I: the container that evenkeel runs in, and so the project and the networks that it shares.

use std::collections::BTreeMap;

use super::client::{Client, DockerError};
use super::container::Endpoint;
use crate::replica::ReplicaId;

/// The label by which `docker stack deploy` names the stack, on services and on containers.
pub(in crate::discovery) const STACK: &str = "com.docker.stack.namespace";

/// What evenkeel knows of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::discovery) struct Identity {
    /// Our own container.
    pub(in crate::discovery) id: Option<ReplicaId>,
    /// The container whose network we share (`network_mode: service:other`).
    pub(in crate::discovery) host: Option<ReplicaId>,
    /// Our own Compose project.
    pub(in crate::discovery) project: Option<String>,
    /// The Swarm stack that we are of.
    pub(in crate::discovery) stack: Option<String>,
    /// The networks we are on. `None` on the host's network, in a container or not: from there the address of any
    /// container on this engine can be reached.
    pub(in crate::discovery) networks: Option<BTreeMap<String, Endpoint>>,
}

impl Identity {
    /// Finds our own container among those of the engine. Not to be in one of them is no error.
    pub(in crate::discovery) async fn find(client: &Client) -> Result<Self, DockerError> {
        Self::find_among(client, &Self::candidates()).await
    }

    /// The ids or beginnings of ids that our own container could have, the surest first.
    pub(in crate::discovery) fn candidates() -> Vec<String> {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        candidates(&read("/proc/self/mountinfo"), &read("/proc/sys/kernel/hostname"))
    }

    /// The first of these ids that the engine has.
    async fn find_among(client: &Client, ids: &[String]) -> Result<Self, DockerError> {
        for id in ids {
            let Some(me) = client.inspect(id).await? else { continue };
            // `network_mode: service:other`: we are wherever that one is.
            let host = match me.network_mode.strip_prefix("container:") {
                Some(other) => client.inspect(other).await?,
                None => None,
            };
            let place = host.as_ref().unwrap_or(&me);
            let networks = (!place.is_on_host_network()).then(|| place.networks.clone());
            let project = me.project().map(str::to_owned);
            let stack = me.label(STACK).map(str::to_owned);
            return Ok(Self { project, stack, host: host.map(|host| host.id), id: Some(me.id), networks });
        }
        Ok(Self::default())
    }

    /// Whether what happens to this container's networks happens to ours.
    pub(in crate::discovery) fn is_placed_by(&self, id: &ReplicaId) -> bool {
        self.host.as_ref().or(self.id.as_ref()) == Some(id)
    }
}

/// The ids that could be ours, the surest first.
fn candidates(mountinfo: &str, hostname: &str) -> Vec<String> {
    let mounts: Vec<_> = mountinfo.lines().filter_map(root_and_mount_point).collect();
    // cgroup v1 shows our own cgroup as the root of the mounts.
    let by_cgroup = mounts.iter().filter(|(_, point)| point.starts_with("/sys/fs/cgroup")).map(|(root, _)| *root);
    // Docker mounts these three from the container's directory. Their mount point matters: the engine's own host
    // has mounts below the directories of all its containers.
    let files = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];
    let by_file = mounts.iter().filter(|(_, point)| files.contains(point)).map(|(root, _)| *root);
    let by_mount = by_cgroup.chain(by_file).filter_map(long_id);
    // Only what looks like an id: a host may be called like somebody's container.
    let hostname = hostname.trim();
    let by_name = (hostname.len() >= 12 && is_hex(hostname)).then_some(hostname);
    let mut ids: Vec<String> = Vec::new();
    for id in by_mount.chain(by_name) {
        if !ids.iter().any(|known| known.starts_with(id)) {
            ids.push(id.to_owned());
        }
    }
    ids
}

/// `36 35 98:0 /root /mount/point rw,noatime …`
fn root_and_mount_point(line: &str) -> Option<(&str, &str)> {
    let mut fields = line.split(' ').skip(3);
    Some((fields.next()?, fields.next()?))
}

/// The container id in `/docker/<id>`, `/system.slice/docker-<id>.scope` or `/…/containers/<id>/hostname`.
fn long_id(path: &str) -> Option<&str> {
    path.rsplit('/').find_map(|part| {
        let part = part.strip_suffix(".scope").unwrap_or(part);
        let id = part.rsplit('-').next()?;
        (id.len() == 64 && is_hex(id)).then_some(id)
    })
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use integration_tests::{ContainerSpec, FakeEngine};

    const ID: &str = "8c0ac5818b0333c70075687e4aca87ef5a996e472029d18ce55089dc9ba9e4e0";

    fn files(id: &str) -> String {
        let line = |file: &str| {
            format!("110 86 254:0 /var/lib/docker/containers/{id}/{file} /etc/{file} rw,relatime - ext4 /dev/vda rw\n")
        };
        line("resolv.conf") + &line("hostname") + &line("hosts")
    }

    #[test]
    fn cgroup_v2_shows_it_in_the_mounted_files() {
        let mountinfo = "86 60 0:90 / / rw - overlay overlay rw\n\
            91 86 0:29 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n"
            .to_owned()
            + &files(ID);
        assert_eq!(candidates(&mountinfo, "8c0ac5818b03\n"), [ID]);
        assert_eq!(candidates(&mountinfo, "gateway-lb\n"), [ID], "a hostname of one's own does not matter");
    }

    #[test]
    fn cgroup_v1_shows_it_as_the_mounts_root() {
        for root in [format!("/docker/{ID}"), format!("/system.slice/docker-{ID}.scope")] {
            let mountinfo = format!(
                "91 90 0:53 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
                 92 91 0:29 {root} /sys/fs/cgroup/cpu ro,nosuid - cgroup cgroup rw,cpu\n"
            );
            assert_eq!(candidates(&mountinfo, "lb"), [ID]);
        }
    }

    #[test]
    fn with_the_network_of_another_container_the_cgroup_comes_first() {
        let other = ID.replace('8', "9");
        let mountinfo =
            format!("92 91 0:29 /docker/{ID} /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n") + &files(&other);
        assert_eq!(candidates(&mountinfo, ""), [ID.to_owned(), other]);
    }

    #[test]
    fn the_hostname_alone_will_do() {
        assert_eq!(candidates("", "8c0ac5818b03\n"), ["8c0ac5818b03"]);
    }

    #[test]
    fn the_engines_own_host_is_no_container() {
        let mountinfo = format!(
            "27 1 254:0 / / rw - ext4 /dev/vda rw\n\
             30 27 0:60 / /var/lib/docker/containers/{ID}/mounts/shm rw - tmpfs shm rw\n\
             31 27 0:61 / /var/lib/docker/overlay2/{ID}/merged rw - overlay overlay rw\n"
        );
        assert_eq!(candidates(&mountinfo, "cafe\n"), [""; 0]);
        assert_eq!(candidates(&mountinfo, "docker-host-01\n"), [""; 0]);
    }

    #[tokio::test]
    async fn who_shares_the_network_of_another_container_is_where_that_one_is() {
        let engine = FakeEngine::start();
        let network = ("shop_gateways", std::net::Ipv4Addr::new(10, 0, 0, 2));
        let port = engine.run(ContainerSpec::compose("shop", "port", 1).network(network.0, network.1));
        let me = engine.run(ContainerSpec::compose("shop", "evenkeel", 1).placed_in(&port));
        let client = Client::connect(&engine.host(), None).await.unwrap();
        let find = async |id: &str| Identity::find_among(&client, &["nobody".to_owned(), id.to_owned()]).await.unwrap();

        let found = find(me.as_str()).await;
        let ids = (found.id.as_ref().map(ReplicaId::as_str), found.host.as_ref().map(ReplicaId::as_str));
        assert_eq!(ids, (Some(me.as_str()), Some(port.as_str())));
        assert_eq!(found.project.as_deref(), Some("shop"));
        assert!(found.networks.unwrap().keys().eq([network.0]));

        // Where nothing tells us apart from that one, as with cgroup v2, we take ourselves for it.
        let found = find(port.as_str()).await;
        assert_eq!((found.host, found.project.as_deref()), (None, Some("shop")));
        assert!(found.networks.unwrap().keys().eq([network.0]));

        engine.remove(&port);
        let found = find(me.as_str()).await;
        assert_eq!(found.networks, Some(BTreeMap::new()), "nowhere, which is not everywhere");
    }

    #[test]
    fn torn_lines_are_passed_over() {
        assert_eq!(candidates("1 2\n\n  \n36 35 98:0 /x\n", ""), [""; 0]);
    }
}
