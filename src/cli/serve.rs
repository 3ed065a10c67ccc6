//! `callboard serve`: runs the engine. Parses the flags, starts the log, and hands over to the server.

use std::net::ToSocketAddrs;
use std::path::Path;
use std::time::Duration;

use callboard::address::{Address, DEFAULT_ADDRESS};
use callboard::limits::Limits;
use callboard::protocol::check_worker_name;
use callboard::server::{BindError, CredentialsFile, Server, ServerConfig, Service, Spin};

use super::command::Command;
use super::exit::Exit;
use super::failure::Failure;
use super::logging;
use super::options::{self, Flag, Group, Options};
use super::port_file::PortFile;
use super::usage_error::{UsageError, ValueError};

pub(super) const COMMAND: Command = Command {
    name: "serve",
    arguments: "",
    summary: "run an engine",
    about: "Runs the engine: one process, one thread. Workers connect to it, and it keeps the board. Nothing \
        is stored: after a restart the workers reconnect by themselves and restore the board.\n\nIt logs to \
        stderr, including the addresses it listens on. SIGTERM or Ctrl-C shuts it down: every worker is told, \
        calls in flight may end within --grace, exit code 0. A second signal exits immediately. SIGHUP \
        reloads the credentials, and never stops the engine.\n\nUnder systemd it reports when it is ready, \
        feeds the watchdog, and listens on the sockets of a socket unit instead of the default \
        address.\n\nWith --credentials, it accepts only peers with a token of that file, and users of this \
        host that the file names; SIGHUP reads it again. Without, every peer that reaches a port may register \
        and see everything, so addresses that other hosts can reach are refused unless --insecure is given. \
        Nothing is encrypted in either case.",
    flags,
    examples: &[
        ("callboard serve", "listens on 127.0.0.1:4747"),
        (
            "callboard serve --listen 127.0.0.1:4747 --listen unix:/run/callboard.sock",
            "listens on both; Unix sockets are a little faster, and file permissions protect them",
        ),
        (
            "callboard serve --listen 127.0.0.1:0 --log debug",
            "takes a free port, logs which, and logs every connection",
        ),
        (
            "callboard serve --listen 127.0.0.1:0 --log error --port-file port",
            "takes a free port; the file tells a script which",
        ),
        (
            "callboard serve --listen 0.0.0.0:4747 --credentials who.toml",
            "for other hosts too; `callboard token new` makes the tokens",
        ),
    ],
    exits: &[Exit::Done, Exit::Failed, Exit::Usage, Exit::CannotListen],
    run,
};

fn flags() -> Vec<Flag> {
    let mut flags = vec![
        Flag::value(
            "listen",
            "ADDR",
            "host:port (port 0: a free one) or unix:/path.",
        )
        .default(DEFAULT_ADDRESS)
        .many(),
        Flag::value(
            "name",
            "NAME",
            "Name of the engine, sent to workers in WELCOME.",
        )
        .default("callboard"),
        Flag::value(
            "credentials",
            "FILE",
            "File that defines who may connect, with which rights. Without it, callboard-credentials in \
             systemd's CREDENTIALS_DIRECTORY, if it exists.",
        ),
        Flag::switch(
            "insecure",
            "Listen on addresses that other hosts can reach although there are no credentials.",
        ),
        Flag::value(
            "log",
            "LEVEL",
            "off, error, warn, info, debug or trace. Without it, the variable RUST_LOG.",
        )
        .default("info"),
        Flag::value(
            "port-file",
            "FILE",
            "Write the addresses it listens on to this file, one a line; a clean end removes it.",
        ),
        Flag::switch(
            "spin",
            "Never sleep: poll for events all the time. Saves the wake-up of each call, occupies a processor.",
        ),
        Flag::value(
            "spin-for",
            "US",
            "The same, but sleep after this many microseconds without input.",
        ),
        Flag::value(
            "stats-every",
            "SECONDS",
            "Log statistics of the event loop this often: duration of turns, and how much each reads and \
             writes.",
        ),
    ];
    flags.extend(Limits::ALL.iter().map(|limit| {
        let value = match limit.unit {
            "bytes" => "BYTES",
            "ms" => "MS",
            _ => "N",
        };
        Flag::value(limit.flag, value, limit.reason)
            .default(format!("{} {}", limit.default, limit.unit).trim_end())
            .group(Group::Limits)
    }));
    flags
}

