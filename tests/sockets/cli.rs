//! The command line from outside: the real binary, its output, its exit codes, its signals. Every wait is
//! for a line or an end, with a deadline.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use crate::client::unused_port;
use crate::running::{Engine, Running, finished, lines_of};
use callboard::worker::Function;
use serde_json::{Value, json};

const COMMANDS: [&str; 15] = [
    "serve",
    "functions",
    "workers",
    "watch",
    "call",
    "cast",
    "emit",
    "bind",
    "expose",
    "stats",
    "bench",
    "kick",
    "drain",
    "token",
    "demo",
];

/// Runs `callboard` with these arguments to its end. Returns code, stdout and stderr.
fn run(arguments: &[&str]) -> (i32, String, String) {
    finished(arguments)
}

fn json_lines(text: &str) -> Vec<Value> {
    let read = |line| serde_json::from_str(line).expect("a line of JSON");
    text.lines().map(read).collect()
}

#[test]
fn every_command_explains_itself() {
    let (code, program, _) = run(&["--help"]);
    assert_eq!(code, 0);
    for command in COMMANDS {
        assert!(program.contains(&format!("\n  {command} ")), "{command}");
        let (code, help, stderr) = run(&[command, "--help"]);
        assert_eq!((code, &*stderr), (0, ""));
        for part in ["Usage: callboard ", "Options:", "Examples:", "Exit codes:"] {
            assert!(help.contains(part), "{command}: {part}");
        }
        assert_eq!(run(&["help", command]).1, help);
    }
    let version = format!("callboard {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(run(&["--version"]), (0, version, String::new()));
}

#[test]
fn the_page_about_the_command_line_names_every_flag_and_exit_code() {
    let page = include_str!("../../docs/CLI.md");
    let limits = include_str!("../../docs/LIMITS.md");
    for command in COMMANDS {
        assert!(page.contains(&format!("\n## {command}\n")), "{command}");
        let (_, help, _) = run(&[command, "--help"]);
        for line in help.lines() {
            // Those of the list; in texts they stand elsewhere.
            let Some(flag) = line.strip_prefix("  --") else {
                continue;
            };
            let flag = format!("`--{}", flag.split(' ').next().expect("a name"));
            assert!(
                page.contains(&flag) || limits.contains(&flag),
                "{command}: {flag}"
            );
        }
    }
    for code in 0..=7 {
        assert!(page.contains(&format!("\n| {code} | ")), "{code}");
    }
}

#[test]
fn wrong_use_is_told_in_one_line_with_a_hint_and_exit_code_2() {
    for (arguments, part) in [
        (&[][..], "command is missing"),
        (&["sevre"], "unknown command `sevre`"),
        (&["func"], "did you mean `functions`?"),
        (&["--bogus"], "unknown option --bogus"),
        (&["serve", "--bogus"], "unknown option --bogus"),
        (&["serve", "surplus"], "unexpected argument `surplus`"),
        (&["serve", "--listen"], "--listen needs a value"),
        (
            &["serve", "--listen", "localhost"],
            "`localhost` has no port",
        ),
        (&["serve", "--log", "loud"], "--log: `loud`"),
        (&["serve", "--max-hello", "1k"], "--max-hello: `1k`"),
        (
            &["serve", "--max-frame", "1"],
            "--max-frame must be at least",
        ),
        (
            &["serve", "--silence", "10"],
            "--ping-after must be below --silence",
        ),
        (&["functions", "a", "b"], "unexpected argument `b`"),
        (&["functions", "--timeout", "5"], "500ms, 5s or 1m"),
        (&["workers", "--connect", "http://x"], "is a URL"),
        (&["watch", "--namespace", ""], "name is empty"),
        (&["expose"], "no name"),
        (&["expose", "-"], "no name"),
        (&["expose", "engine::x"], "belong to the engine"),
        (&["expose", "a b"], "no spaces"),
        (&["expose", "a", "--jobs", "2"], "requires `-- COMMAND`"),
        (&["expose", "a", "--jobs", "0", "--", "cat"], "from 1 to"),
        (&["call"], "NAME is missing"),
        (&["call", "a", "{"], "JSON: invalid JSON"),
        (&["call", "a", "1", "2"], "unexpected argument `2`"),
        (&["call", "a b"], "no spaces"),
        (&["call", "a", "--worker", "x"], "a whole number"),
        (&["cast", "a", "nonsense"], "JSON: invalid JSON"),
        (&["emit"], "EVENT is missing"),
        (&["bind", "e"], "FUNCTION is missing"),
        (
            &["bind", "e", "f", "--config", "x"],
            "--config: invalid JSON",
        ),
        (&["bind", "e", "engine::f"], "belong to the engine"),
        (&["stats", "x"], "unexpected argument `x`"),
        (&["demo", "--json"], "unknown option --json"),
    ] {
        let (code, stdout, stderr) = run(arguments);
        assert_eq!((code, &*stdout), (2, ""), "{arguments:?}: {stderr}");
        let lines: Vec<&str> = stderr.lines().collect();
        assert_eq!(lines.len(), 2, "{stderr}");
        assert!(lines[0].starts_with("callboard"), "{stderr}");
        assert!(lines[0].contains(part), "{arguments:?}: {stderr}");
        assert!(lines[1].contains("--help"), "{stderr}");
    }
}

#[test]
fn where_it_cannot_listen_is_named_with_exit_code_5() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().map(|at| (taken, at.to_string()));
    let (_held, taken) = taken.expect("an address");
    for (listen, part) in [
        (&*taken, "is in use"),
        ("192.0.2.1:0", "other hosts"),
        ("0.0.0.0:0", "--insecure"),
        ("[::]:0", "--insecure"),
        ("unix:/no/such/directory/socket", "does not exist"),
    ] {
        let (code, stdout, stderr) = run(&["serve", "--listen", listen]);
        assert_eq!((code, &*stdout), (5, ""), "{stderr}");
        let error = stderr.lines().last().expect("an error");
        assert!(error.starts_with("callboard serve: "), "{stderr}");
        assert!(error.contains(part), "{stderr}");
        assert!(
            error.contains(listen.trim_start_matches("unix:")),
            "{stderr}"
        );
    }
}

