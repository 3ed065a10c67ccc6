//! Where the tutorial's hosts are: apart, in namespaces with a cable between them; or here, both on this host, each
//! with a folder in the place of its disk and with the loopback in the place of the cable. What the page says is
//! translated for the latter, and what is printed is translated back.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use socket2::Socket;

use crate::client::unused_port;
use crate::hosts::{self, Host};

/// The engine's address on the page.
const ENGINE: &str = "10.47.0.1:4747";

pub(crate) enum Place {
    Apart(Host),
    Here {
        disk: tempfile::TempDir,
        /// Where the engine is instead.
        engine: String,
        /// Keeps the engine's port from everybody else.
        _reserved: Socket,
    },
}

/// The two hosts, `board` and `shop`.
pub(crate) fn apart() -> Result<[Place; 2], String> {
    let (board, shop) = hosts::pair()?;
    Ok([Place::Apart(board), Place::Apart(shop)])
}

/// Both on this host.
pub(crate) fn here() -> [Place; 2] {
    let (reserved, engine) = unused_port();
    let engine = engine.to_string();
    [(); 2].map(|()| {
        let disk = tempfile::tempdir().expect("a folder");
        for folder in [
            "root",
            "etc/systemd/system",
            "etc/default",
            "usr/bin",
            "run",
            "srv",
        ] {
            fs::create_dir_all(disk.path().join(folder)).expect("a folder");
        }
        Place::Here {
            disk,
            engine: engine.clone(),
            _reserved: reserved.try_clone().expect("a copy"),
        }
    })
}

impl Place {
    /// What stands on the page, as it must be here.
    pub(crate) fn local(&self, text: &str) -> String {
        let Self::Here { disk, engine, .. } = self else {
            return text.to_owned();
        };
        let mut local = text.replace(ENGINE, engine);
        for folder in ["/etc/", "/usr/bin/callboard", "/root/", "/run/", "/srv/"] {
            local = local.replace(folder, &format!("{}{folder}", disk.path().display()));
        }
        local
    }

    /// What was printed here, as it stands on the page.
    pub(crate) fn on_the_page(&self, text: &str) -> String {
        let Self::Here { disk, engine, .. } = self else {
            return text.to_owned();
        };
        text.replace(engine, ENGINE)
            .replace(&disk.path().display().to_string(), "")
    }

    /// A command that runs there and becomes the program.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = match self {
            Self::Apart(host) => host.command(program),
            Self::Here { disk, .. } => {
                let mut command = Command::new(program);
                let path = std::env::var("PATH").unwrap_or_default();
                let own = disk.path().join("usr/bin");
                command
                    .current_dir(disk.path().join("root"))
                    .env("PATH", format!("{}:{path}", own.display()));
                command
            }
        };
        for variable in [
            "CALLBOARD_ADDR",
            "CALLBOARD_TOKEN",
            "CALLBOARD_TOKEN_FILE",
            "RUST_LOG",
        ] {
            command.env_remove(variable);
        }
        command
    }

    /// A script's output there, standard error in it, and its exit code. The script is of the page. One that
    /// does not end is ended.
    pub(crate) fn shell(&self, script: &str) -> (String, i32) {
        let output = self
            .command("timeout")
            .args(["60", "bash", "-c"])
            .arg(format!("exec 2>&1\n{}", self.local(script)))
            .output()
            .expect("a shell");
        let printed = String::from_utf8_lossy(&output.stdout);
        let code = output.status.code().unwrap_or(-1);
        (self.on_the_page(&printed), code)
    }

    /// As [`Self::shell`], of a script that must succeed.
    pub(crate) fn must(&self, script: &str) -> String {
        let (printed, code) = self.shell(script);
        assert_eq!(code, 0, "{script}\n{printed}");
        printed
    }

    /// Where a path of the page is.
    fn path(&self, path: &str) -> PathBuf {
        match self {
            Self::Apart(_) => PathBuf::from(path),
            Self::Here { disk, .. } => disk.path().join(path.trim_start_matches('/')),
        }
    }

    pub(crate) fn write(&self, path: &str, text: &str, mode: &str) {
        let path = self.path(path);
        let script = r#"mkdir -p "$(dirname "$0")" && printf '%s' "$1" >"$0" && chmod "$2" "$0""#;
        let written = self
            .command("sh")
            .args(["-c", script])
            .arg(&path)
            .args([&self.local(text), mode])
            .status();
        assert!(written.expect("a shell").success(), "{}", path.display());
    }

    /// A file's text, as on the page; none if it is not there.
    pub(crate) fn read(&self, path: &str) -> Option<String> {
        let output = self.command("cat").arg(self.path(path)).output();
        let output = output.expect("cat");
        let text = String::from_utf8_lossy(&output.stdout);
        output.status.success().then(|| self.on_the_page(&text))
    }
}
