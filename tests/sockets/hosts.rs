//! Two hosts on one machine: namespaces for network, mounts and name, a cable between them, and disks of their own
//! where the tests write (`/etc`, `/usr/bin`, `/root`, `/run`, `/srv`). Their changes there are invisible elsewhere, and
//! gone when they are dropped. Knows nothing of what is tested.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, Stdio};

/// What they are called, and their addresses on the cable.
pub(crate) const BOARD: (&str, &str) = ("board", "10.47.0.1");
pub(crate) const SHOP: (&str, &str) = ("shop", "10.47.0.2");

/// Makes the disks of a host, inside of its namespaces. `$1` is its name, `$2` a folder that only it has.
const SETUP: &str = r#"
set -e
mount --make-rprivate /
mount -t tmpfs disk "$2"
for place in /etc /usr/bin; do
    upper="$2$place" work="$2/work$place"
    mkdir -p "$upper" "$work"
    mount -t overlay overlay -o "lowerdir=$place,upperdir=$upper,workdir=$work" "$place"
done
for place in /root /run /srv; do
    mount -t tmpfs disk "$place"
done
hostname "$1"
ip link set lo up
# What belongs to the machine's own hosts is not theirs.
printf '127.0.0.1 localhost\n10.47.0.1 board\n10.47.0.2 shop\n' >/etc/hosts
echo ready
exec cat
"#;

/// A host. Its namespaces last as long as the process in them.
pub(crate) struct Host {
    pub(crate) name: &'static str,
    pub(crate) address: &'static str,
    holder: Child,
    /// Its end ends the holder.
    _stdin: ChildStdin,
    _disk: tempfile::TempDir,
}

impl Host {
    fn start((name, address): (&'static str, &'static str)) -> Result<Self, String> {
        let disk = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut holder = Command::new("unshare")
            .args(["--net", "--mount", "--uts", "sh", "-c", SETUP, name, name])
            .arg(disk.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("unshare: {error}"))?;
        let mut said = String::new();
        let stdout = holder.stdout.take().expect("piped");
        // It says so, or ends.
        let _ = BufReader::new(stdout).read_line(&mut said);
        if said.trim() != "ready" {
            let mut why = String::new();
            let mut stderr = holder.stderr.take().expect("piped");
            let _ = stderr.read_to_string(&mut why);
            let _ = holder.wait();
            return Err(why.trim().to_owned());
        }
        let stdin = holder.stdin.take().expect("piped");
        Ok(Self {
            name,
            address,
            holder,
            _stdin: stdin,
            _disk: disk,
        })
    }

    /// A command that will run on this host. It becomes the program that it names: its id is the program's.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--net", "--mount", "--uts", "--wdns=/root", "--target"])
            .arg(self.holder.id().to_string())
            .arg(program);
        command
    }

    /// Runs a script to its end; all that it says, or the test fails.
    pub(crate) fn shell(&self, script: &str) -> String {
        let output = self.command("sh").args(["-ec", script]).output();
        let output = output.expect("a shell");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "on {}: {script}\n{said}{errors}",
            self.name
        );
        said
    }

    /// Writes a file, with its folder.
    pub(crate) fn write(&self, path: &str, text: &str, mode: &str) {
        let script = r#"mkdir -p "$(dirname "$0")" && printf '%s' "$1" >"$0" && chmod "$2" "$0""#;
        let written = self
            .command("sh")
            .args(["-c", script, path, text, mode])
            .status();
        assert!(written.expect("a shell").success(), "{path}");
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Both hosts, with a cable between them; or why this machine does not give them.
pub(crate) fn pair() -> Result<(Host, Host), String> {
    let board = Host::start(BOARD)?;
    let shop = Host::start(SHOP)?;
    let ids = [&board, &shop].map(|host| host.holder.id().to_string());
    let cable = Command::new("ip")
        .args(["link", "add", "eth0", "netns", &ids[0], "type", "veth"])
        .args(["peer", "name", "eth0", "netns", &ids[1]])
        .output()
        .map_err(|error| format!("ip: {error}"))?;
    if !cable.status.success() {
        return Err(String::from_utf8_lossy(&cable.stderr).trim().to_owned());
    }
    for host in [&board, &shop] {
        host.shell(&format!(
            "ip addr add {}/24 dev eth0; ip link set eth0 up",
            host.address
        ));
    }
    Ok((board, shop))
}

/// Says on the terminal, whatever the test's harness keeps to itself, what is left out and why.
pub(crate) fn say_loudly(what: &str) {
    use std::io::Write;
    // Not eprintln: the harness would keep it.
    let _ = writeln!(std::io::stderr(), "\n*** {what} ***");
}