#[test]
fn sigterm_and_sigint_end_an_engine_with_exit_code_0() {
    for signal in ["TERM", "INT"] {
        let mut engine = Engine::start();
        engine.process.signal(signal);
        assert_eq!(engine.process.wait(), 0, "{signal}");
    }
}

#[test]
fn no_engine_there_is_exit_code_3_and_a_hint_how_to_start_one() {
    let (_reserved, nobody) = unused_port();
    let nobody = nobody.to_string();
    for command in [
        &["functions"][..],
        &["workers"],
        &["watch"],
        &["expose", "a"],
        &["call", "a"],
        &["cast", "a"],
        &["emit", "a"],
        &["bind", "a", "b"],
        &["stats"],
        &["bench", "call"],
    ] {
        let arguments = [command, &["--connect", &nobody]].concat();
        let (code, stdout, stderr) = run(&arguments);
        assert_eq!((code, &*stdout), (3, ""), "{stderr}");
        assert!(stderr.contains(&nobody), "{stderr}");
        assert!(stderr.contains("callboard serve"), "{stderr}");
    }
    let (code, _, stderr) = run(&["functions", "--connect", "unix:/no/such/socket"]);
    assert_eq!(code, 3, "{stderr}");
}

#[test]
fn a_server_that_is_no_engine_is_told_apart() {
    let web = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = web.local_addr().expect("an address").to_string();
    let server = std::thread::spawn(move || {
        let (mut peer, _) = web.accept().expect("a connection");
        peer.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .expect("written");
        // Until the other side is done with it.
        let _ = peer.read_to_end(&mut Vec::new());
    });
    let (code, _, stderr) = run(&["functions", "--connect", &address]);
    assert_eq!(code, 3);
    assert!(stderr.contains("not a Callboard engine"), "{stderr}");
    server.join().expect("no panic");

    // Connects (the kernel does), and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address").to_string();
    let (code, _, stderr) = run(&["workers", "--connect", &address, "--timeout", "200ms"]);
    assert_eq!(code, 3, "{stderr}");
}

