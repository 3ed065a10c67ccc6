//! docs/NETWORK.md against the real thing: the files of the page, word for word but for keys, run between two hosts
//! with an engine on one and a worker on the other. Where namespaces, stunnel or WireGuard are missing, it says so
//! loudly and leaves that out.

use std::process::{Child, Command, Stdio};

use crate::client::until;
use crate::hosts::{Host, pair, say_loudly};

const PAGE: &str = include_str!("../../docs/NETWORK.md");

/// A process on a host. Killed when it is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A WireGuard tunnel's end on a host. wireguard-go detaches itself: without this it would stay.
struct Tunnel<'a>(&'a Host);

impl Drop for Tunnel<'_> {
    fn drop(&mut self) {
        let down = self.0.command("wg-quick").args(["down", "wg0"]).output();
        if !down.is_ok_and(|it| it.status.success()) {
            eprintln!("the tunnel of {} was not taken down", self.0.name);
        }
    }
}

/// The file that the page shows for this host and path.
fn file(host: &Host, path: &str) -> String {
    let mark = format!("```ini {} {path}\n", host.name);
    let (_, rest) = PAGE.split_once(&mark).unwrap_or_else(|| panic!("{mark}"));
    let (text, _) = rest.split_once("```").expect("its end");
    text.to_owned()
}

fn there(program: &str) -> bool {
    let look = format!("command -v {program}");
    let found = Command::new("sh").args(["-c", &look]).output();
    found.expect("a shell").status.success()
}

/// Starts a program there; its standard error goes into a file of that name, which only that host has.
fn start(host: &Host, log: &str, command: &str) -> Process {
    let script = format!("exec {command} >/run/{log} 2>&1");
    let mut command = host.command("sh");
    command.args(["-c", &script]).stdin(Stdio::null());
    Process(command.spawn().expect("a process"))
}

fn log(host: &Host, log: &str) -> String {
    host.shell(&format!("cat /run/{log} 2>/dev/null || true"))
}

/// The engine, listening there.
fn engine(host: &Host, listen: &str) -> Process {
    let callboard = env!("CARGO_BIN_EXE_callboard");
    let flags = format!("serve --listen {listen} --insecure");
    let engine = start(host, "engine", &format!("{callboard} {flags}"));
    until("the engine listens", || {
        log(host, "engine").contains("listening on")
    });
    engine
}

