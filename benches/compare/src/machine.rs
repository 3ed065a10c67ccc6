//! The machine that a comparison runs on, as the page describes it.

use std::process::Command;

use crate::options;
use crate::processors;
use crate::server;
use crate::target::Programs;

/// The date and the time, of the world.
pub(crate) fn date() -> String {
    said("date", &["-u", "+%F, %H:%M UTC"])
}

/// What it is, name by name.
pub(crate) fn describe(programs: &Programs) -> Vec<(String, String)> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cpu = field(&read("/proc/cpuinfo"), "model name");
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let virtual_ = read("/proc/cpuinfo").contains(" hypervisor");
    let mut lines = vec![
        (
            "processor",
            format!("{cpu}{}", if virtual_ { ", virtual" } else { "" }),
        ),
        ("processors", online(&read("/proc/stat"), cores)),
        ("memory", memory),
        ("kernel", said("uname", &["-sr"])),
        ("Rust", said("rustc", &["--version"])),
        ("Callboard", server::version(&programs.engine)),
        ("sources", sources()),
        (
            "pinning",
            match processors::are_apart() {
                true => "the server has one processor, the load another",
                false => "**server and load share one processor**",
            }
            .to_owned(),
        ),
        (
            "load before the run",
            read("/proc/loadavg")
                .split(' ')
                .take(3)
                .collect::<Vec<_>>()
                .join(" "),
        ),
    ];
    for (kind, path) in &programs.peers {
        lines.push((kind.name(), server::version(path)));
    }
    let named = lines.into_iter();
    named
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// The commit that is checked out. An engine that was named may be of another one.
fn sources() -> String {
    let root = options::root().display().to_string();
    said("git", &["-C", &root, "describe", "--always", "--dirty"])
}

/// Of the whole machine; this program may use fewer.
fn online(stat: &str, usable: usize) -> String {
    let is_one = |line: &&str| {
        let number = line.strip_prefix("cpu").unwrap_or_default();
        number.starts_with(|c: char| c.is_ascii_digit())
    };
    let all = stat.lines().filter(is_one).count().max(usable);
    all.to_string()
}

fn field(text: &str, name: &str) -> String {
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split_once(':'));
    value.map_or_else(
        || "unknown".to_owned(),
        |(_, value)| value.trim().to_owned(),
    )
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |it| String::from_utf8_lossy(&it.stdout).trim().to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_processors_are_found() {
        assert_eq!(field("a : b\nmodel name\t: X 1\n", "model name"), "X 1");
        assert_eq!(field("", "model name"), "unknown");
        assert_eq!(online("cpu  1\ncpu0 1\ncpu1 1\nctxt 5\n", 1), "2");
    }

    #[test]
    fn the_date_is_of_this_century() {
        assert!(date().starts_with("20"), "{}", date());
    }
}