#[test]
fn functions_and_workers_show_the_board_to_people_and_to_programs() {
    let engine = Engine::start();
    let orders = engine.worker("orders-1");
    let definition = Function::new("orders::create")
        .description("Takes an order")
        .metadata(&json!({"team": "sales"}))
        .expect("MessagePack")
        .request(&json!({"type": "object"}))
        .expect("MessagePack")
        .response_bytes(*b"\xc1");
    orders.register([definition]).expect("registered");
    let evil = engine.worker("evil\u{1b}[31m\u{202e}");
    let leader = Function::new("jobs::leader")
        .exclusive()
        .description("a\nb");
    evil.register([leader, Function::new("orders::create")])
        .expect("registered");

    let (code, table, stderr) = engine.run(&["functions"]);
    assert_eq!((code, &*stderr), (0, ""));
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(
        lines[1..3],
        [
            "jobs::leader    evil\\u{1b}[31m\\u{202e} (exclusive)    0/1,000  a\\u{a}b",
            "orders::create  orders-1, evil\\u{1b}[31m\\u{202e}      0/2,000  Takes an order",
        ]
    );
    assert!(lines[3].starts_with("2 functions by 2 workers"), "{table}");

    let (_, lines, _) = engine.run(&["functions", "orders::", "--json"]);
    assert!(!lines.contains('\u{1b}') && !lines.contains('\u{202e}'));
    assert_eq!(
        json_lines(&lines),
        [json!({
            "name": "orders::create", "description": "Takes an order", "exclusive": false,
            "request": {"type": "object"}, "response": {"bin": "c1"},
            "metadata": {"team": "sales"}, "workers": ["orders-1", "evil\u{1b}[31m\u{202e}"],
            "stale": false, "in_flight": 0, "capacity": 2000,
        })]
    );

    let (_, table, _) = engine.run(&["workers"]);
    assert!(table.contains("orders-1"), "{table}");
    assert!(!table.contains('\u{1b}'), "{table}");
    let (_, lines, _) = engine.run(&["workers", "orders", "--json"]);
    let mut workers = json_lines(&lines);
    assert!(workers[0]["id"].take().is_u64());
    let peer = workers[0]["peer"].take();
    assert!(
        peer.as_str()
            .is_some_and(|peer| peer.starts_with("127.0.0.1:")),
        "{peer}"
    );
    assert_eq!(
        workers,
        [json!({
            "name": "orders-1", "id": null, "metadata": null, "functions": ["orders::create"],
            "stale": false, "in_flight": 0, "capacity": 1000, "tier": 0, "peer": null,
        })]
    );

    let (code, nothing, _) = engine.run(&["functions", "no::such"]);
    assert_eq!(code, 0);
    assert_eq!(nothing, "No function's name begins with `no::such`.\n");
    assert_eq!(engine.run(&["functions", "--json", "no::such"]).1, "");
    assert_eq!(
        engine
            .run(&["functions", "--json", "--namespace", "other"])
            .1,
        ""
    );
}

#[test]
fn the_engine_can_be_named_by_the_environment() {
    let engine = Engine::start();
    let mut functions = Running::start_with(&["functions"], &[("CALLBOARD_ADDR", &engine.address)]);
    assert_eq!(functions.wait(), 0);
    let mut wrong = Running::start_with(&["functions"], &[("CALLBOARD_ADDR", "nowhere")]);
    wrong.error("CALLBOARD_ADDR: `nowhere` has no port");
    assert_eq!(wrong.wait(), 2);
}

