//! Admission by token, and the addresses where an engine with credentials listens.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::process::geteuid;

use super::guarded_engine::{GuardedEngine, god, principal, token, write_guarded};
use crate::running::{Running, finished};

#[test]
fn a_peer_without_a_valid_token_is_told_so_and_the_log_has_its_address_and_never_the_token() {
    let mut guarded = GuardedEngine::new(&god());
    let (code, _, wrong) = guarded.run("stranger", &["functions"]);
    assert_eq!(code, 4, "{wrong}");
    assert!(
        wrong.contains("unauthorized: this token is not known here"),
        "{wrong}"
    );
    let line = guarded.engine.error("authentication failed");
    assert!(line.contains("audit: 127.0.0.1:"), "{line}");
    let (code, _, none) = finished(&["functions", "--connect", &guarded.address]);
    assert_eq!(code, 4, "{none}");
    assert!(none.contains("unauthorized: a token is required"), "{none}");
    let (code, _, elsewhere) = guarded.run("god", &["functions", "--namespace", "other"]);
    assert_eq!(code, 4, "{elsewhere}");
    let (code, stats, _) = guarded.run("god", &["stats", "--json"]);
    assert_eq!(code, 0);
    let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
    assert_eq!(stats["failed_logins"], 3);
    guarded.engine.signal("TERM");
    assert_eq!(guarded.engine.wait(), 0);
    let log = guarded.engine.all_errors();
    for secret in [token("stranger"), token("god")] {
        assert!(!log.contains(&secret) && !wrong.contains(&secret));
    }
}

#[test]
fn a_token_comes_by_file_or_environment_and_by_no_argument() {
    let guarded = GuardedEngine::new(&god());
    let file = guarded.token_file("god");
    let at = ["functions", "--connect", &guarded.address];
    for (variable, value) in [
        ("CALLBOARD_TOKEN", token("god")),
        ("CALLBOARD_TOKEN_FILE", file.to_str().unwrap().to_owned()),
    ] {
        let mut command = Running::start_with(&at, &[(variable, &value)]);
        assert_eq!(command.wait(), 0, "{variable}");
    }
    let (code, _, stderr) = finished(&[&at[..], &["--token", "x"]].concat());
    assert_eq!(code, 2, "{stderr}");
    let (code, _, stderr) = finished(&[&at[..], &["--token-file", "/nowhere/at-all"]].concat());
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("/nowhere/at-all"), "{stderr}");
}

#[test]
fn a_user_of_this_host_needs_no_token_over_a_unix_socket() {
    let uid = geteuid().as_raw();
    let guarded = GuardedEngine::new(&format!(
        "[principals.me]\nuids = [{uid}]\nobserve = [\"\"]\n"
    ));
    let (code, _, stderr) = finished(&["functions", "--connect", &guarded.socket()]);
    assert_eq!(code, 0, "{stderr}");
    let (code, ..) = finished(&["functions", "--connect", &guarded.address]);
    assert_eq!(code, 4);
}

#[test]
fn other_hosts_are_listened_to_with_credentials_or_insecurely_and_not_else() {
    let (code, _, stderr) = finished(&["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(code, 5, "{stderr}");
    assert!(
        stderr.contains("--credentials") && stderr.contains("--insecure"),
        "{stderr}"
    );
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("credentials.toml");
    write_guarded(&file, &god());
    let file = file.to_str().unwrap();
    let mut engine = Running::start(&["serve", "--listen", "0.0.0.0:0", "--credentials", file]);
    engine.error("listening on 0.0.0.0:");
}

#[test]
fn a_file_that_others_can_read_or_that_has_faults_keeps_the_engine_from_starting() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("credentials.toml");
    let file = path.to_str().unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--credentials", file];
    write_guarded(&path, &god());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let (code, _, stderr) = finished(&serve);
    assert_eq!(code, 2, "{stderr}");
    assert!(
        stderr.contains("0644") && stderr.contains("chmod 600"),
        "{stderr}"
    );
    write_guarded(&path, &principal("orders", "regster = []"));
    let (code, _, stderr) = finished(&serve);
    assert_eq!(code, 2, "{stderr}");
    assert!(
        stderr.contains("line 3: principal `orders`: `regster`"),
        "{stderr}"
    );
    let (code, _, stderr) = finished(&["serve", "--credentials", "/nowhere/at-all"]);
    assert_eq!(code, 2, "{stderr}");
}

#[test]
fn what_the_service_manager_gives_is_found_and_its_mode_is_the_managers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("callboard-credentials");
    write_guarded(&path, &god());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
    let directory = dir.path().to_str().unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    let mut engine = Running::start_with(&serve, &[("CREDENTIALS_DIRECTORY", directory)]);
    let line = engine.error("listening on ");
    let address = line.split("listening on ").nth(1).unwrap();
    let (code, _, stderr) = finished(&["functions", "--connect", address]);
    assert_eq!(code, 4, "{stderr}");
}
