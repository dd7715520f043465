//! What was typed → what it means: the winning text of each key, parsed, with every error at once.

use std::fmt::Write;
use std::net::SocketAddr;

use super::draft::Draft;
use super::error::{Error, Errors};
use super::flags::Flags;
use super::key::{Fallback, Key, Kind};
use super::keys::dns::MIN_TTL_NAME as DNS_MIN_TTL;
use super::keys::{ADMIN_LISTEN, ADMIN_TOKEN, ADMIN_TOKEN_FILE, ADMIN_WRITE, CONFIG, DOCKER_HOST, KEEPER, KEYS};
use super::settings::{DnsRules, LogSettings, Settings, Token};
use super::token::Wrong;
use super::{Given, Layer, docker_host, env, file, token, watched};

/// Everything that was typed, by source.
#[derive(Clone, Debug)]
pub struct Sources {
    flags: Layer,
    environment: env::Environment,
    /// What the file says, and what is wrong with it as a whole.
    file: (Layer, Vec<Error>),
    /// What that was read from, if a file is named.
    content: Option<file::Content>,
}

/// The settings, and where each came from.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// What it all comes to.
    pub settings: Settings,
    pub(super) lines: Vec<Line>,
}

/// One key, as `evenkeel check` shows it.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) key: &'static Key,
    pub(super) given: Option<Given>,
}

impl Sources {
    /// Gathers the flags, these variables, and the file that one of them names.
    pub fn read(flags: Flags, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let Flags(flags) = flags;
        let mut sources = Self { flags, environment: env::read(variables), file: Default::default(), content: None };
        if let Some(content) = sources.path().map(file::content) {
            sources.set_content(&content);
        }
        sources
    }

    /// The file that is read, if one is named.
    pub fn path(&self) -> Option<&str> {
        self.config().map(file::path)
    }

    fn config(&self) -> Option<&Given> {
        self.flags.get(CONFIG.name).or(self.environment.own.get(CONFIG.name))
    }

    /// Has the file say this, while flags and variables go on saying what they said.
    pub(super) fn set_content(&mut self, content: &file::Content) {
        self.file = self.config().map(|config| file::read(config, content)).unwrap_or_default();
        self.content = Some(content.clone());
    }

    /// What was in the file when it was read.
    pub(super) fn content(&self) -> Option<&file::Content> {
        self.content.as_ref()
    }

    /// What the strongest source says about a key.
    pub(super) fn find(&self, name: &str) -> Option<&Given> {
        let env::Environment { own, ambient, .. } = &self.environment;
        [&self.flags, own, &self.file.0, ambient].into_iter().find_map(|layer| layer.get(name))
    }

    /// What is wrong before any value is looked at.
    fn errors(&self) -> Vec<Error> {
        self.environment.errors.iter().chain(&self.file.1).cloned().collect()
    }

    /// Parses everything.
    ///
    /// # Errors
    /// All that is wrong: unknown names and unreadable files first, then the values in the order of the table.
    pub fn resolve(&self) -> Result<Resolved, Errors> {
        self.resolve_with(|source| source.token().map(Some))
    }

    /// Parses everything but tokens: files of them are not read, and there are none.
    ///
    /// # Errors
    /// As [`Sources::resolve`].
    pub(super) fn resolve_without_tokens(&self) -> Result<Resolved, Errors> {
        self.resolve_with(|_| Ok(None))
    }