#[test]
fn an_exclusive_function_is_refused_with_the_owner_named_and_exit_code_4() {
    let engine = Engine::start();
    let mut owner = engine.start_cli(&["expose", "jobs::leader", "--exclusive", "--name", "first"]);
    owner.line("1 function on the board");
    let (code, _, stderr) = engine.run(&["expose", "jobs::leader", "--name", "second"]);
    assert_eq!(code, 4);
    assert!(
        stderr.contains("exclusive") && stderr.contains("first"),
        "{stderr}"
    );
    owner.signal("INT");
    assert_eq!(owner.wait(), 0);
    assert_eq!(engine.run(&["functions", "--json"]).1, "");
}

/// Follows `watch --json` until a line for which `wanted` holds. Returns the lines up to it.
fn until(watch: &mut Running, mut wanted: impl FnMut(&Value) -> bool) -> Vec<Value> {
    let mut lines = Vec::new();
    loop {
        let line: Value = serde_json::from_str(&watch.next_line()).expect("a line of JSON");
        lines.push(line);
        if wanted(&lines[lines.len() - 1]) {
            return lines;
        }
    }
}

fn is_synced(line: &Value) -> bool {
    line["status"] == "synced"
}

#[test]
fn watch_shows_the_board_and_then_each_change() {
    let engine = Engine::start();
    let stock = engine.worker("stock");
    stock.register(["stock::count"]).expect("registered");
    let mut watch = engine.start_cli(&["watch", "--json", "--workers"]);
    let first = until(&mut watch, is_synced);
    assert_eq!(first[0]["status"], "connected");
    assert_eq!(first[1]["change"], "added");
    assert_eq!(first[1]["name"], "stock::count");
    assert_eq!(first[1]["snapshot"], true);
    assert_eq!(first[1]["workers"], json!(["stock"]));
    assert_eq!(
        (&first[2]["section"], &first[2]["name"]),
        (&json!("workers"), &json!("stock"))
    );

    let new = Function::new("stock::count").description("How many");
    stock.register([new]).expect("registered");
    let line = until(&mut watch, |line| line["section"] == "functions")
        .pop()
        .expect("a line");
    assert_eq!(
        (&line["change"], &line["description"]),
        (&json!("updated"), &json!("How many"))
    );
    stock.close();
    let gone = until(&mut watch, |line| line["section"] == "functions");
    for line in &gone {
        assert_eq!(line["change"], "removed");
        assert_eq!(line["revision"], gone[0]["revision"]);
    }
    assert_eq!(gone[0]["name"], "stock");
    assert_eq!(gone[1]["workers"], json!(["stock"]));
    watch.signal("INT");
    assert_eq!(watch.wait(), 0);
}

#[test]
fn watch_for_people_shows_providers_and_no_escapes_where_there_is_no_terminal() {
    let engine = Engine::start();
    let mut watch = engine.start_cli(&["watch"]);
    watch.line("no functions yet");
    let names: Vec<String> = (0..100).map(|i| format!("many::{i:03}")).collect();
    let many = engine.worker("evil\u{1b}[2J");
    many.register(names.iter().map(|name| Function::new(&**name)))
        .expect("registered");
    let line = watch.line("many::000");
    assert!(line.contains(" + many::000"), "{line}");
    assert!(line.ends_with(" evil\\u{1b}[2J"), "{line}");
    watch.line("and 90 more functions at once: +100 in revision 1");
    many.abort();
    watch.line("and 90 more functions at once: -100 in revision 2");
    watch.signal("TERM");
    assert_eq!(watch.wait(), 0);
}

#[test]
fn watch_survives_the_engines_death_and_restart() {
    let mut engine = Engine::start_settling(1500);
    let mut held = engine.start_cli(&["expose", "held::function"]);
    held.line("1 function on the board");
    let mut lost = engine.start_cli(&["expose", "lost::function"]);
    lost.line("1 function on the board");
    let mut watch = engine.start_cli(&["watch", "--json"]);
    assert_eq!(until(&mut watch, is_synced).len(), 4);

    engine.process.kill();
    until(&mut watch, |line| line["status"] == "disconnected");
    lost.kill();
    engine.restart();
    until(&mut watch, |line| line["status"] == "connected");
    held.line("the engine is back");
    let after = until(&mut watch, |line| line["status"] == "settled");
    let removed: Vec<&Value> = after
        .iter()
        .filter(|line| line["change"] == "removed")
        .collect();
    assert_eq!(removed.len(), 1, "{after:?}");
    assert_eq!(removed[0]["name"], "lost::function");

    // It follows the new engine.
    engine
        .worker("late")
        .register(["late::function"])
        .expect("registered");
    let added = until(&mut watch, |line| line["name"] == "late::function");
    assert_eq!(added[added.len() - 1]["change"], "added");
    watch.signal("INT");
    assert_eq!(watch.wait(), 0);
}

