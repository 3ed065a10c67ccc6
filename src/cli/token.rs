//! `callboard token`: makes tokens, and checks what a token permits according to a credentials file. Connects to no
//! engine. Tokens come from a file, the environment or standard input, never from the command line, which other
//! users can see.

use std::io::{self, Read};

use callboard::engine::{Principal, Rules, TokenHash, Verb};
use callboard::server::CredentialsFile;
use callboard::worker::Token;
use serde_json::{Value, json};

use super::command::Command;
use super::exit::Exit;
use super::failure::Failure;
use super::options::{Flag, Options};
use super::output::Output;
use super::usage_error::UsageError;

/// Prefix of a token, by which a leaked one can be recognised.
const BEGINNING: &str = "cbt_";

/// Random bytes of a token: 256 bits cannot be guessed.
const RANDOM_BYTES: usize = 32;

pub(super) const COMMAND: Command = Command {
    name: "token",
    arguments: "new | check [VERB NAME]",
    summary: "make a token, or check what one permits",
    about: "`token new` makes a token from the system's random source. It prints the token, then the entry for \
        the engine's credentials file: a hash, from which the token cannot be derived. Neither is \
        stored.\n\n`token check` prints what a token permits according to a credentials file: its principal, \
        its namespace, and for each verb (register, call, observe, emit, bind, admin) what is allowed and \
        denied. With a verb and a name, it tells whether that is allowed: exit code 0 or 4. The token comes \
        from --token-file, CALLBOARD_TOKEN or CALLBOARD_TOKEN_FILE.\n\ndocs/OPERATIONS.md describes the \
        credentials file.",
    flags,
    examples: &[
        (
            "callboard token new --principal orders",
            "a token, and the lines for the credentials file",
        ),
        (
            "callboard token check --credentials who.toml --token-file orders.token",
            "its principal and what it permits",
        ),
        (
            "callboard token check --credentials who.toml call pay::refund",
            "whether it may call pay::refund",
        ),
    ],
    exits: &[Exit::Done, Exit::Failed, Exit::Usage, Exit::Refused],
    run,
};

fn flags() -> Vec<Flag> {
    vec![
        Flag::value("principal", "NAME", "new: its principal."),
        Flag::value("credentials", "FILE", "check: the credentials file."),
        Flag::value(
            "token-file",
            "FILE",
            "check: the file with the token; - is standard input. Without it, the variables CALLBOARD_TOKEN \
             and CALLBOARD_TOKEN_FILE.",
        ),
        Flag::switch("json", "One JSON object."),
    ]
}

fn run(options: &Options) -> Result<(), Failure> {
    let [what, verb, name] = options.few_arguments(1, ["`new` or `check`", "VERB", "NAME"])?;
    match (what, verb, name) {
        (Some("new"), None, None) => new(options),
        (Some("new"), Some(surplus), _) => Err(UsageError::Surplus(surplus.to_owned()).into()),
        (Some("check"), None, None) => check(options, None),
        (Some("check"), Some(_), None) => Err(UsageError::Missing("NAME").into()),
        (Some("check"), Some(verb), Some(name)) => {
            let known = Verb::parse(verb).ok_or_else(|| UsageError::NoVerb(verb.to_owned()))?;
            check(options, Some((known, name)))
        }
        (other, ..) => {
            let other = other.unwrap_or_default().to_owned();
            Err(UsageError::NeitherNewNorCheck(other).into())
        }
    }
}

fn new(options: &Options) -> Result<(), Failure> {
    let mut random = [0; RANDOM_BYTES];
    getrandom::fill(&mut random).map_err(|error| Failure::System(io::Error::other(error)))?;
    let mut token = BEGINNING.to_owned();
    token.extend(random.iter().map(|byte| format!("{byte:02x}")));
    let hash = TokenHash::of(&token);
    let principal = options.value("principal");
    let mut out = Output::stdout();
    if options.has("json") {
        out.json(&json!({"token": token, "principal": principal, "hash": hash.to_string()}))?;
    } else {
        out.line(&token)?;
        let name = quoted(principal.as_deref().unwrap_or("NAME"));
        out.line(format!("[principals.{name}]"))?;
        out.line(format!("tokens = [\"{hash}\"]"))?;
    }
    out.flush()
}

/// A name as a TOML key.
fn quoted(name: &str) -> String {
    let is_bare = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if is_bare {
        name.to_owned()
    } else {
        format!("{name:?}")
    }
}

fn check(options: &Options, asked: Option<(Verb, &str)>) -> Result<(), Failure> {
    let path = options.value("credentials");
    let path = path.ok_or(UsageError::Missing("--credentials FILE"))?;
    let credentials = CredentialsFile::new(path)
        .read()
        .map_err(Failure::Credentials)?;
    let token = presented(options)?;
    let token = token.read().map_err(UsageError::Token)?;
    let principal = credentials.by_token(&token).ok_or(Failure::UnknownToken)?;
    let mut out = Output::stdout();
    if options.has("json") {
        out.json(&as_json(principal, asked))?;
    } else if let Some((verb, name)) = asked {
        if principal.rights.allow(verb, name) {
            out.line(format!("`{}` may {verb} `{name}`", principal.name))?;
        }
    } else {
        out.line(format!("principal  {}", principal.name))?;
        out.line(format!("namespace  {}", principal.namespace))?;
        for &verb in Verb::ALL {
            let rules = principal.rights.of(verb);
            out.line(format!("{:<11}{}", verb.as_str(), in_words(rules)))?;
        }
    }
    out.flush()?;
    match asked {
        Some((verb, name)) if !principal.rights.allow(verb, name) => Err(Failure::NotAllowed {
            principal: principal.name.clone(),
            verb,
            name: name.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// The token to check.
fn presented(options: &Options) -> Result<Token, Failure> {
    match options.value("token-file").as_deref() {
        Some("-") => {
            let mut text = String::new();
            let read = io::stdin().lock().take(64 * 1024).read_to_string(&mut text);
            read.map_err(Failure::Input)?;
            Ok(Token::text(&text))
        }
        Some(path) => Ok(Token::file(path)),
        None => {
            Token::from_environment().ok_or_else(|| UsageError::Missing("--token-file FILE").into())
        }
    }
}

/// Prefixes for display.
fn in_words(rules: &Rules) -> String {
    let list = |prefixes: &[Box<str>]| {
        let shown = prefixes.iter().map(|prefix| match &**prefix {
            "" => "everything".to_owned(),
            prefix => format!("{prefix}*"),
        });
        shown.collect::<Vec<_>>().join(" ")
    };
    match (rules.allow(), rules.deny()) {
        ([], _) => "nothing".to_owned(),
        (allow, []) => list(allow),
        (allow, deny) => format!("{}, but not {}", list(allow), list(deny)),
    }
}

fn as_json(principal: &Principal, asked: Option<(Verb, &str)>) -> Value {
    let mut object = json!({"principal": principal.name, "namespace": principal.namespace});
    for &verb in Verb::ALL {
        let rules = principal.rights.of(verb);
        object[verb.as_str()] = json!({"allow": rules.allow(), "deny": rules.deny()});
    }
    if let Some((verb, name)) = asked {
        object["allowed"] = json!(principal.rights.allow(verb, name));
    }
    object
}