    fn resolve_with(&self, token: fn(token::Source<'_>) -> Result<Option<Token>, Wrong>) -> Result<Resolved, Errors> {
        let mut errors = self.errors();
        let (mut draft, lines) = parse(|key| self.find(key.name), &mut errors);
        if errors.is_empty() {
            errors.extend(self.contradictions(&draft));
            if draft.admin_write {
                match token::of_admin(&draft, ADMIN_WRITE).and_then(token) {
                    Ok(token) => draft.admin_token = token,
                    Err(wrong) => errors.push(self.error(wrong)),
                }
            }
        }
        match token::of_peers(&draft).and_then(|source| source.map_or(Ok(None), token)) {
            Ok(token) => draft.peers.token = token,
            Err(wrong) => errors.push(self.error(wrong)),
        }
        if errors.is_empty() { Ok(Resolved { settings: draft.finish(), lines }) } else { Err(Errors(errors)) }
    }

    /// Parses only the address of the admin listener, for those who only talk to it.
    ///
    /// # Errors
    /// What is wrong with that address or with a source as such; not what other keys say.
    pub fn admin_listen(self) -> Result<SocketAddr, Errors> {
        Ok(self.only(&[ADMIN_LISTEN])?.admin_listen)
    }

    /// Parses only the address of the admin listener and its token, for those who change something there.
    ///
    /// # Errors
    /// What is wrong with these or with a source as such; not what other keys say.
    pub fn admin_access(self) -> Result<(SocketAddr, Token), Errors> {
        let draft = self.only(&[ADMIN_LISTEN, ADMIN_TOKEN, ADMIN_TOKEN_FILE])?;
        let token = token::of_admin(&draft, ADMIN_TOKEN).and_then(token::Source::token);
        let token = token.map_err(|wrong| Errors(vec![self.error(wrong)]))?;
        Ok((draft.admin_listen, token))
    }

    /// Parses only what keeping a port takes: its address, and how to log.
    ///
    /// # Errors
    /// What is wrong with those or with a source as such; not what other keys say.
    pub fn keeper(self) -> Result<(SocketAddr, LogSettings), Errors> {
        self.only(KEEPER).map(|draft| (draft.proxy.listen, draft.log))
    }

    fn only(&self, names: &[&str]) -> Result<Draft, Errors> {
        let mut errors = self.errors();
        let mut draft = Draft::default();
        for key in KEYS.iter().filter(|key| names.contains(&key.name)) {
            errors.extend(apply(key, self.find(key.name), &mut draft));
        }
        if errors.is_empty() { Ok(draft) } else { Err(Errors(errors)) }
    }

    /// Where a key stands, as people find it.
    fn place(&self, name: &str) -> String {
        self.find(name).map_or_else(|| name.to_owned(), |given| given.place.clone())
    }

    /// What is wrong with a key, where people find it.
    fn error(&self, (name, complaint): Wrong) -> Error {
        Error::Value { place: self.place(name), complaint }
    }

    /// Values that are right by themselves, but not together.
    pub(super) fn contradictions(&self, draft: &Draft) -> Vec<Error> {
        let place = |name: &str| self.place(name);
        let mut errors = Vec::new();
        let has_others = !(draft.statics.is_empty() && draft.dns.is_empty() && draft.peers.hosts.is_empty());
        if draft.no_docker && !has_others {
            let complaint = "true leaves nothing to balance; add replicas, like --static gateway=10.1.1.1:3001 or --dns gateway.internal:3001";
            errors.push(Error::Value { place: place("no-docker"), complaint: complaint.to_owned() });
        }
        let DnsRules { min_ttl, max_ttl, .. } = draft.dns_rules;
        if min_ttl > max_ttl {
            let complaint =
                format!("{min_ttl:?} is more than dns-max-ttl, {max_ttl:?}; an answer cannot hold at least so long");
            errors.push(Error::Value { place: place(DNS_MIN_TTL), complaint });
        }
        if let (Some(size), None) = (draft.subset, draft.subset_slot) {
            let complaint =
                format!("{size} of which evenkeels? Say which of how many this one is, like --subset-slot 3/20");
            errors.push(Error::Value { place: place("subset"), complaint });
        }
        if draft.subset.is_some() && !draft.peers.hosts.is_empty() {
            let complaint =
                "a part for each is for evenkeels that all see the same replicas, which peers do not; leave one out";
            errors.push(Error::Value { place: place("subset"), complaint: complaint.to_owned() });
        }
        // The managers of one Swarm tell of the same replicas, whichever is asked.
        if !draft.is_swarm {
            let clashes = docker_host::clashes(&draft.docker_hosts).into_iter();
            errors.extend(clashes.map(|complaint| Error::Value { place: place(DOCKER_HOST), complaint }));
        }
        if let Some(complaint) = draft.complaint_about_managers() {
            errors.push(Error::Value { place: place("swarm"), complaint: complaint.to_owned() });
        }
        let (listen, admin) = (draft.proxy.listen, draft.admin_listen);
        // A port that somebody else keeps is none that we bind.
        let is_ours = draft.proxy.listen_from.is_none();
        let overlap = listen.ip() == admin.ip() || listen.ip().is_unspecified() || admin.ip().is_unspecified();
        if is_ours && overlap && listen.port() == admin.port() && listen.port() != 0 {
            let taken_by = place("listen");
            let complaint = format!("\"{admin}\" is taken by {taken_by}; use another port, like 0.0.0.0:9900");
            errors.push(Error::Value { place: place(ADMIN_LISTEN), complaint });
        }
        errors
    }
}

/// Parses what is given for each key, or else its default.
pub(super) fn parse<'a>(given: impl Fn(&Key) -> Option<&'a Given>, errors: &mut Vec<Error>) -> (Draft, Vec<Line>) {
    let mut draft = Draft::default();
    let mut lines = Vec::with_capacity(KEYS.len());
    let host = KEYS.iter().find(|key| key.name == DOCKER_HOST).and_then(&given);
    let is_ambient = host.is_some_and(|host| host.place == env::DOCKER_HOST);
    for key in KEYS {
        // What a machine's variables say of an engine is none of our business where that one is not watched.
        let is_watched = is_ambient && !draft.no_docker;
        let given = given(key).filter(|given| is_watched || !env::AMBIENT.contains(&given.place.as_str()));
        errors.extend(apply(key, given, &mut draft));
        lines.push(Line { key, given: given.cloned() });
    }
    (draft, lines)
}