#[test]
fn watch_ends_quietly_when_its_output_is_closed() {
    let engine = Engine::start();
    let mut watch = engine.start_cli(&["watch", "--json"]);
    until(&mut watch, is_synced);
    watch.close_stdout();
    engine.worker("w").register(["a::b"]).expect("registered");
    assert_eq!(watch.wait(), 0);
    assert_eq!(watch.all_errors(), "");
}

#[test]
fn ten_thousand_functions_of_a_killed_process_leave_in_one_step() {
    let engine = Engine::start();
    let mut watch = engine.start_cli(&["watch", "--json"]);
    until(&mut watch, is_synced);
    let names = lines_of("bulk::", 10_000);
    let mut bulk = engine.start_cli(&["expose", "-", "--name", "bulk"]);
    bulk.feed(names.as_bytes());
    bulk.line("10,000 functions on the board");
    for (change, revision) in [("added", 1), ("removed", 2)] {
        let mut left = 10_000;
        let lines = until(&mut watch, |_| {
            left -= 1;
            left == 0
        });
        for line in &lines {
            assert_eq!(line["change"], change);
            assert_eq!(line["revision"], revision);
            assert_eq!(line["workers"], json!(["bulk"]));
        }
        bulk.kill();
    }
    assert_eq!(engine.run(&["functions", "--json"]).1, "");

    // The same from the command line.
    let names: Vec<&str> = names.lines().collect();
    let mut bulk = engine.start_cli(&[&["expose"], &names[..]].concat());
    bulk.line("10,000 functions on the board");
    bulk.signal("TERM");
    assert_eq!(bulk.wait(), 0);
}

#[test]
fn expose_comes_back_after_the_engines_restart() {
    let mut engine = Engine::start();
    let mut expose = engine.start_cli(&["expose", "a::b", "--name", "holder"]);
    expose.line("1 function on the board as \"holder\"");
    engine.process.kill();
    expose.line("lost the engine");
    engine.restart();
    expose.line("the engine is back");
    let worker = engine.worker("looker");
    let board = worker.board();
    board
        .wait_for("a::b", Duration::from_secs(10))
        .expect("it is back");
}

#[test]
fn the_demo_checks_itself_and_ends() {
    let (code, shown, stderr) = run(&["demo", "--fast"]);
    assert_eq!((code, &*stderr), (0, ""), "{shown}");
    assert!(!shown.contains('\u{1b}'), "no terminal, no colours");
    for part in [
        "+ orders::create",
        "on all 5 boards after",
        "and 497 more, in the same step",
        "kill -9",
        "its functions never left a board",
        "answered by: audit 5, orders 5;",
        "one call of web: no_such_function; another one is parked",
        "the parked call: answered by orders, ",
        "the same for all 5 and for a newcomer",
        "11 pushes; from the call to the last worker: median ",
    ] {
        assert!(shown.contains(part), "{part}:\n{shown}");
    }
    for line in shown.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn a_closed_pipe_ends_a_long_table_quietly() {
    let engine = Engine::start();
    let worker = engine.worker("bulk");
    let names = lines_of("bulk::", 20_000);
    worker
        .register(names.lines().map(Function::new))
        .expect("registered");
    let mut functions = engine.start_cli(&["functions"]);
    functions.next_line();
    functions.close_stdout();
    assert_eq!(functions.wait(), 0);
    assert_eq!(functions.all_errors(), "");
}
