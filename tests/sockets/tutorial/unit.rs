//! A unit file as systemd reads it, as far as the tutorial needs it: sections, drop-ins, the specifiers %i and %d,
//! variables in ExecStart. Starts nothing.

use std::collections::BTreeMap;

/// Settings of the section `[Service]`, in order.
#[derive(Debug, Default)]
pub(crate) struct Unit {
    service: Vec<(String, String)>,
}

impl Unit {
    /// From the text of a unit and those of its drop-ins. `instance` is what stands behind the `@`.
    pub(crate) fn parse(texts: &[String], instance: &str, credentials: &str) -> Self {
        let mut unit = Self::default();
        for text in texts {
            let mut section = "";
            for line in text.lines().map(str::trim) {
                if line.is_empty() || line.starts_with(['#', ';']) {
                    continue;
                }
                if let Some(name) = line.strip_prefix('[') {
                    section = name.strip_suffix(']').expect("the end of a section's name");
                    continue;
                }
                let (key, value) = line.split_once('=').expect("key=value");
                if section == "Service" {
                    let value = value
                        .replace("%i", instance)
                        .replace("%d", credentials)
                        .replace("%%", "%");
                    unit.service.push((key.to_owned(), value));
                }
            }
        }
        unit
    }

    /// All values of a setting; an empty one takes back those before.
    pub(crate) fn all(&self, key: &str) -> Vec<&str> {
        let mut values = Vec::new();
        for (_, value) in self.service.iter().filter(|(it, _)| it == key) {
            if value.is_empty() {
                values.clear();
            } else {
                values.push(&**value);
            }
        }
        values
    }

    /// The value that counts: the last one.
    pub(crate) fn one(&self, key: &str) -> Option<&str> {
        self.all(key).pop()
    }

    /// A time such as `500ms` or `2s`, in milliseconds.
    pub(crate) fn milliseconds(&self, key: &str, default: u64) -> u64 {
        let Some(value) = self.one(key) else {
            return default;
        };
        let (number, factor) = match (value.strip_suffix("ms"), value.strip_suffix('s')) {
            (Some(number), _) => (number, 1),
            (_, Some(number)) => (number, 1000),
            _ => (value, 1000),
        };
        number.parse::<u64>().expect("a time") * factor
    }
}

/// What a file of `KEY=value` lines sets, as EnvironmentFile= reads it.
pub(crate) fn variables(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().map(str::trim);
    let set = lines.filter(|line| !line.starts_with('#'));
    set.filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
        .collect()
}

/// The words of a command line. A word `$NAME` becomes as many as the variable has.
pub(crate) fn words(line: &str, variables: &BTreeMap<String, String>) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let (word, behind) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').expect("the end of a quoted word"),
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        match word.strip_prefix('$') {
            Some(name) => {
                let value = variables.get(name).map_or("", String::as_str);
                words.extend(value.split_whitespace().map(str::to_owned));
            }
            None => words.push(word.to_owned()),
        }
        rest = behind.trim_start();
    }
    words
}

#[test]
fn a_unit_is_read_as_systemd_reads_it() {
    let text = "[Unit]\nDescription=x\n[Service]\nType=notify\n# no\nEnvironment=A=1\nEnvironment=B=%d/t\n\
                ExecStart=/x $A \"a b\" %i\nRestartSec=500ms\n";
    let drop_in = "[Service]\nType=exec\n";
    let unit = Unit::parse(&[text.to_owned(), drop_in.to_owned()], "7", "/run/c");
    assert_eq!(unit.one("Type"), Some("exec"));
    assert_eq!(unit.one("Description"), None);
    assert_eq!(unit.all("Environment"), ["A=1", "B=/run/c/t"]);
    assert_eq!(unit.milliseconds("RestartSec", 100), 500);
    let set = variables("# no\nA=\"--listen x\"\n");
    let start = unit.one("ExecStart").expect("a start");
    assert_eq!(words(start, &set), ["/x", "--listen", "x", "a b", "7"]);
}