fn run(options: &Options) -> Result<(), Failure> {
    // Before anything is opened: passed sockets are known by number alone.
    let service = Service::from_environment();
    options.no_arguments()?;
    let level = options.parsed("log", logging::level)?;
    let service = service?;
    let given = service.addresses();
    let config = ServerConfig {
        listen: listen(options, !given.is_empty())?,
        limits: limits(options)?,
        name: name(options)?,
        credentials: options
            .value("credentials")
            .map(CredentialsFile::new)
            .or_else(CredentialsFile::from_environment),
        seed: None,
        handle_signals: true,
        spin: spin(options)?,
        stats_every: options
            .parsed("stats-every", options::number)?
            .filter(|seconds| *seconds > 0)
            .map(Duration::from_secs),
        ..ServerConfig::default()
    };
    if !options.has("insecure") && config.credentials.is_none() {
        // The credentials decide which peers may connect, whichever process created the socket.
        let mut all = given.iter().chain(&config.listen);
        all.try_for_each(check_loopback)?;
    }
    logging::start(level, "info");
    log::info!(
        "callboard {}, engine {:?}",
        env!("CARGO_PKG_VERSION"),
        config.name
    );
    let server = Server::bind_service(config, service)?;
    let _port_file = match options.value("port-file") {
        Some(path) => match PortFile::write(Path::new(&path), &server.local_addresses()) {
            Ok(file) => Some(file),
            Err(error) => {
                server.close();
                return Err(Failure::Command(error.into()));
            }
        },
        None => None,
    };
    server.run()?;
    Ok(())
}

/// The default address applies only if there is no other to listen on.
fn listen(options: &Options, elsewhere: bool) -> Result<Vec<Address>, UsageError> {
    let given = options.values("listen");
    if given.is_empty() && !elsewhere {
        return Ok(ServerConfig::default().listen);
    }
    let parsed = given.into_iter().map(|value| {
        options::address(&value).map_err(|error| UsageError::Value {
            place: "--listen".to_owned(),
            value,
            error,
        })
    });
    parsed.collect()
}

/// `--spin-for` applies with or without `--spin`.
fn spin(options: &Options) -> Result<Spin, UsageError> {
    let bounded = options.parsed("spin-for", options::number)?;
    Ok(match bounded.map(Duration::from_micros) {
        Some(Duration::ZERO) => Spin::Never,
        Some(time) => Spin::For(time),
        None if options.has("spin") => Spin::Always,
        None => Spin::Never,
    })
}

fn name(options: &Options) -> Result<String, UsageError> {
    let name = options.parsed("name", |text| match check_worker_name(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(error) => Err(ValueError::Name(error)),
    })?;
    Ok(name.unwrap_or_else(|| ServerConfig::default().name))
}

fn limits(options: &Options) -> Result<Limits, Failure> {
    let mut limits = Limits::default();
    for spec in Limits::ALL {
        if let Some(value) = options.parsed(spec.flag, options::number)?
            && let Some(limit) = limits.by_flag(spec.flag)
        {
            *limit = value;
        }
    }
    limits.check().map_err(BindError::Limits)?;
    Ok(limits)
}

/// A host that cannot be resolved passes: binding it gives a better error.
fn check_loopback(address: &Address) -> Result<(), Failure> {
    let Address::Tcp(text) = address else {
        return Ok(());
    };
    let mut resolved = text.to_socket_addrs().into_iter().flatten();
    if resolved.all(|at| at.ip().to_canonical().is_loopback()) {
        Ok(())
    } else {
        Err(Failure::NotLoopback(address.clone()))
    }
}