/// A function is provided from there, and called from there, at this address.
fn serves(host: &Host, address: &str) {
    let callboard = env!("CARGO_BIN_EXE_callboard");
    let _worker = start(
        host,
        "worker",
        &format!("{callboard} expose text::upper --connect {address} -- tr a-z A-Z"),
    );
    until("the worker is on the board", || {
        log(host, "worker").contains("on the board")
    });
    let call = format!(r#"{callboard} call text::upper '"hello"' --connect {address}"#);
    assert_eq!(host.shell(&call), "\"HELLO\"\n");
    // A payload that no packet holds.
    let large = format!(
        r#"{{ printf '"'; head -c 300000 /dev/zero | tr '\0' a; printf '"'; }} |
           {callboard} call text::upper - --connect {address} | wc -c"#
    );
    assert_eq!(host.shell(&large).trim(), "300003");
}

/// That nothing of it answers there.
fn does_not_serve(host: &Host, address: &str) {
    let callboard = env!("CARGO_BIN_EXE_callboard");
    let call = format!("{callboard} functions --connect {address} --timeout 5s");
    let ended = host.command("sh").args(["-c", &call]).output();
    let ended = ended.expect("a shell");
    assert_eq!(ended.status.code(), Some(3), "{address}: {ended:?}");
}

fn hosts() -> Option<(Host, Host)> {
    match pair() {
        Ok(hosts) => Some(hosts),
        Err(why) => {
            say_loudly(&format!(
                "docs/NETWORK.md was not run: no namespaces: {why}"
            ));
            None
        }
    }
}

#[test]
fn stunnel_carries_a_fleet_as_the_page_says() {
    if !there("stunnel4") || !there("openssl") {
        say_loudly("docs/NETWORK.md: stunnel was not run: stunnel4 or openssl is not installed");
        return;
    }
    let Some((board, shop)) = hosts() else { return };
    let path = "/etc/stunnel/callboard.conf";
    let key = board.shell(r#"echo "shop:$(openssl rand -hex 32)""#);
    for host in [&board, &shop] {
        host.write(path, &file(host, path), "0644");
        host.write("/etc/stunnel/callboard.keys", &key, "0600");
    }
    let _engine = engine(&board, "127.0.0.1:4747");
    let command = format!("stunnel4 {path}");
    let _there = start(&board, "stunnel", &command);
    let here = start(&shop, "stunnel", &command);
    for host in [&board, &shop] {
        until("stunnel is up", || {
            log(host, "stunnel").contains("Configuration successful")
        });
    }
    serves(&shop, "127.0.0.1:4747");
    // The port between the hosts speaks TLS, and the engine's own is not to be reached.
    does_not_serve(&shop, "10.47.0.1:4748");
    does_not_serve(&shop, "10.47.0.1:4747");

    // Another key opens nothing.
    drop(here);
    let other = shop.shell(r#"echo "shop:$(openssl rand -hex 32)""#);
    shop.write("/etc/stunnel/callboard.keys", &other, "0600");
    let _here = start(&shop, "stunnel", &command);
    until("stunnel is up again", || {
        log(&shop, "stunnel").contains("Configuration successful")
    });
    does_not_serve(&shop, "127.0.0.1:4747");
}

#[test]
fn wireguard_carries_a_fleet_as_the_page_says() {
    if !there("wg-quick") {
        say_loudly("docs/NETWORK.md: WireGuard was not run: wireguard-tools is not installed");
        return;
    }
    let Some((board, shop)) = hosts() else { return };
    let kernel = "ip link add probe type wireguard 2>/dev/null && ip link del probe && echo kernel";
    let in_kernel = board.shell(&format!("{kernel} || true")).contains("kernel");
    if !in_kernel {
        if !there("wireguard-go") || !std::path::Path::new("/dev/net/tun").exists() {
            say_loudly(
                "docs/NETWORK.md: WireGuard was not run: the kernel has no module, and there is no wireguard-go \
                 with /dev/net/tun",
            );
            return;
        }
        say_loudly("docs/NETWORK.md: WireGuard is run by wireguard-go: the kernel has no module");
    }
    let pair = |host: &Host| {
        let private = host.shell("wg genkey");
        let public = host.shell(&format!("echo {} | wg pubkey", private.trim()));
        (private.trim().to_owned(), public.trim().to_owned())
    };
    let (board_keys, shop_keys) = (pair(&board), pair(&shop));
    let path = "/etc/wireguard/wg0.conf";
    let mut tunnels = Vec::new();
    for host in [&board, &shop] {
        let text = file(host, path)
            .replace("BOARD_PRIVATE_KEY", &board_keys.0)
            .replace("BOARD_PUBLIC_KEY", &board_keys.1)
            .replace("SHOP_PRIVATE_KEY", &shop_keys.0)
            .replace("SHOP_PUBLIC_KEY", &shop_keys.1);
        host.write(path, &text, "0600");
        // What `systemctl enable --now wg-quick@wg0` starts. It takes wireguard-go by itself where it must, which asks
        // to be sure.
        tunnels.push(Tunnel(host));
        host.shell("WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD=1 wg-quick up wg0 >/run/wg 2>&1");
    }
    let _engine = engine(&board, "10.9.0.1:4747");
    serves(&shop, "10.9.0.1:4747");
    does_not_serve(&shop, "10.47.0.1:4747");
    let handshakes = shop.shell("wg show wg0 latest-handshakes");
    assert!(handshakes.starts_with(&board_keys.1), "{handshakes}");
    assert!(!handshakes.trim().ends_with("\t0"), "{handshakes}");
}
