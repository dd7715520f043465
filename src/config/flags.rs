//! The command line: one flag for each row of the table.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::key::{Fallback, Key, Kind};
use super::keys::{ADMIN_LISTEN, CONFIG, KEEPER, KEYS};
use super::{Given, Layer};

/// What was typed, not yet parsed. Its flags come from [`KEYS`] instead of clap's derive, which could drift from it.
#[derive(Clone, Debug, Default)]
pub struct Flags(pub(super) Layer);

/// The flags of those commands that only talk to a running evenkeel: `--admin-listen` and `--config`.
#[derive(Clone, Debug, Default)]
pub struct AdminFlags(pub Flags);

/// The flags of the command that keeps a port: `--listen`, how to log, and `--config`.
#[derive(Clone, Debug, Default)]
pub struct KeeperFlags(pub Flags);

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        command.arg(flag(&CONFIG)).args(KEYS.iter().map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = KEYS.iter().chain([&CONFIG]).filter_map(|key| Some((key.name, typed(key, matches)?)));
        Ok(Self(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.extend(Self::from_arg_matches(matches)?.0);
        Ok(())
    }
}

impl Args for AdminFlags {
    fn augment_args(command: Command) -> Command {
        augment(command, &[ADMIN_LISTEN])
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for AdminFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Flags::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

impl Args for KeeperFlags {
    fn augment_args(command: Command) -> Command {
        augment(command, KEEPER)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for KeeperFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Flags::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

/// Adds `--config` and the flags of these keys.
fn augment(command: Command, names: &[&str]) -> Command {
    command.arg(flag(&CONFIG)).args(KEYS.iter().filter(|key| names.contains(&key.name)).map(flag))
}

fn flag(key: &'static Key) -> Arg {
    let action = match key.kind {
        Kind::Text(_) | Kind::Secret(_) | Kind::Number(_) => ArgAction::Set,
        Kind::Switch(_) => ArgAction::SetTrue,
        Kind::List(_) => ArgAction::Append,
    };
    let default = match key.fallback {
        Fallback::Text(text) => text,
        Fallback::Unset { means, .. } => means,
    };
    let help = format!("{} [default: {default}]", key.help);
    let arg = Arg::new(key.name).long(key.name).action(action).help(help).help_heading(key.group);
    // A negative number is for the parser to refuse, which knows the range; clap would call it an unknown flag.
    if matches!(key.kind, Kind::Switch(_)) { arg } else { arg.value_name(key.value).allow_negative_numbers(true) }
}

fn typed(key: &Key, matches: &ArgMatches) -> Option<Given> {
    let texts = if matches!(key.kind, Kind::Switch(_)) {
        let on = matches.try_get_one::<bool>(key.name).ok().flatten().copied().unwrap_or_default();
        on.then(|| vec!["true".to_owned()])?
    } else {
        matches.try_get_many::<String>(key.name).ok().flatten()?.cloned().collect()
    };
    Some(Given { place: format!("--{}", key.name), texts })
}