/// Parses what is given for a key, or else its default.
fn apply(key: &Key, given: Option<&Given>, draft: &mut Draft) -> Vec<Error> {
    let (place, texts) = match (given, key.fallback) {
        (Some(given), _) => (given.place.clone(), given.texts.clone()),
        (None, Fallback::Text(text)) => (key.name.to_owned(), vec![text.to_owned()]),
        (None, Fallback::Unset { .. }) => return Vec::new(),
    };
    let complaints = key.apply(draft, &texts).into_iter();
    complaints.map(|complaint| Error::Value { place: place.clone(), complaint }).collect()
}

impl Line {
    /// What holds, as it would be typed.
    pub(super) fn texts(&self) -> Vec<&str> {
        match (&self.given, self.key.fallback) {
            (Some(given), _) => given.texts.iter().map(String::as_str).collect(),
            (None, Fallback::Text(text)) => vec![text],
            (None, Fallback::Unset { .. }) => Vec::new(),
        }
    }
}

impl Resolved {
    /// A file that would come to the same settings, with a comment on each key that says where it came from; then, in comments,
    /// what each provider would watch.
    pub fn to_toml(&self) -> String {
        let mut toml = String::new();
        let mut group = "";
        for Line { key, given } in &self.lines {
            if group != key.group {
                let gap = if group.is_empty() { "" } else { "\n" };
                group = key.group;
                let _ = writeln!(toml, "{gap}# {group}");
            }
            let (setting, source) = match (given, key.fallback) {
                (Some(given), _) if matches!(key.kind, Kind::Secret(_)) => {
                    (format!("# {} =", key.name), format!("from {}, not shown", given.place))
                }
                (Some(given), _) => (written(key, &given.texts), format!("from {}", given.place)),
                (None, Fallback::Text(text)) => (written(key, &[text.to_owned()]), "default".to_owned()),
                (None, Fallback::Unset { means, .. }) => (format!("# {} =", key.name), format!("not set: {means}")),
            };
            // A line break in the path of the file would end the comment.
            let _ = writeln!(toml, "{setting:<44} # {}", source.replace(char::is_control, " "));
        }
        let _ = writeln!(toml, "\n# What is watched");
        for line in watched::lines(&self.settings) {
            let _ = writeln!(toml, "# {}", line.replace(char::is_control, " "));
        }
        toml
    }
}

fn written(key: &Key, texts: &[String]) -> String {
    format!("{} = {}", key.name, file::to_value(key, texts))
}
