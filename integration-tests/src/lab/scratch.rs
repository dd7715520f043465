//! The directory of a lab and the cgroups of its containers: gone with it, or when the next one begins.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// In the names of directories and cgroups, before the id of the process they are of.
const PREFIX: &str = "evenkeel-lab-";
const CGROUPS: &str = "/sys/fs/cgroup";
/// It takes the kernel a moment to see that nothing runs in a cgroup.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) struct Scratch {
    directory: TempDir,
}

impl Scratch {
    /// A new one, after what runs left behind that were killed before they could clean up: their processes went with
    /// them.
    pub(super) fn new() -> Self {
        remove_leftovers();
        let prefix = format!("{PREFIX}{}-", std::process::id());
        Self { directory: TempDir::with_prefix(prefix).expect("a temporary directory") }
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Its last part, which is the name of the cgroup, too.
    pub(super) fn name(&self) -> &str {
        self.path().file_name().and_then(|name| name.to_str()).expect("a name of ours")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove_cgroups(self.name());
    }
}

fn remove_leftovers() {
    let entries = fs::read_dir(std::env::temp_dir()).into_iter().flatten().filter_map(Result::ok);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        if owner(&name).is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            remove_cgroups(&name);
            // Two runs may begin at once; one of them finds it gone.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The process whose directory has that name.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

/// Removes a cgroup and those below it, in each hierarchy there is.
fn remove_cgroups(name: &str) {
    let hierarchies = fs::read_dir(CGROUPS).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let roots: Vec<_> = hierarchies.chain([PathBuf::from(CGROUPS)]).map(|root| root.join(name)).collect();
    for root in roots.iter().filter(|root| root.is_dir()) {
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = remove_tree(root) {
            if Instant::now() > deadline {
                eprintln!("{} is left behind: {error}", root.display());
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// As `remove_dir_all`, but of directories whose files go with them and cannot be removed.
fn remove_tree(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_says_whose_it_is() {
        let scratch = Scratch::new();
        assert_eq!(owner(scratch.name()), Some(std::process::id()));
        assert_eq!(owner("evenkeel-lab-x"), None);
        assert_eq!(owner("something-7"), None);
    }

    #[test]
    fn what_a_killed_run_left_behind_goes_and_what_a_running_one_has_stays() {
        let mut gone = std::process::Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        let left = TempDir::with_prefix(format!("{PREFIX}{}-", gone.id())).unwrap().keep();
        fs::write(left.join("file"), "").unwrap();
        let mine = Scratch::new();
        let another = Scratch::new();
        assert!(!left.exists() && mine.path().exists() && another.path().exists());
    }
}
