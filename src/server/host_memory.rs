//! The memory that an engine may count on: that of the host, or of the control group that it runs in if that is less.
//! Reads what a hardened unit can see, too: sysinfo(2), /proc/self/cgroup and the limits under /sys/fs/cgroup. Decides
//! nothing.

use std::fmt;
use std::path::{Component, Path, PathBuf};

/// Memory, and who sets its bound.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) bytes: u64,
    bound: Bound,
}

#[derive(Debug, PartialEq, Eq)]
enum Bound {
    Host,
    /// The file that holds the limit.
    Cgroup(PathBuf),
}

impl Memory {
    /// All memory of a host.
    pub(super) fn of_host(bytes: u64) -> Self {
        let bound = Bound::Host;
        Self { bytes, bound }
    }

    /// The least of all that can be read; `None` if nothing can.
    pub(super) fn find() -> Option<Self> {
        let info = rustix::system::sysinfo();
        // Of the types of this platform.
        #[allow(clippy::useless_conversion)]
        let host = u64::from(info.totalram).saturating_mul(u64::from(info.mem_unit));
        let host = Self::of_host(host);
        let limits = cgroup_limits(Path::new("/"));
        let all = [host].into_iter().chain(limits);
        all.filter(|it| it.bytes > 0).min_by_key(|it| it.bytes)
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = self.bytes >> 20;
        match &self.bound {
            Bound::Host => write!(f, "{mib} MiB of the host"),
            Bound::Cgroup(file) => write!(f, "{mib} MiB that {} allows", file.display()),
        }
    }
}

/// The limits of this process's control group and of those above it, of both versions of the interface. What cannot be
/// read is no limit.
fn cgroup_limits(root: &Path) -> Vec<Memory> {
    let own = std::fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    own.lines()
        .flat_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next().unwrap_or(""), fields.next().unwrap_or(""));
            let (mount, files): (_, &[&str]) = if controllers.is_empty() {
                ("sys/fs/cgroup", &["memory.max", "memory.high"])
            } else if controllers.split(',').any(|it| it == "memory") {
                ("sys/fs/cgroup/memory", &["memory.limit_in_bytes"])
            } else {
                ("", &[])
            };
            limits_above(&root.join(mount), Path::new(path), files)
        })
        .collect()
}

/// The limits in these files, in the folder of a control group and in those above it up to `mount`. A container may see
/// the path of its host and have its own group at `mount`.
fn limits_above(mount: &Path, path: &Path, files: &[&str]) -> Vec<Memory> {
    let names = path.components().filter_map(|it| match it {
        Component::Normal(name) => Some(name),
        _ => None,
    });
    let path: PathBuf = names.collect();
    let mut limits = Vec::new();
    for folder in path.ancestors() {
        for name in files {
            let file = mount.join(folder).join(name);
            // "max" is no number.
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            if let Ok(bytes) = text.trim().parse() {
                let bound = Bound::Cgroup(file);
                limits.push(Memory { bytes, bound });
            }
        }
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root folder with these files.
    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        root
    }

    fn least(root: &tempfile::TempDir) -> Option<u64> {
        let limits = cgroup_limits(root.path());
        limits.into_iter().map(|it| it.bytes).min()
    }

    #[test]
    fn the_least_limit_of_a_group_and_those_above_it_counts() {
        let own = ("proc/self/cgroup", "0::/a.slice/b.service\n");
        let group = "sys/fs/cgroup/a.slice";
        let max = format!("{group}/b.service/memory.max");
        let high = format!("{group}/b.service/memory.high");
        let above = format!("{group}/memory.max");
        assert_eq!(least(&root(&[own, (&max, "max\n")])), None);
        assert_eq!(least(&root(&[own, (&max, "3000\n")])), Some(3000));
        let files = [own, (&max, "3000\n"), (&high, "2000\n")];
        assert_eq!(least(&root(&files)), Some(2000));
        let files = [own, (&max, "3000\n"), (&high, "max\n"), (&above, "1000\n")];
        assert_eq!(least(&root(&files)), Some(1000));
    }

    #[test]
    fn a_container_has_its_limit_at_the_root_whatever_path_it_sees() {
        let limit = ("sys/fs/cgroup/memory.max", "500\n");
        for path in ["0::/\n", "0::/../../outside\n", "0::/docker/abc\n"] {
            let root = root(&[("proc/self/cgroup", path), limit]);
            assert_eq!(least(&root), Some(500), "{path}");
        }
    }

    #[test]
    fn the_older_interface_is_read_as_well() {
        let own = "5:cpu,cpuacct:/x\n4:memory:/x\n0::/\n";
        let limit = "sys/fs/cgroup/memory/x/memory.limit_in_bytes";
        let root = root(&[("proc/self/cgroup", own), (limit, "700\n")]);
        assert_eq!(least(&root), Some(700));
    }

    #[test]
    fn where_nothing_can_be_read_there_is_no_limit_of_a_group() {
        assert_eq!(least(&root(&[])), None);
    }

    #[test]
    fn this_host_has_memory() {
        let memory = Memory::find().expect("Linux");
        assert!(memory.bytes > 16 << 20, "{memory}");
    }
}
